-- The first statement of an upload: finds customer and document as find_customer_document.sql does,
-- counts the upload, and reserves a blob for its file. If the caller may not upload, it only finds.
WITH
found AS ({found}),
uploader AS (
    SELECT customer_id, least(
        %(declared_bytes)s::bigint, %(max_file_bytes)s::bigint,
        coalesce(max_size_bytes, %(default_file_bytes)s::bigint)
    ) AS size_bytes
    FROM found
    WHERE erasure_id IS NULL AND has_type AND (is_uploaded OR NOT archived)
        AND (upload_mode <> 'admin_only' OR %(writes_admin_only)s::boolean)
        AND (section_enabled OR NOT %(through_portal)s::boolean)
        AND coalesce(tokens_valid_from <= %(token_issued_at)s::timestamptz, true)
),
counted AS (
    INSERT INTO rate_limits AS counter (id, number, ends_at)
    SELECT %(counter_id)s::bytea, 1, now() + %(window)s::interval
    FROM uploader WHERE %(counter_id)s::bytea IS NOT NULL
    {count_again}
),
admitted AS MATERIALIZED (
    SELECT customer_id, size_bytes FROM uploader
    WHERE %(blob_id)s::uuid IS NOT NULL
        AND NOT EXISTS (SELECT FROM counted WHERE number > %(max_uploads)s::numeric)
),
-- Only far from the quotas, because the size is the most that the file can have. Otherwise the blob
-- is reserved once the file is there.
reserved AS (
    SELECT admitted.size_bytes
    FROM admitted, reserve_blobs(
        customer_id, 'file', ARRAY[%(blob_id)s::uuid],
        ARRAY[customer_id::text || '/' || %(blob_name)s::text], ARRAY[size_bytes], ARRAY[''],
        %(lifetime)s::interval, %(max_files)s::bigint, %(max_bytes)s::bigint,
        %(waiting_factor)s::integer, %(max_value_bytes)s::bigint
    ) AS reservation
    WHERE reserved
)
SELECT
    found.*,
    (SELECT number FROM counted) AS upload_number,
    (SELECT seconds_left FROM counted) AS upload_seconds_left,
    (SELECT size_bytes FROM reserved) AS reserved_bytes
FROM found
