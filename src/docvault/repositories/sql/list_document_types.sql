-- Active or archived types in their order, after a cursor if there is one.
SELECT
    {document_type_columns}
FROM document_types
WHERE (archived_at IS NOT NULL) = %(archived)s::boolean
    AND (
        %(after_id)s::uuid IS NULL
        OR (position, id) > (%(after_position)s::integer, %(after_id)s::uuid)
    )
ORDER BY position, id
LIMIT %(limit)s::integer
