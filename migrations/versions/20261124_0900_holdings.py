"""Holdings: what customers have delivered, for lists whose cost does not grow with the table."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# The blanks are those of `rules/states.py`.
HELD_NUMBERS = r"""
CREATE FUNCTION held_numbers(of_customer uuid) RETURNS integer[] LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN ARRAY(
        SELECT document_types.number
        FROM documents JOIN document_types ON document_types.id = documents.document_type_id
        WHERE documents.customer_id = of_customer AND documents.current_version_id IS NOT NULL
        UNION ALL
        SELECT field.number
        FROM documents JOIN document_type_fields AS field
            ON field.document_type_id = documents.document_type_id
        WHERE documents.customer_id = of_customer AND documents.current_version_id IS NOT NULL
            AND btrim(documents.field_values ->> field.key, E' \t\r\n') <> ''
        ORDER BY number
    );
END $$
"""
# Of two changes at once the second waits for the customer's row and then sees the first.
REFRESH_HOLDING = """
CREATE FUNCTION refresh_holding() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed uuid := coalesce(NEW.customer_id, OLD.customer_id);
    current_id integer;
    next_id integer;
    held integer[];
BEGIN
    SELECT holding_id INTO current_id FROM customers WHERE id = changed FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN NULL; -- The customer is being deleted, and the documents with them.
    END IF;
    held := held_numbers(changed);
    -- Locked, so that it is not removed as unused meanwhile.
    SELECT id INTO next_id FROM holdings WHERE numbers = held ORDER BY id LIMIT 1 FOR KEY SHARE;
    IF NOT FOUND THEN
        INSERT INTO holdings (numbers) VALUES (held) RETURNING id INTO next_id;
    END IF;
    IF next_id <> current_id THEN
        UPDATE customers SET holding_id = next_id WHERE id = changed;
    END IF;
    RETURN NULL;
END $$
"""
TRIGGERS = {
    "documents_inserted": "INSERT ON documents FOR EACH ROW"
    " WHEN (NEW.current_version_id IS NOT NULL)",
    "documents_updated": "UPDATE OF current_version_id, field_values ON documents FOR EACH ROW"
    " WHEN ((OLD.current_version_id IS NULL) <> (NEW.current_version_id IS NULL)"
    " OR (NEW.current_version_id IS NOT NULL AND OLD.field_values <> NEW.field_values))",
    "documents_deleted": "DELETE ON documents FOR EACH ROW"
    " WHEN (OLD.current_version_id IS NOT NULL)",
}
FILL = """
CREATE TEMPORARY TABLE held ON COMMIT DROP AS
    SELECT customers.id, held_numbers(customers.id) AS numbers FROM customers
    WHERE EXISTS (SELECT FROM documents WHERE documents.customer_id = customers.id);
INSERT INTO holdings (numbers) SELECT DISTINCT numbers FROM held WHERE numbers <> '{}';
UPDATE customers SET holding_id = holdings.id
    FROM held JOIN holdings ON holdings.numbers = held.numbers
    WHERE customers.id = held.id AND holdings.id <> 0;
DROP TABLE held
"""
LISTED = sa.text("erasure_id IS NULL")


def upgrade() -> None:
    op.execute("CREATE SEQUENCE holding_numbers AS integer")
    number = sa.text("nextval('holding_numbers')")
    for table in ("document_types", "document_type_fields"):
        op.add_column(
            table, sa.Column("number", sa.Integer(), server_default=number, nullable=False)
        )
        op.create_unique_constraint(op.f(f"uq_{table}_number"), table, ["number"])
    op.create_table(
        "holdings",
        sa.Column("id", sa.Integer(), sa.Identity(), nullable=False),
        sa.Column("numbers", postgresql.ARRAY(sa.Integer()), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_holdings")),
    )
    op.create_index("ix_holdings_numbers", "holdings", ["numbers"])
    op.execute("INSERT INTO holdings (id, numbers) VALUES (0, '{}')")
    # Filling goes faster without them, and all but one come again in another form.
    op.drop_index("ix_documents_filled", "documents")
    for column in ("created_at_id", "name", "lower_id", "lower_name", "lower_email"):
        op.drop_index(f"ix_customers_{column}", "customers")
    # One statement, which writes the table once.
    op.execute(
        """
        ALTER TABLE customers
            ALTER COLUMN external_id TYPE text COLLATE "C",
            ADD COLUMN holding_id integer NOT NULL DEFAULT 0,
            ADD COLUMN lower_external_id text COLLATE "C" NOT NULL
                GENERATED ALWAYS AS (lower(external_id)) STORED,
            ADD COLUMN lower_name text COLLATE "C" NOT NULL
                GENERATED ALWAYS AS (lower(coalesce(name, ''))) STORED,
            ADD COLUMN lower_email text COLLATE "C" NOT NULL
                GENERATED ALWAYS AS (lower(coalesce(email, ''))) STORED
        """
    )
    op.execute(HELD_NUMBERS)
    op.execute(REFRESH_HOLDING)
    for name, event in TRIGGERS.items():
        op.execute(f"CREATE TRIGGER {name} AFTER {event} EXECUTE FUNCTION refresh_holding()")
    op.execute(FILL)
    _create_indexes()
    op.create_foreign_key(
        op.f("fk_customers_holding_id"), "customers", "holdings", ["holding_id"], ["id"]
    )
    op.execute("ANALYZE customers")
    op.execute("ANALYZE holdings")


def _create_indexes() -> None:
    table = "customers"
    for name, columns, included in (
        ("created_at", ["created_at", "external_id"], ["holding_id"]),
        ("lower_name", ["lower_name", "external_id"], ["holding_id", "created_at"]),
        (
            "lower_external_id",
            ["lower_external_id"],
            ["external_id", "holding_id", "created_at", "lower_name"],
        ),
        (
            "lower_email",
            ["lower_email"],
            ["external_id", "holding_id", "created_at", "lower_name"],
        ),
    ):
        op.create_index(
            f"ix_customers_{name}",
            table,
            columns,
            postgresql_include=included,
            postgresql_where=LISTED,
        )
    for name in ("created_at", "lower_name"):
        op.create_index(
            f"ix_customers_holding_id_{name}",
            table,
            ["holding_id", name, "external_id"],
            postgresql_include=["erasure_id"],
        )


def downgrade() -> None:
    for name in TRIGGERS:
        op.execute(f"DROP TRIGGER {name} ON documents")
    op.execute("DROP FUNCTION refresh_holding()")
    op.execute("DROP FUNCTION held_numbers(uuid)")
    # The indexes go with their columns, but for this one.
    op.drop_index("ix_customers_created_at", "customers")
    op.execute(
        """
        ALTER TABLE customers
            ALTER COLUMN external_id TYPE text COLLATE "default",
            DROP COLUMN holding_id,
            DROP COLUMN lower_external_id,
            DROP COLUMN lower_name,
            DROP COLUMN lower_email
        """
    )
    op.drop_table("holdings")
    for table in ("document_types", "document_type_fields"):
        op.drop_column(table, "number")
    op.execute("DROP SEQUENCE holding_numbers")
    op.create_index("ix_customers_created_at_id", "customers", ["created_at", "external_id"])
    for name, column in (("id", "external_id"), ("name", "name"), ("email", "email")):
        op.create_index(
            f"ix_customers_lower_{name}",
            "customers",
            [sa.literal_column(f"lower({column})").label("lowered")],
            postgresql_ops={"lowered": "text_pattern_ops"},
        )
    op.create_index(
        "ix_customers_name",
        "customers",
        [sa.literal_column("lower(coalesce(name, ''))"), "external_id"],
    )
    op.create_index(
        "ix_documents_filled",
        "documents",
        ["document_type_id", "customer_id"],
        postgresql_where=sa.text("current_version_id IS NOT NULL"),
    )
