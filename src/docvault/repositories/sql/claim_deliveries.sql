-- Takes due deliveries of enabled webhooks, until they are finished or the lease ends: as many as
-- fit into the free places of each webhook, and of the process. A webhook has only one place until it
-- succeeds, and when it fails, so that receivers that do not respond cannot take all of them.
WITH
busy AS (
    SELECT webhook_id, number
    FROM json_to_recordset(%(busy)s::json) AS busy (webhook_id uuid, number integer)
),
due AS (
    SELECT
        delivery.*,
        row_number() OVER (PARTITION BY delivery.webhook_id ORDER BY delivery.due_at) AS place
    FROM webhooks LEFT JOIN busy ON busy.webhook_id = webhooks.id
    CROSS JOIN LATERAL (
        SELECT id, webhook_id, position, due_at FROM webhook_deliveries
        WHERE webhook_id = webhooks.id AND state = 'pending' AND due_at <= now()
        ORDER BY due_at
        LIMIT greatest(0, coalesce(-busy.number, 0) + CASE
            WHEN webhooks.consecutive_failures = 0 AND webhooks.last_success_at IS NOT NULL
            THEN %(places)s::integer ELSE 1
        END)
        FOR UPDATE SKIP LOCKED
    ) AS delivery
    WHERE webhooks.enabled
    ORDER BY place, delivery.due_at
    LIMIT %(free)s::integer
)
UPDATE webhook_deliveries AS delivery SET due_at = now() + %(lease)s::interval
FROM due JOIN webhooks ON webhooks.id = due.webhook_id
-- An event that was erased is not sent; the delivery is dropped instead.
LEFT JOIN events ON events.position = due.position AND events.redacted_at IS NULL
LEFT JOIN customers ON customers.id = events.customer_id
WHERE delivery.id = due.id
RETURNING
    delivery.id, delivery.webhook_id, delivery.due_at, delivery.used_attempts, webhooks.url,
    webhooks.sealed_secret,
    CASE WHEN webhooks.previous_secret_until > now() THEN webhooks.sealed_previous_secret END
        AS sealed_previous_secret,
    events.position, events.id AS event_id, events.type, events.at, customers.external_id,
    coalesce(events.pseudonym, customers.pseudonym) AS pseudonym, events.data
