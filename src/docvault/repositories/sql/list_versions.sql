-- The versions of a document, newest first. A null parameter does not filter.
SELECT
    {version_columns}
FROM document_versions AS version
JOIN documents ON documents.id = version.document_id
JOIN document_types ON document_types.id = documents.document_type_id
WHERE documents.customer_id = %(customer_id)s::uuid AND document_types.key = %(key)s
    AND (%(before)s::integer IS NULL OR version.number < %(before)s::integer)
    AND (%(number)s::integer IS NULL OR version.number = %(number)s::integer)
ORDER BY version.number DESC
LIMIT %(limit)s::integer
