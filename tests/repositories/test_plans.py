"""Plans of the hot statements, on tables of the size of a large installation."""

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
from tests.repositories.test_sql import statements

import docvault.repositories.unit_of_work  # noqa: F401 - loads every statement
from docvault.db.migrate import migrate
from docvault.db.prepared_statements import PreparedStatement
from docvault.domain.document_lists import DocumentFilter
from docvault.domain.document_status import Status
from docvault.embedded.postgres import EmbeddedPostgres
from docvault.repositories.customer_pages import ListedCustomer
from docvault.repositories.document_lists import page_parameters, page_statement

CUSTOMERS, TYPES = 50_000, 1
SOME_ID = UUID(int=1)
FIRST_TYPE = UUID(hashlib.md5(b"type 1", usedforsecurity=False).hexdigest())
# Tables with a row for each customer, document or request. Others stay small.
GROWING = {
    *("customers", "documents", "document_versions", "document_files", "blobs", "previews"),
    *("audit_events", "audit_details", "idempotency_keys", "upload_sessions", "rate_limits"),
    *("events", "webhook_deliveries"),
}
FILL = f"""
SET session_replication_role = replica;
CREATE TEMP TABLE filled AS
    SELECT customer, type, md5('document ' || customer || ' ' || type)::uuid AS id
    FROM generate_series(1, {CUSTOMERS}) AS customer, generate_series(1, {TYPES}) AS type;
INSERT INTO document_types (
    id, key, name, folded_name, upload_mode, collects_fields, max_files, position
)
    SELECT md5('type ' || type)::uuid, 'type-' || type, 'Type ' || type, 'type ' || type,
        'optional', false, 1, type
    FROM generate_series(1, {TYPES}) AS type;
INSERT INTO customers (id, external_id, tags)
    SELECT md5('customer ' || customer)::uuid, 'c-' || customer, '{{}}'
    FROM generate_series(1, {CUSTOMERS}) AS customer;
INSERT INTO documents (
    id, customer_id, document_type_id, current_version_id, last_version, field_values
)
    SELECT id, md5('customer ' || customer)::uuid, md5('type ' || type)::uuid, id, 1, '{{}}'
    FROM filled;
INSERT INTO document_versions (
    id, document_id, number, uploaded_by_kind, uploaded_by_id, field_values
)
    SELECT id, id, 1, 'customer', 'c-' || customer, '{{}}' FROM filled;
INSERT INTO blobs (id, customer_id, key, state, size_bytes, sha256)
    SELECT id, md5('customer ' || customer)::uuid, id::text, 'stored', 1, '' FROM filled;
INSERT INTO document_files (
    id, version_id, blob_id, number, filename, media_type, size_bytes, sha256,
    has_active_content, scan, preview_failed
)
    SELECT id, id, id, 1, 'a.pdf', 'application/pdf', 1, '', false, 'clean', false FROM filled;
INSERT INTO previews (file_id, size, blob_id, media_type)
    SELECT id, 'medium', id, 'image/png' FROM filled;
INSERT INTO audit_events (id, actor_kind, actor_id, action, result)
    SELECT id, 'customer', 'c-' || customer, 'document.upload', 'ok' FROM filled;
INSERT INTO events (id, type, customer_id, data, position)
    SELECT id, 'document.uploaded', md5('customer ' || customer)::uuid, '{{}}', customer
    FROM filled;
INSERT INTO webhooks (id, name, url, types, enabled, signing, sealed_secret)
    SELECT md5('webhook ' || webhook)::uuid, '', '', '{{*}}', true, 'hmac', ''
    FROM generate_series(1, 5) AS webhook;
INSERT INTO webhook_deliveries (id, webhook_id, position, event_id, type, state, due_at)
    SELECT gen_random_uuid(), webhooks.id, position, events.id, type,
        CASE position % 10 WHEN 0 THEN 'pending' ELSE 'delivered' END, now()
    FROM webhooks, events;
SET session_replication_role = origin;
ANALYZE;
"""


@pytest.fixture(scope="module")
def connection(postgres: EmbeddedPostgres) -> Iterator[psycopg.Connection[Any]]:
    """A connection to a database with 50,000 versions, which plans without parameters.

    Not the database of other tests, which dead rows would slow down.
    """
    url = postgres.create_database("docvault_plans")
    migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(FILL)
        connection.execute("SET plan_cache_mode = force_generic_plan")
        yield connection


def plan(connection: psycopg.Connection[Any], sql: str) -> dict[str, Any]:
    """Return the plan that every execution of a prepared statement shares."""
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", sql)))
    numbered = re.sub(r"%\((\w+)\)s", lambda name: f"${names.index(name[1]) + 1}", sql)
    connection.execute(f"PREPARE hot AS {numbered.replace('%%', '%')}".encode())
    arguments = f"({', '.join(['NULL'] * len(names))})" if names else ""
    row = connection.execute(f"EXPLAIN (FORMAT JSON) EXECUTE hot{arguments}".encode()).fetchone()
    connection.execute("DEALLOCATE hot")
    assert row is not None
    found: dict[str, Any] = row[0][0]["Plan"]
    return found


def scanned_tables(node: dict[str, Any]) -> set[str]:
    """Return the tables that a plan reads from the first row to the last."""
    own = {node["Relation Name"]} if node["Node Type"] == "Seq Scan" else set()
    return own.union(*(scanned_tables(child) for child in node.get("Plans", ())))


def hot_statements() -> list[PreparedStatement[Any]]:
    """Return the statements of requests; those that search or count customers read many."""
    return [
        found
        for found in statements()
        if found._record is not ListedCustomer and "count(*)" not in found.sql
    ]


def test_no_hot_statement_scans_a_growing_table(connection: psycopg.Connection[Any]) -> None:
    hot = hot_statements()
    assert len(hot) > 15
    scans = {one.sql[:80]: scanned_tables(plan(connection, one.sql)) & GROWING for one in hot}
    assert {sql: tables for sql, tables in scans.items() if tables} == {}


@pytest.mark.parametrize(
    "filter_",
    [
        DocumentFilter(with_archived=True),
        DocumentFilter(),
        DocumentFilter(document_type_id=SOME_ID),
        DocumentFilter(status=Status.INCOMPLETE),
        DocumentFilter(uploaded_by="admin", uploaded_since=datetime(2024, 1, 1, tzinfo=UTC)),
        DocumentFilter(customer="c-1", status=Status.ACCEPTED),
    ],
)
def test_no_list_of_documents_scans_a_growing_table(
    connection: psycopg.Connection[Any], filter_: DocumentFilter
) -> None:
    statement = page_statement(filter_, 26)
    assert scanned_tables(plan(connection, statement.sql)) & GROWING == set()


@pytest.mark.parametrize(
    "filter_",
    [
        DocumentFilter(),
        DocumentFilter(document_type_id=FIRST_TYPE),
        DocumentFilter(document_type_id=FIRST_TYPE, status=Status.INCOMPLETE),
        DocumentFilter(uploaded_by="integration"),
    ],
)
def test_groups_of_documents_are_found_without_reading_all(
    connection: psycopg.Connection[Any], filter_: DocumentFilter
) -> None:
    sql = page_statement(filter_, 26).sql
    parameters = page_parameters(filter_, None, 26) | {"reachable_id": None}
    row = connection.execute(
        f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}".encode(), parameters
    ).fetchone()
    assert row is not None
    whole = row[0][0]["Plan"]
    # About two thousand for a page; a hundred thousand if every document is read.
    assert whole["Shared Hit Blocks"] + whole["Shared Read Blocks"] < 5_000


def test_deletion_of_a_version_finds_its_document(connection: psycopg.Connection[Any]) -> None:
    # What the foreign key executes for each deleted version.
    check = "SELECT 1 FROM ONLY documents WHERE %(id)s::uuid = current_version_id FOR KEY SHARE"
    assert scanned_tables(plan(connection, check)) == set()


def test_scan_of_a_growing_table_is_noticed(connection: psycopg.Connection[Any]) -> None:
    unindexed = "SELECT id FROM document_versions WHERE uploaded_by_id = %(id)s"
    assert scanned_tables(plan(connection, unindexed)) == {"document_versions"}
