"""Events for gate decisions that were shown before they were published."""

from pathlib import Path

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

FOLDER = Path(__file__).parents[1] / "sql"


def upgrade() -> None:
    execute((FOLDER / "0011_shown_gates.sql").read_text())


def downgrade() -> None:
    # The function and the trigger as they were before.
    before = (FOLDER / "0005_events.sql").read_text()
    _, _, function = before.partition("CREATE FUNCTION add_gate_event()")
    _, _, trigger = before.partition("CREATE CONSTRAINT TRIGGER customers_gate_changed")
    op.execute("DROP TRIGGER customers_gate_changed ON customers")
    execute(
        f"CREATE OR REPLACE FUNCTION add_gate_event(){function.partition('END $$;')[0]}END $$;"
        f"CREATE CONSTRAINT TRIGGER customers_gate_changed{trigger.partition(';')[0]};"
    )
    op.execute("DROP FUNCTION write_gate_event")


def execute(statements: str) -> None:
    # The driver's own cursor, because there are many statements.
    with op.get_bind().connection.cursor() as cursor:
        cursor.execute(statements)
