-- Drops what was not delivered of these events; deliveries that were received stay on record.
-- Locked in the order of the index, so that it cannot deadlock with a replay.
WITH found AS (
    SELECT delivery.id
    FROM webhooks JOIN webhook_deliveries AS delivery
        ON delivery.webhook_id = webhooks.id AND delivery.position = ANY(%(positions)s::bigint[])
    ORDER BY delivery.webhook_id, delivery.position
    FOR UPDATE OF delivery
)
UPDATE webhook_deliveries SET state = 'dropped', due_at = NULL
WHERE id IN (SELECT id FROM found) AND state IN ('pending', 'failed')
