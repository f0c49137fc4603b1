"""Two more facts of each file, and what a document type does with locked files."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# What is never locked and has nothing embedded; other files were not inspected for that.
SIMPLE = "media_type LIKE 'image/%' OR media_type LIKE 'text/%'"


def upgrade() -> None:
    for name in ("has_attachments", "needs_password"):
        op.add_column("document_files", sa.Column(name, sa.Boolean()))
    op.execute(
        f"UPDATE document_files SET has_attachments = false, needs_password = false WHERE {SIMPLE}"  # noqa: S608 - a constant
    )
    op.add_column(
        "document_types",
        sa.Column("password_protected", sa.Text(), nullable=False, server_default="accept"),
    )
    op.create_check_constraint(
        "password_protected", "document_types", "password_protected IN ('accept', 'refuse')"
    )


def downgrade() -> None:
    op.drop_column("document_types", "password_protected")
    for name in ("needs_password", "has_attachments"):
        op.drop_column("document_files", name)
