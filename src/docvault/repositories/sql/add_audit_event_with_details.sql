WITH event AS ({new_audit_event})
INSERT INTO audit_details (event_id, customer_id, customer, changes, files)
VALUES (
    %(event_id)s::uuid, %(customer_id)s::uuid, %(customer)s, %(changes)s::jsonb, %(files)s::jsonb
)
