-- A page of documents with a file, newest first, with the ids of their customers. document_lists.py
-- fills in the candidates, which a plan of `candidates` finds, and the conditions.
WITH RECURSIVE {before_candidates} candidates AS MATERIALIZED ({candidates}),
page AS MATERIALIZED (
    SELECT id FROM candidates ORDER BY current_version_id DESC LIMIT %(limit)s::integer
)
SELECT
    {document_columns},
    customers.external_id
FROM page
JOIN documents ON documents.id = page.id
JOIN document_types ON document_types.id = documents.document_type_id
JOIN document_versions AS version ON version.id = documents.current_version_id
JOIN customers ON customers.id = documents.customer_id
WHERE %(reachable_id)s::uuid IS NULL OR customers.id = %(reachable_id)s::uuid
ORDER BY documents.current_version_id DESC
