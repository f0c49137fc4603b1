"""Searching the customers of the holdings that a filter picks, without their rows."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TABLE = "customers"
BY_NAME = "ix_customers_holding_id_lower_name"
COLUMNS = ("lower_external_id", "lower_email")


def upgrade() -> None:
    for column in COLUMNS:
        op.create_index(
            f"ix_customers_holding_id_{column}",
            TABLE,
            ["holding_id", column],
            postgresql_include=["external_id", "created_at", "lower_name"],
            postgresql_where=sa.text("erasure_id IS NULL"),
        )
    _index_by_name("erasure_id", "created_at")


def downgrade() -> None:
    _index_by_name("erasure_id")
    for column in COLUMNS:
        op.drop_index(f"ix_customers_holding_id_{column}", TABLE)


def _index_by_name(*included: str) -> None:
    op.drop_index(BY_NAME, TABLE)
    columns = ["holding_id", "lower_name", "external_id"]
    op.create_index(BY_NAME, TABLE, columns, postgresql_include=[*included])
