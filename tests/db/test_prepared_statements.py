"""Statements passed to psycopg directly, with rows by name."""

from dataclasses import dataclass

import psycopg
import pytest
from psycopg.types.json import Jsonb

from docvault.db.prepared_statements import NoRow, PreparedStatement, jsonb


@dataclass
class Thing:
    id: int
    kind: str


async def fetch(url: str, sql: str) -> list[Thing]:
    statement = PreparedStatement(sql, Thing)
    async with await psycopg.AsyncConnection.connect(url) as connection:
        cursor = connection.cursor(row_factory=statement.row_factory)
        await cursor.execute(statement.sql)
        return await cursor.fetchall()


class TestRowFactory:
    """PreparedStatement.row_factory()."""

    async def test_rows_are_records(self, database_url: str) -> None:
        rows = await fetch(database_url, "SELECT 1 AS id, 'a' AS kind UNION ALL SELECT 2, 'b'")
        assert rows == [Thing(1, "a"), Thing(2, "b")]

    @pytest.mark.parametrize(
        "columns", ["'a' AS kind, 1 AS id", "1 AS id", "1 AS id, 'a' AS kind, 2 AS more"]
    )
    async def test_unexpected_columns_are_rejected(self, database_url: str, columns: str) -> None:
        with pytest.raises(TypeError, match="Thing has"):
            await fetch(database_url, f"SELECT {columns}")

    async def test_statement_without_rows(self, database_url: str) -> None:
        statement = PreparedStatement("SET work_mem = '4MB'", NoRow)
        async with await psycopg.AsyncConnection.connect(database_url) as connection:
            cursor = connection.cursor(row_factory=statement.row_factory)
            await cursor.execute(statement.sql)
            assert cursor.description is None


class TestJsonb:
    """jsonb()."""

    def test_value_is_wrapped(self) -> None:
        parameter = jsonb({"a": 1})
        assert isinstance(parameter, Jsonb)
        assert parameter.obj == {"a": 1}

    def test_none_is_null(self) -> None:
        assert jsonb(None) is None
