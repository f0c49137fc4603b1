"""The initial schema: the job queue, docvault's tables, its functions and triggers."""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

FOLDER = Path(__file__).parents[1] / "sql"
JOB_QUEUE = "procrastinate_3_10_0.sql"
# An index of ours on the job queue: how many renderings of one customer are queued.
PREVIEWS_OF_CUSTOMER = "ix_procrastinate_jobs_previews_of_customer"

TABLES = (
    "api_keys",
    "audit_details",
    "audit_events",
    "blobs",
    "customers",
    "document_files",
    "document_type_fields",
    "document_types",
    "document_versions",
    "documents",
    "erasures",
    "fact_sets",
    "idempotency_keys",
    "portal_settings",
    "previews",
    "rate_limits",
    "scan_passes",
    "upload_sessions",
)
FUNCTIONS = ("customer_facts", "refresh_fact_set", "customer_value_bytes", "reserve_blobs")


def upgrade() -> None:
    for name in (JOB_QUEUE, "0001_tables.sql", "0001_functions.sql"):
        # The driver's own cursor, because the files contain percent signs and many statements.
        with op.get_bind().connection.cursor() as cursor:
            cursor.execute((FOLDER / name).read_text())
    op.create_index(
        PREVIEWS_OF_CUSTOMER,
        "procrastinate_jobs",
        [sa.text("(args ->> 'customer_id')")],
        postgresql_where=sa.text("queue_name = 'previews'"),
    )
    op.execute("ANALYZE customers")
    op.execute("ANALYZE fact_sets")


def downgrade() -> None:
    drop_job_queue()
    op.execute(f"DROP TABLE {', '.join(TABLES)}")
    op.execute("DROP SEQUENCE fact_numbers")
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION {function}")


def drop_job_queue() -> None:
    """Drop everything that is named like an object of the job queue."""
    op.execute(
        """
        DO $$
        DECLARE item record;
        BEGIN
            FOR item IN SELECT format('DROP TABLE %s CASCADE', c.oid::regclass) AS statement
                FROM pg_class c WHERE c.relkind = 'r' AND c.relname LIKE 'procrastinate\\_%'
                AND c.relnamespace = current_schema()::regnamespace
            LOOP EXECUTE item.statement; END LOOP;
            FOR item IN SELECT format('DROP ROUTINE %s CASCADE', p.oid::regprocedure) AS statement
                FROM pg_proc p WHERE p.proname LIKE 'procrastinate\\_%'
                AND p.pronamespace = current_schema()::regnamespace
            LOOP EXECUTE item.statement; END LOOP;
            FOR item IN SELECT format('DROP TYPE IF EXISTS %s CASCADE', t.oid::regtype) AS statement
                FROM pg_type t WHERE t.typname LIKE 'procrastinate\\_%' AND t.typtype IN ('e', 'c')
                AND t.typnamespace = current_schema()::regnamespace
            LOOP EXECUTE item.statement; END LOOP;
        END $$
        """
    )
