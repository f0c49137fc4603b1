-- Announces blobs of one customer where the quota (0: none) has room for them; tells whether it
-- did, and what the customer had. A function, because each of its statements sees what was
-- committed until it began: so the sum is taken after the lock, and all is one round trip.
CREATE FUNCTION announce_blobs(
    owner uuid, of_kind text, ids uuid[], keys text[], sizes bigint[], digests text[],
    lifetime interval, max_files bigint, max_bytes bigint,
    OUT announced boolean, OUT used_files bigint, OUT used_bytes bigint
)
LANGUAGE plpgsql AS $$
BEGIN
    announced := true;
    IF max_files > 0 OR max_bytes > 0 THEN
        PERFORM pg_advisory_xact_lock(hashtextextended(owner::text, 0));
        SELECT count(*), coalesce(sum(size_bytes), 0) INTO used_files, used_bytes
        FROM blobs
        WHERE customer_id = owner AND kind = 'file'
            AND (state = 'stored' OR (state = 'pending' AND expires_at > now()));
        announced := (max_files = 0 OR used_files + cardinality(ids) <= max_files) AND (
            max_bytes = 0
            OR used_bytes + (SELECT sum(size) FROM unnest(sizes) AS size) <= max_bytes
        );
    END IF;
    IF announced THEN
        INSERT INTO blobs (id, customer_id, key, kind, state, size_bytes, sha256, expires_at)
        SELECT id, owner, key, of_kind, 'pending', size_bytes, sha256, now() + lifetime
        FROM unnest(ids, keys, sizes, digests) AS blob (id, key, size_bytes, sha256);
    END IF;
END
$$
