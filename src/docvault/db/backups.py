"""Every table as a file, and back: the database part of a backup.

The files are what `COPY` writes, the same in every version of PostgreSQL. The schema is not in
them; the revision says which migrations make it.
"""

import hashlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg import sql
from pydantic import BaseModel

from docvault.db.sessions import Connection, SessionSettings

_VERSION_TABLE = "alembic_version"
# Generated columns are computed again.
_COLUMNS = """
    SELECT c.table_name, array_agg(c.column_name::text ORDER BY c.ordinal_position)
    FROM information_schema.columns c JOIN information_schema.tables t
        USING (table_schema, table_name)
    WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE'
        AND c.is_generated = 'NEVER' AND c.table_name <> %s
    GROUP BY c.table_name ORDER BY c.table_name
"""
# Deferrable references are checked at the end.
_REFERENCES = """
    SELECT DISTINCT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint
    WHERE contype = 'f' AND NOT condeferrable AND conrelid <> confrelid
        AND connamespace = current_schema()::regnamespace
"""
_SEQUENCES = """
    SELECT sequencename, last_value FROM pg_sequences
    WHERE schemaname = current_schema() AND last_value IS NOT NULL ORDER BY sequencename
"""
_STORED = "SELECT key, size_bytes, sha256 FROM blobs WHERE state = 'stored' ORDER BY id"
# What a deployment has as soon as it is used.
_IN_USE = """
    SELECT EXISTS (SELECT FROM customers) OR EXISTS (SELECT FROM document_types)
        OR EXISTS (SELECT FROM api_keys) OR EXISTS (SELECT FROM erasures)
"""


class DatabaseInUse(Exception):
    """Rows would be replaced."""


class TableCopy(BaseModel):
    """A table as a file."""

    columns: list[str]
    sha256: str


class DatabaseCopy(BaseModel):
    """What a copy contains."""

    revision: str
    tables: dict[str, TableCopy]
    sequences: dict[str, int]


@dataclass(frozen=True, slots=True)
class ReferencedBlob:
    """Bytes that the copied rows refer to."""

    key: str
    size_bytes: int
    sha256: str


def export_tables(database_url: str, folder: Path) -> tuple[DatabaseCopy, list[ReferencedBlob]]:
    """Write every table into a folder, as of one moment, and list the blobs of that moment."""
    with _transaction(database_url) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        version = sql.SQL("SELECT version_num FROM {}").format(sql.Identifier(_VERSION_TABLE))
        revision = _value(connection, version)
        tables = {}
        for name, columns in _rows(connection, _COLUMNS, (_VERSION_TABLE,)):
            digest = _copy_out(connection, name, columns, folder / f"{name}.copy")
            tables[name] = TableCopy(columns=columns, sha256=digest)
        sequences = dict(_rows(connection, _SEQUENCES))
        blobs = [ReferencedBlob(*row) for row in _rows(connection, _STORED)]
    return DatabaseCopy(revision=revision, tables=tables, sequences=sequences), blobs


def check_is_unused(database_url: str) -> None:
    """Raise `DatabaseInUse` if there are rows that a restore would replace."""
    with _transaction(database_url) as connection:
        known = _value(connection, sql.SQL("SELECT to_regclass('customers') IS NOT NULL"))
        if known and _value(connection, sql.SQL(_IN_USE)):
            raise DatabaseInUse


def import_tables(database_url: str, folder: Path, copy: DatabaseCopy) -> list[ReferencedBlob]:
    """Fill an unused database of the same revision, in one transaction.

    See `check_is_unused`.
    """
    with _transaction(database_url) as connection:
        names = _in_order(list(copy.tables), _rows(connection, _REFERENCES))
        listed = sql.SQL(", ").join(map(sql.Identifier, names))
        connection.execute(sql.SQL("TRUNCATE {}").format(listed))
        # The rows that triggers would write are in the files, too.
        _switch_triggers(connection, names, sql.SQL("DISABLE"))
        for name in names:
            _copy_in(connection, name, copy.tables[name].columns, folder / f"{name}.copy")
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        _switch_triggers(connection, names, sql.SQL("ENABLE"))
        for name, last in copy.sequences.items():
            connection.execute("SELECT setval(quote_ident(%s)::regclass, %s)", (name, last))
        return [ReferencedBlob(*row) for row in _rows(connection, _STORED)]


def damaged_tables(folder: Path, copy: DatabaseCopy) -> list[str]:
    """Return the tables whose file is missing or changed."""
    return [
        name
        for name, table in copy.tables.items()
        if not (path := folder / f"{name}.copy").is_file() or _hash(path) != table.sha256
    ]


@contextmanager
def _transaction(database_url: str) -> Iterator[Connection]:
    # Without the time limits of requests: copying a large table takes longer.
    opened = SessionSettings(database_url).connect_unlimited()
    with closing(opened) as connection, connection.transaction():
        yield connection


def _rows(
    connection: Connection,
    query: str,
    parameters: tuple[str, ...] = (),
) -> list[tuple[Any, ...]]:
    return (connection.execute(sql.SQL(query), parameters)).fetchall()


def _value(connection: Connection, query: sql.SQL | sql.Composed) -> Any:  # noqa: ANN401 - whatever the column is
    row = (connection.execute(query)).fetchone()
    return row[0] if row else None


def _statement(name: str, columns: list[str], direction: str) -> sql.Composed:
    return sql.SQL("COPY {} ({}) {}").format(
        sql.Identifier(name),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL("TO STDOUT" if direction == "out" else "FROM STDIN"),
    )


def _copy_out(
    connection: Connection,
    name: str,
    columns: list[str],
    path: Path,
) -> str:
    digest = hashlib.sha256()
    statement = _statement(name, columns, "out")
    with path.open("wb") as file, connection.cursor() as cursor, cursor.copy(statement) as copy:
        for data in copy:
            digest.update(data)
            file.write(data)
    return digest.hexdigest()


def _copy_in(
    connection: Connection,
    name: str,
    columns: list[str],
    path: Path,
) -> None:
    statement = _statement(name, columns, "in")
    with path.open("rb") as file, connection.cursor() as cursor, cursor.copy(statement) as copy:
        while data := file.read(1024 * 1024):
            copy.write(data)


def _switch_triggers(connection: Connection, names: list[str], switch: sql.SQL) -> None:
    for name in names:
        connection.execute(
            sql.SQL("ALTER TABLE {} {} TRIGGER USER").format(sql.Identifier(name), switch)
        )


def _in_order(names: list[str], references: list[tuple[Any, ...]]) -> list[str]:
    """Return the tables, each after those that it refers to."""
    ordered: list[str] = []
    while len(ordered) < len(names):
        ready = [
            name
            for name in names
            if name not in ordered
            and all(to in ordered for table, to in references if table == name)
        ]
        if not ready:
            raise ValueError("tables refer to each other")
        ordered += ready
    return ordered


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
