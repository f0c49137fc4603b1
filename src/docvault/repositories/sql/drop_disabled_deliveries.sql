-- Drops up to :batch pending deliveries of disabled webhooks.
WITH dropped AS (
    UPDATE webhook_deliveries SET state = 'dropped', due_at = NULL
    WHERE id IN (
        SELECT delivery.id
        FROM webhooks CROSS JOIN LATERAL (
            SELECT id FROM webhook_deliveries
            WHERE webhook_id = webhooks.id AND state = 'pending'
            LIMIT %(batch)s::integer
            FOR UPDATE SKIP LOCKED
        ) AS delivery
        WHERE NOT webhooks.enabled
        LIMIT %(batch)s::integer
    )
    RETURNING 1
)
SELECT count(*) AS number FROM dropped
