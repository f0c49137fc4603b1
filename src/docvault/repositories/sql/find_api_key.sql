-- What authentication needs of a key. An unknown id returns a stand-in that is never valid and
-- takes as long to read as a key, so that the response time does not reveal which ids exist.
SELECT
    COALESCE(key.id, '00000000-0000-0000-0000-000000000000') AS id,
    COALESCE(key.secret_hash, sha256('')) AS secret_hash,
    COALESCE(key.scopes, ARRAY['documents:read', 'documents:write']) AS scopes,
    key.id IS NOT NULL
    AND key.revoked_at IS NULL
    AND (key.expires_at IS NULL OR key.expires_at > now()) AS is_valid,
    key.last_used_at IS NULL
    OR key.last_used_at < now() - %(resolution)s::interval AS use_is_due
FROM (SELECT %(public_id)s::text AS public_id) AS presented
LEFT JOIN api_keys AS key ON key.public_id = presented.public_id
