"""A pseudonym of each customer, which events keep after an erasure."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE FUNCTION new_pseudonym() RETURNS text LANGUAGE sql VOLATILE AS $$
            SELECT 'anon-' || replace(gen_random_uuid()::text, '-', '')
        $$
        """
    )
    # Rewrites the table, so that every customer has one of their own.
    default = sa.text("new_pseudonym()")
    column = sa.Column("pseudonym", sa.Text, nullable=False, server_default=default)
    op.add_column("customers", column)


def downgrade() -> None:
    op.drop_column("customers", "pseudonym")
    op.execute("DROP FUNCTION new_pseudonym")
