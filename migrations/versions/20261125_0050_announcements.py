"""Nothing is announced for a customer who is being erased, or is no more; latest erasures."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

PARAMETERS = """
    owner uuid, of_kind text, ids uuid[], keys text[], sizes bigint[], digests text[],
    lifetime interval, max_files bigint, max_bytes bigint,
    OUT announced boolean, OUT used_files bigint, OUT used_bytes bigint
"""
WITHIN_QUOTA = """
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
"""
# `is_erased` is NULL for a customer that is no more. The lock is that of a foreign key: it waits
# for an erasure that begins and makes one wait, and is shared with uploads and attachments.
FOR_THE_LIVING = f"""
CREATE FUNCTION announce_blobs({PARAMETERS}, OUT is_erased boolean)
LANGUAGE plpgsql AS $$
BEGIN
    used_files := 0;
    used_bytes := 0;
    SELECT erasure_id IS NOT NULL INTO is_erased FROM customers WHERE id = owner FOR KEY SHARE;
    announced := NOT coalesce(is_erased, true);
    IF NOT announced THEN
        RETURN;
    END IF;
    {WITHIN_QUOTA}
END
$$
"""  # noqa: S608 - nothing in it comes from outside
FOR_ANYBODY = f"""
CREATE FUNCTION announce_blobs({PARAMETERS})
LANGUAGE plpgsql AS $$
BEGIN
    announced := true;
    {WITHIN_QUOTA}
END
$$
"""


def upgrade() -> None:
    op.execute("DROP FUNCTION announce_blobs")
    op.execute(FOR_THE_LIVING)
    op.create_index("ix_erasures_completed_at", "erasures", ["completed_at"])


def downgrade() -> None:
    op.drop_index("ix_erasures_completed_at", "erasures")
    op.execute("DROP FUNCTION announce_blobs")
    op.execute(FOR_ANYBODY)
