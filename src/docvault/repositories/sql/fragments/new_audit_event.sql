INSERT INTO audit_events (
    id, actor_kind, actor_id, action, customer_pseudonym, document_type, version, result,
    request_id
)
VALUES (
    %(event_id)s::uuid, %(actor_kind)s, %(actor_id)s, %(action)s, %(customer_pseudonym)s,
    %(document_type)s, %(version)s::integer, %(result)s, %(request_id)s::uuid
)
