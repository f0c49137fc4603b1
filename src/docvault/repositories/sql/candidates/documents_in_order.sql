-- The next documents, newest first, that fulfil all conditions.
SELECT id, current_version_id FROM documents
WHERE {is_listed} AND {conditions}
ORDER BY current_version_id DESC
LIMIT {page_size}
