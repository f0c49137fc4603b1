"""Rate limits that all processes count together, and quotas: which blobs are files."""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ANNOUNCE_BLOBS = Path(__file__).parents[1] / "sql" / "announce_blobs.sql"


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
    op.execute(ANNOUNCE_BLOBS.read_text())


def downgrade() -> None:
    op.execute("DROP FUNCTION announce_blobs")
    op.drop_constraint(op.f("ck_blobs_kind"), "blobs")
    op.drop_column("blobs", "kind")
    op.drop_table("rate_limits")
