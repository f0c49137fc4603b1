-- Adds an audit event, and its event for other systems.
WITH
event AS ({new_audit_event}),
outbox AS (
    INSERT INTO events (id, type, customer_id, data, pseudonym)
    VALUES (
        %(event_id)s::uuid, %(event_type)s, %(customer_id)s::uuid, %(event_data)s::jsonb,
        %(event_pseudonym)s::text
    )
)
INSERT INTO audit_details (event_id, customer_id, customer, changes, files)
SELECT
    %(event_id)s::uuid, %(customer_id)s::uuid, %(customer)s, %(changes)s::jsonb, %(files)s::jsonb
WHERE %(customer)s::text IS NOT NULL OR %(changes)s::jsonb IS NOT NULL
