"""The words of names for a search, and the order of the last upload."""

from pathlib import Path

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

FOLDER = Path(__file__).parents[1] / "sql"
TRIGGERS = ("customer_words_inserted", "customer_words_updated", "customer_words_deleted")
FUNCTIONS = (
    *("refresh_customer_words()", "word_pattern(text)", "word_tails(text)"),
    "spaced_words(text)",
)
DROPPED = ("lower_external_id", "lower_email")


def upgrade() -> None:
    execute((FOLDER / "0010_customer_words.sql").read_text())


def downgrade() -> None:
    for column in DROPPED:
        op.execute(
            f"CREATE INDEX ix_customers_fact_set_id_{column} ON customers (fact_set_id, {column})"
            " INCLUDE (external_id, created_at, lower_name) WHERE erasure_id IS NULL"
        )
    for index in ("ix_customers_last_uploaded_at", "ix_customers_fact_set_id_last_uploaded_at"):
        op.drop_index(index, "customers")
    for trigger in TRIGGERS:
        op.execute(f"DROP TRIGGER {trigger} ON customers")
    op.drop_table("customer_words")
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION {function}")


def execute(statements: str) -> None:
    # The driver's own cursor, because there are many statements.
    with op.get_bind().connection.cursor() as cursor:
        cursor.execute(statements)
