"""Statements that go to psycopg as they are, with rows by name.

Most requests are one statement, of which SQLAlchemy's path to psycopg and back would be a large
part (decision 0026).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import pydantic_core
from psycopg import AsyncCursor
from psycopg.pq import ExecStatus
from psycopg.types.json import Json, Jsonb

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Record = TypeVar("Record", bound="DataclassInstance")


def jsonb(value: object) -> Jsonb | None:
    """Return the parameter for a nullable JSON column."""
    return None if value is None else Jsonb(value)


def json_rows(rows: Sequence[Mapping[str, Any]]) -> Json:
    """Return the parameter for `json_to_recordset`; ids are texts in it."""
    return Json(rows, dumps=pydantic_core.to_json)


@dataclass(slots=True)
class NoRow:
    """The record of a statement that returns no rows."""


class Lane(Enum):
    """Which statements of concurrent requests share transactions; reads never wait for writes."""

    READS = auto()
    WRITES = auto()


class PreparedStatement(Generic[Record]):
    """SQL with psycopg's placeholders, and the dataclass of its rows.

    The fields of the record have the names and the order of the columns. A statement with a lane
    may be sent together with others, see `shared_transactions`.
    """

    def __init__(self, sql: str, record: type[Record]) -> None:
        self.sql = sql
        self.lane: Lane | None = None
        self._record = record
        self._is_checked = False

    def in_lane(self, lane: Lane) -> Self:
        """Let the statement share transactions; its request must need no other one with it."""
        self.lane = lane
        return self

    def row_factory(self, cursor: AsyncCursor[Any]) -> Callable[[Sequence[Any]], Record]:
        """Return a function that makes a record of a row; see `psycopg.rows`.

        Faster than `class_row`, which passes every column by keyword: the names are compared once.
        """
        if not self._is_checked and cursor.description is not None:
            self._check([column.name for column in cursor.description])
        record = self._record
        return lambda values: record(*values)

    def _check(self, columns: list[str]) -> None:
        names = [field.name for field in fields(self._record)]
        if columns != names:
            raise TypeError(f"{self._record.__name__} has {names}, the statement returns {columns}")
        self._is_checked = True


async def fetch_rows(cursor: AsyncCursor[Record]) -> list[Record]:
    """Return the rows of a statement that was executed; none if it has no result."""
    is_read = cursor.pgresult and cursor.pgresult.status == ExecStatus.TUPLES_OK
    return await cursor.fetchall() if is_read else []
