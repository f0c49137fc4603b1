"""Whether a version waits for its previews is a fact of its row, no longer a job."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

DUE = "ix_document_versions_previews_due_at"
PREVIEWS_OF_CUSTOMER = "ix_procrastinate_jobs_previews_of_customer"


def upgrade() -> None:
    op.add_column(
        "document_versions", sa.Column("previews_due_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.create_index(
        DUE,
        "document_versions",
        ["previews_due_at"],
        postgresql_where=sa.text("previews_due_at IS NOT NULL"),
    )
    # Jobs of the earlier release stay in the queue: each marks its version as due.
    op.drop_index(PREVIEWS_OF_CUSTOMER, "procrastinate_jobs")


def downgrade() -> None:
    op.create_index(
        PREVIEWS_OF_CUSTOMER,
        "procrastinate_jobs",
        [sa.text("(args ->> 'customer_id')")],
        postgresql_where=sa.text("queue_name = 'previews'"),
    )
    op.drop_column("document_versions", "previews_due_at")
