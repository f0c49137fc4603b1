-- Makes the deliveries of the events after :after up to :until pending: those that a webhook never
-- had, and those in one of the states. Erased events are left out.
WITH replayed AS (
    INSERT INTO webhook_deliveries AS delivery (id, webhook_id, position, event_id, type, due_at)
    SELECT new_event_id(), webhooks.id, events.position, events.id, events.type, now()
    FROM webhooks JOIN events
        ON events.position > %(after)s::bigint AND events.position <= %(until)s::bigint
    WHERE webhooks.id = %(webhook_id)s::uuid AND webhooks.types && ARRAY['*', events.type]
        AND events.redacted_at IS NULL
    ORDER BY events.position
    ON CONFLICT (webhook_id, position) DO UPDATE
    SET state = 'pending', used_attempts = 0, due_at = now()
    WHERE delivery.state = ANY(%(states)s::text[])
    RETURNING 1
)
SELECT count(*) AS number FROM replayed
