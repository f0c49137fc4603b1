"""Webhooks, and the deliveries of events to them."""

from pathlib import Path

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

FOLDER = Path(__file__).parents[1] / "sql"


def upgrade() -> None:
    execute((FOLDER / "0007_webhooks.sql").read_text())


def downgrade() -> None:
    # The function as it was before; it is the last statement of its migration.
    before = (FOLDER / "0005_events.sql").read_text().rpartition("CREATE FUNCTION")[2]
    execute(f"CREATE OR REPLACE FUNCTION{before}")
    op.execute("DROP TABLE webhook_deliveries, webhooks")


def execute(statements: str) -> None:
    # The driver's own cursor, because there can be many statements.
    with op.get_bind().connection.cursor() as cursor:
        cursor.execute(statements)
