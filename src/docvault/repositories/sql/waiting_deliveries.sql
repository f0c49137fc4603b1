-- How many deliveries are pending, and how old the oldest is; how many should have been sent by now
-- to webhooks that do not fail, and for how long; how many webhooks fail, and since when.
SELECT
    count(*) AS number,
    coalesce(extract(epoch FROM now() - min(delivery.created_at)), 0)::float8 AS seconds,
    count(*) FILTER (WHERE is_late) AS late_number,
    coalesce(extract(epoch FROM now() - min(delivery.due_at) FILTER (WHERE is_late)), 0)::float8
        AS late_seconds,
    (SELECT count(*) FROM webhooks WHERE enabled AND failing_since IS NOT NULL) AS failing_number,
    coalesce((
        SELECT extract(epoch FROM now() - min(failing_since)) FROM webhooks WHERE enabled
    ), 0)::float8 AS failing_seconds
FROM webhooks JOIN webhook_deliveries AS delivery ON delivery.webhook_id = webhooks.id
CROSS JOIN LATERAL (
    SELECT webhooks.consecutive_failures = 0 AND delivery.due_at <= now() AS is_late
) AS judged
WHERE webhooks.enabled AND delivery.state = 'pending'
