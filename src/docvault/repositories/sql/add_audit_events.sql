-- Adds events in the order of the array, each as the statement for a single one does.
WITH new AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(events)s::json) AS event (
        event_id uuid, actor_kind text, actor_id text, action text, customer_pseudonym text,
        document_type text, version integer, result text, request_id uuid, customer_id uuid,
        customer text, changes jsonb, files jsonb, event_type text, event_data jsonb
    )
),
event AS (
    INSERT INTO audit_events (
        id, actor_kind, actor_id, action, customer_pseudonym, document_type, version, result,
        request_id
    )
    SELECT
        event_id, actor_kind, actor_id, action, customer_pseudonym, document_type, version, result,
        request_id
    FROM new
),
outbox AS (
    INSERT INTO events (id, type, customer_id, data)
    SELECT event_id, event_type, customer_id, event_data FROM new WHERE event_type IS NOT NULL
)
INSERT INTO audit_details (event_id, customer_id, customer, changes, files)
SELECT event_id, customer_id, customer, changes, files
FROM new
WHERE customer IS NOT NULL OR changes IS NOT NULL
