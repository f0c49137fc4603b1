-- The function is in migrations/sql/0001_functions.sql.
SELECT reserved, is_erased, used_files, used_bytes, waiting_files, waiting_bytes, used_value_bytes
FROM reserve_blobs(
    %(customer_id)s::uuid, %(kind)s::text, %(ids)s::uuid[], %(keys)s::text[], %(sizes)s::bigint[],
    %(digests)s::text[], %(lifetime)s::interval, %(max_files)s::bigint, %(max_bytes)s::bigint,
    %(waiting_factor)s::integer, %(max_value_bytes)s::bigint
)
