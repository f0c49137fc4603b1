SELECT
    {document_type_columns}
FROM document_types
WHERE key = ANY(%(keys)s::text[])
