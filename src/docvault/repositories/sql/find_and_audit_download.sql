-- As find_customer_document, and records the download of the first file if the caller may certainly
-- read it now; the conditions are those of the guard and of `find_file`. Otherwise the service
-- decides, and records what it sends.
WITH found AS MATERIALIZED ({found}),
sent AS (
    SELECT
        found.customer_id, found.external_id, found.type_key, found.version_number,
        jsonb_build_array(jsonb_build_object(
            'number', file.number, 'filename', file.filename, 'media_type', file.media_type,
            'size_bytes', file.size_bytes, 'sha256', file.sha256
        )) AS files
    FROM found JOIN document_files AS file ON file.version_id = found.version_id
    WHERE file.number = 1 AND file.scan <> 'infected' AND file.size_bytes <= %(max_bytes)s::bigint
        AND found.section_enabled AND found.erasure_id IS NULL
        AND (
            found.tokens_valid_from IS NULL
            OR found.tokens_valid_from <= %(token_issued_at)s::timestamptz
        )
),
event AS (
    INSERT INTO audit_events (
        id, actor_kind, actor_id, action, customer_pseudonym, document_type, version, result,
        request_id
    )
    SELECT
        %(event_id)s::uuid, 'customer', %(pseudonym)s, %(action)s, %(pseudonym)s, type_key,
        version_number, 'ok', %(request_id)s::uuid
    FROM sent
),
details AS (
    INSERT INTO audit_details (event_id, customer_id, customer, files)
    SELECT %(event_id)s::uuid, customer_id, external_id, files FROM sent
)
SELECT found.*, EXISTS (SELECT FROM sent) AS is_audited FROM found
