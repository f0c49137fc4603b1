"""Pages: how many a file has, and previews of each."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("document_files", sa.Column("pages", sa.Integer))
    # These are always one picture. Of others, the first preview shows how many pages there are.
    op.execute(
        """
        UPDATE document_files SET pages = 1 WHERE media_type IN (
            'image/jpeg', 'image/png', 'image/webp', 'image/gif', 'image/heic', 'image/heif'
        )
        """
    )
    op.add_column(
        "document_files",
        sa.Column(
            "failed_pages", postgresql.ARRAY(sa.Integer), nullable=False, server_default="{}"
        ),
    )
    op.add_column("previews", sa.Column("page", sa.Integer, nullable=False, server_default="1"))
    op.create_check_constraint("page", "previews", "page >= 1")
    replace_primary_key("file_id", "page", "size")


def downgrade() -> None:
    op.execute(
        """
        WITH removed AS (DELETE FROM previews WHERE page > 1 RETURNING blob_id)
        UPDATE blobs SET state = 'delete_queued', expires_at = NULL
        FROM removed WHERE blobs.id = removed.blob_id
        """
    )
    replace_primary_key("file_id", "size")
    op.drop_column("previews", "page")
    op.drop_column("document_files", "failed_pages")
    op.drop_column("document_files", "pages")


def replace_primary_key(*columns: str) -> None:
    op.drop_constraint("pk_previews", "previews")
    op.create_primary_key("pk_previews", "previews", list(columns))
