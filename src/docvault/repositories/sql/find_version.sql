-- A version by its id, and its customer.
SELECT
    {version_columns},
    documents.customer_id
FROM document_versions AS version
JOIN documents ON documents.id = version.document_id
WHERE version.id = %(version_id)s::uuid
    AND (%(reachable_id)s::uuid IS NULL OR documents.customer_id = %(reachable_id)s::uuid)
