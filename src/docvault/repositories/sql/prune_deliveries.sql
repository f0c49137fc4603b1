-- Deletes up to :batch of the deliveries that are older than :age, except pending ones. Those of a
-- deleted webhook stay pending for ever.
WITH pruned AS (
    DELETE FROM webhook_deliveries
    WHERE id IN (
        SELECT id FROM webhook_deliveries
        WHERE created_at < now() - %(age)s::interval AND (
            state <> 'pending'
            OR NOT EXISTS (SELECT FROM webhooks WHERE webhooks.id = webhook_id)
        )
        ORDER BY created_at LIMIT %(batch)s::integer
        FOR UPDATE SKIP LOCKED
    )
    RETURNING 1
)
SELECT count(*) AS number FROM pruned
