"""Scans: with which signatures a file was scanned, and how far scanning again is."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("document_files", sa.Column("scanned_with", sa.Text(), nullable=True))
    op.create_table(
        "scan_passes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("scanned_with", sa.Text(), nullable=False),
        sa.Column("position", sa.Uuid(), nullable=True),
        sa.Column(
            "began_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("id = 1", name=op.f("ck_scan_passes_single_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scan_passes")),
    )


def downgrade() -> None:
    op.drop_table("scan_passes")
    op.drop_column("document_files", "scanned_with")
