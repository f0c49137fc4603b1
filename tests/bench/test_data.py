"""The customers of the bench: copied without triggers, but with the fact sets triggers maintain."""

from collections.abc import Iterator

import psycopg
import pytest
from bench.data import SHARES, WITH_FIELD, Population, populate

from docvault.db.migrate import migrate
from docvault.embedded.postgres import EmbeddedPostgres

CUSTOMERS = 300
TYPE = """
INSERT INTO document_types
    (id, key, name, folded_name, upload_mode, collects_fields, max_files, position)
VALUES (gen_random_uuid(), %(key)s, %(key)s, %(key)s, 'required', %(has_field)s, 1, %(position)s)
RETURNING id
"""
FIELD = """
INSERT INTO document_type_fields
    (id, document_type_id, key, label, folded_label, required, position)
VALUES (gen_random_uuid(), %s, 'number', 'Number', 'number', true, 1)
"""
# `customer_facts` is the function that the triggers call.
DIFFERENT = """
SELECT count(*) FROM customers JOIN fact_sets ON fact_sets.id = customers.fact_set_id
WHERE fact_sets.numbers <> customer_facts(customers.id)
"""


@pytest.fixture
def connection(postgres: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    """A database of its own, because its indexes are rebuilt."""
    url = postgres.create_database("bench_data")
    migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        for number in range(len(SHARES)):
            has_field = number == WITH_FIELD
            values = {"key": f"type-{number}", "has_field": has_field, "position": number}
            made = connection.execute(TYPE, values).fetchone()
            if has_field:
                connection.execute(FIELD, made)
        populate(url, CUSTOMERS)
        yield connection


def number(connection: psycopg.Connection, query: str) -> int:
    (row,) = connection.execute(query).fetchall()
    return int(row[0])


def test_generated_customers_match_their_documents(connection: psycopg.Connection) -> None:
    assert number(connection, "SELECT count(*) FROM customers") == CUSTOMERS
    filled = sum((mask & 0x3FF).bit_count() for mask in Population.of(CUSTOMERS).filled)
    assert number(connection, "SELECT count(*) FROM documents") == filled
    assert number(connection, "SELECT count(DISTINCT fact_set_id) FROM customers") > 10
    assert number(connection, DIFFERENT) == 0
