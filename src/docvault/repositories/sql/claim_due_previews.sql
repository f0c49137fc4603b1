-- Claims the version whose previews have been due longest. They are due again when the lease ends,
-- unless they are rendered by then. Nothing is claimed while uploads arrive, unless it is overdue.
WITH
next AS (
    SELECT version.id, documents.customer_id
    FROM document_versions AS version
    JOIN documents ON documents.id = version.document_id
    WHERE version.previews_due_at <= now()
        AND (version.previews_due_at <= now() - %(patience)s::interval OR NOT EXISTS (
            SELECT FROM document_versions
            WHERE previews_due_at > now() - %(pause)s::interval AND previews_due_at <= now()
        ))
    ORDER BY version.previews_due_at
    LIMIT 1
    FOR UPDATE OF version SKIP LOCKED
),
-- All but the newest few of that customer are rendered on demand only.
surplus AS (
    UPDATE document_versions SET previews_due_at = NULL
    WHERE id IN (
        SELECT other.id
        FROM next
        JOIN documents ON documents.customer_id = next.customer_id
        JOIN document_versions AS other ON other.document_id = documents.id
        WHERE other.previews_due_at IS NOT NULL AND other.id <> next.id
        ORDER BY other.previews_due_at DESC
        OFFSET %(max_others)s::integer
        FOR UPDATE OF other SKIP LOCKED
    )
)
UPDATE document_versions AS version SET previews_due_at = now() + %(lease)s::interval
FROM next WHERE version.id = next.id
RETURNING version.id
