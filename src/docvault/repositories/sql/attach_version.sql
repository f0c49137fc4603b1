-- Makes stored bytes the current version of a document; does everything or nothing. It compares
-- before it sets: the caller passes the state of the document when it decided, and if anything has
-- changed since, the statement changes nothing.
-- Each name is a step. A statement sees the rows as they were when it began: a step sees what
-- another one returns, not what it wrote.
WITH
-- Uploads of one customer wait for each other here, and all of them for an erasure.
customer AS (
    SELECT id FROM customers
    WHERE id = %(customer_id)s::uuid AND erasure_id IS NULL
    FOR NO KEY UPDATE
),
document_type AS (
    SELECT id FROM document_types
    WHERE id = %(document_type_id)s::uuid AND updated_at = %(type_updated_at)s::timestamptz
),
-- Locked, so that the reaper cannot delete them any more (D6).
reserved AS (
    SELECT id FROM blobs
    WHERE id = ANY(%(blob_ids)s::uuid[]) AND customer_id = %(customer_id)s::uuid
        AND state = 'pending' AND expires_at > now()
    FOR UPDATE
),
claim AS (
    SELECT id FROM idempotency_keys
    WHERE id = %(claim_id)s::bytea AND token = %(claim_token)s::uuid
    FOR UPDATE
),
document AS (
    INSERT INTO documents AS existing (
        id, customer_id, document_type_id, current_version_id, uploaded_by_kind, last_version,
        field_values
    )
    SELECT %(document_id)s::uuid, customer.id, document_type.id, %(version_id)s::uuid,
        %(uploaded_by_kind)s, %(number)s::integer, %(field_values)s::jsonb
    FROM customer, document_type
    WHERE (SELECT count(*) FROM reserved) = cardinality(%(blob_ids)s::uuid[])
        AND (%(claim_id)s::bytea IS NULL OR EXISTS (SELECT FROM claim))
        -- A document that had versions has a row.
        AND (%(number)s::integer = 1 OR EXISTS (
            SELECT FROM documents
            WHERE documents.customer_id = customer.id
                AND documents.document_type_id = document_type.id
        ))
    ON CONFLICT (customer_id, document_type_id) DO UPDATE
    SET current_version_id = excluded.current_version_id,
        uploaded_by_kind = excluded.uploaded_by_kind,
        last_version = excluded.last_version,
        field_values = excluded.field_values,
        updated_at = clock_timestamp()
    WHERE existing.last_version = excluded.last_version - 1
        AND existing.current_version_id IS NOT DISTINCT FROM %(replaced_version_id)s::uuid
        AND existing.field_values = %(replaced_values)s::jsonb
    RETURNING id
),
version AS (
    INSERT INTO document_versions (
        id, document_id, number, uploaded_at, uploaded_by_kind, uploaded_by_id, field_values,
        previews_due_at
    )
    SELECT %(version_id)s::uuid, document.id, %(number)s::integer, %(uploaded_at)s::timestamptz,
        %(uploaded_by_kind)s, %(uploaded_by_id)s, %(field_values)s::jsonb,
        CASE WHEN %(has_previews)s::boolean THEN now() END
    FROM document
),
files AS (
    INSERT INTO document_files (
        id, version_id, blob_id, number, filename, media_type, size_bytes, sha256,
        has_active_content, has_attachments, needs_password, pages, scan, scanned_with,
        preview_failed
    )
    SELECT file.id, %(version_id)s::uuid, file.blob_id, file.number, file.filename,
        file.media_type, file.size_bytes, file.sha256, file.has_active_content,
        file.has_attachments, file.needs_password, file.pages, file.scan, file.scanned_with, false
    FROM document, json_to_recordset(%(files)s::json) AS file (
        id uuid, blob_id uuid, number integer, filename text, media_type text,
        size_bytes bigint, sha256 text, has_active_content boolean, has_attachments boolean,
        needs_password boolean, pages integer, scan text, scanned_with text
    )
),
-- A blob that was reserved before its file was known gets size and digest.
stored AS (
    UPDATE blobs
    SET state = 'stored', expires_at = NULL, size_bytes = file.size_bytes, sha256 = file.sha256
    FROM document, json_to_recordset(%(files)s::json) AS file (
        blob_id uuid, size_bytes bigint, sha256 text
    )
    WHERE blobs.id = file.blob_id
),
event AS (
    INSERT INTO audit_events (
        id, actor_kind, actor_id, action, customer_pseudonym, document_type, version,
        result, request_id
    )
    SELECT %(event_id)s::uuid, %(actor_kind)s, %(actor_id)s, %(action)s, %(customer_pseudonym)s,
        %(document_type)s, %(number)s::integer, %(result)s, %(request_id)s::uuid
    FROM document
),
detail AS (
    INSERT INTO audit_details (event_id, customer_id, customer, changes, files)
    SELECT %(event_id)s::uuid, %(customer_id)s::uuid, %(customer)s, %(changes)s::jsonb,
        %(event_files)s::jsonb
    FROM document
),
outbox AS (
    INSERT INTO events (id, type, customer_id, data)
    SELECT %(event_id)s::uuid, %(event_type)s, %(customer_id)s::uuid, %(event_data)s::jsonb
    FROM document
),
response AS (
    UPDATE idempotency_keys
    SET fingerprint = %(fingerprint)s::bytea, status = %(status)s::integer,
        headers = %(headers)s::jsonb, body = %(body)s::bytea, customer_id = %(customer_id)s::uuid
    FROM document WHERE idempotency_keys.id = %(claim_id)s::bytea
)
SELECT (SELECT count(*) FROM document) = 1 AS is_attached
