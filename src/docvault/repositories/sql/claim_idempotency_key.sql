-- Claims a key, or takes over a claim or a response that has expired. Counting the caller's keys
-- stops at the limit; a key that exists can be taken over by a caller at the limit.
INSERT INTO idempotency_keys AS existing
    (id, caller, token, locked_until, expires_at, customer_id)
SELECT %(id)s::bytea, %(caller)s::bytea, %(token)s::uuid, now() + %(lease)s::interval,
    now() + %(lifetime)s::interval, %(customer_id)s::uuid
WHERE EXISTS (SELECT FROM idempotency_keys WHERE id = %(id)s::bytea)
    OR %(max_keys)s::integer > (
        SELECT count(*) FROM (
            SELECT FROM idempotency_keys WHERE caller = %(caller)s::bytea AND expires_at > now()
            LIMIT %(max_keys)s::integer
        ) AS live
    )
ON CONFLICT (id) DO UPDATE SET
    caller = excluded.caller, token = excluded.token, locked_until = excluded.locked_until,
    expires_at = excluded.expires_at, customer_id = excluded.customer_id,
    fingerprint = NULL, status = NULL, headers = NULL, body = NULL
WHERE existing.expires_at <= now()
    OR (existing.status IS NULL AND existing.locked_until <= now())
RETURNING token
