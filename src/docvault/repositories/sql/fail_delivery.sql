-- Records a failed attempt, and counts it for the webhook: a row unless the delivery belongs to
-- another process by now.
WITH delivery AS (
    UPDATE webhook_deliveries
    SET state = CASE WHEN %(wait)s::interval IS NULL THEN 'failed' ELSE 'pending' END,
        due_at = now() + %(wait)s::interval, used_attempts = used_attempts + 1,
        attempts = {with_attempt}
    WHERE id = %(id)s::uuid AND state = 'pending' AND due_at = %(lease)s::timestamptz
    RETURNING webhook_id
)
UPDATE webhooks
SET consecutive_failures = consecutive_failures + 1, failing_since = coalesce(failing_since, now())
FROM delivery
WHERE webhooks.id = delivery.webhook_id AND webhooks.enabled
RETURNING webhooks.consecutive_failures AS number, now() - webhooks.failing_since AS duration
