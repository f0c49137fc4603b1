-- A customer, the portal switches and one document; its columns are null if there is no such type.
SELECT
    {customer_columns},
    {portal_columns},
    {document_columns},
    document_types.id IS NOT NULL AS has_type
FROM customers
LEFT JOIN document_types ON document_types.key = %(key)s
    AND {is_visible}
LEFT JOIN documents ON documents.document_type_id = document_types.id
    AND documents.customer_id = customers.id
LEFT JOIN document_versions AS version ON version.id = documents.current_version_id
WHERE customers.external_id = %(external_id)s
    AND (%(reachable_id)s::uuid IS NULL OR customers.id = %(reachable_id)s::uuid)
