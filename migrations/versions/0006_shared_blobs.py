"""Versions that keep files of the one before share their blobs; uploads that add a file."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    replace_index(unique=False)
    op.add_column(
        "upload_sessions",
        sa.Column("appends", sa.Boolean(), nullable=False, server_default=sa.false()),
    )


def downgrade() -> None:
    op.drop_column("upload_sessions", "appends")
    # Shared files stay with the newest version; earlier versions lose them.
    op.execute(
        """
        DELETE FROM document_files AS older USING document_files AS newer
        WHERE newer.blob_id = older.blob_id AND newer.id > older.id
        """
    )
    op.execute(
        """
        DELETE FROM document_versions AS version
        WHERE NOT EXISTS (SELECT FROM document_files WHERE version_id = version.id)
        """
    )
    replace_index(unique=True)


def replace_index(*, unique: bool) -> None:
    op.drop_index("ix_document_files_blob_id", "document_files")
    op.create_index("ix_document_files_blob_id", "document_files", ["blob_id"], unique=unique)
