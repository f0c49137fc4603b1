"""Rate limits that all processes count together, and quotas: which blobs are files."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Announces blobs of one customer where the quota (0: none) has room for them; tells whether it
# did, and what the customer had. In a function each statement sees what was committed until it
# began: so the sum is taken after the lock, and all is one round trip.
ANNOUNCE_BLOBS = """
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
"""


def upgrade() -> None:
    op.create_table(
        "rate_limits",
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rate_limits")),
        prefixes=["UNLOGGED"],
    )
    op.add_column("blobs", sa.Column("kind", sa.Text(), server_default="file", nullable=False))
    op.execute("UPDATE blobs SET kind = 'preview' FROM previews WHERE blobs.id = previews.blob_id")
    op.create_check_constraint("kind", "blobs", "kind IN ('file', 'preview')")
    op.execute(ANNOUNCE_BLOBS)


def downgrade() -> None:
    op.execute("DROP FUNCTION announce_blobs")
    op.drop_constraint(op.f("ck_blobs_kind"), "blobs")
    op.drop_column("blobs", "kind")
    op.drop_table("rate_limits")
