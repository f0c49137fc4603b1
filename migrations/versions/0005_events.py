"""Events: the changes in one order, and the decision published last for each gate."""

from pathlib import Path

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

FILE = Path(__file__).parents[1] / "sql" / "0005_events.sql"
TRIGGERS = {
    "customers": (
        "customers_gate_inserted",
        "customers_gate_updated",
        "customers_gate_blocked",
        "customers_gate_changed",
    ),
    "document_types": ("document_types_required",),
    "document_type_fields": ("document_type_fields_required",),
    "portal_settings": ("portal_settings_enforced",),
}
FUNCTIONS = (
    "sequence_events",
    "compare_gates",
    "refresh_requirements",
    "add_gate_event",
    "judge_gate",
    "due_types",
    "needed_facts",
    "new_event_id",
)


def upgrade() -> None:
    # The driver's own cursor, because the file contains many statements.
    with op.get_bind().connection.cursor() as cursor:
        cursor.execute(FILE.read_text())


def downgrade() -> None:
    for table, triggers in TRIGGERS.items():
        for trigger in triggers:
            op.execute(f"DROP TRIGGER {trigger} ON {table}")
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION {function}")
    op.drop_column("customers", "gate_blocked")
    op.execute("DROP TABLE events, event_log, gate_requirements")
