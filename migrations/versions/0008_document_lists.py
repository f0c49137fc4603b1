"""Documents in one list across customers, and when the documents of a customer changed."""

from pathlib import Path

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

FOLDER = Path(__file__).parents[1] / "sql"
TRIGGERS = ("documents_inserted", "documents_updated", "documents_deleted")


def upgrade() -> None:
    execute((FOLDER / "0008_document_lists.sql").read_text())


def downgrade() -> None:
    for trigger in TRIGGERS:
        op.execute(f"DROP TRIGGER {trigger} ON documents")
    op.execute("DROP FUNCTION record_document_change")
    for index in ("ix_documents_listed", "ix_documents_current_version_id"):
        op.drop_index(index, "documents")
    op.execute("DROP FUNCTION filled_fields")
    op.drop_column("documents", "uploaded_by_kind")
    op.drop_index("ix_customers_tags", "customers")
    for column in ("documents_changed_at", "last_uploaded_at"):
        op.drop_column("customers", column)
    # The earlier function and its triggers, as they were written.
    initial = (FOLDER / "0001_functions.sql").read_text()
    start = initial.index("CREATE FUNCTION refresh_fact_set")
    execute(initial[start : initial.index("-- The bytes of field values")])


def execute(statements: str) -> None:
    # The driver's own cursor, because there are many statements.
    with op.get_bind().connection.cursor() as cursor:
        cursor.execute(statements)
