-- One document of a customer. An archived type is found only on request, and only while it has a file.
SELECT
    {document_columns}
FROM document_types
LEFT JOIN documents ON documents.document_type_id = document_types.id
    AND documents.customer_id = %(customer_id)s::uuid
LEFT JOIN document_versions AS version ON version.id = documents.current_version_id
WHERE document_types.key = %(key)s
    AND (
        document_types.archived_at IS NULL
        OR %(with_archived)s::boolean AND documents.current_version_id IS NOT NULL
    )
