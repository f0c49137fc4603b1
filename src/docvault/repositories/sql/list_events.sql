-- Up to :limit events after a position, with the log of the same moment: one row without an event if
-- there are none.
SELECT
    event_log.log, event_log.oldest, event_log.last AS latest,
    event.position, event.id, event.type, event.at, customers.external_id,
    coalesce(event.pseudonym, customers.pseudonym) AS pseudonym,
    audit_events.actor_kind, audit_events.actor_id, audit_events.request_id, event.data
FROM event_log LEFT JOIN LATERAL (
    SELECT * FROM events
    WHERE position > coalesce(%(after)s::bigint, event_log.oldest - 1) AND {condition}
        AND type = ANY(%(types)s::text[])
    ORDER BY position LIMIT %(limit)s::integer
) AS event ON true
LEFT JOIN customers ON customers.id = event.customer_id
LEFT JOIN audit_events ON audit_events.id = event.id
ORDER BY event.position
