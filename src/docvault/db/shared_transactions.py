"""Statements of concurrent requests that go to the server together (decision 0066).

A request is one or two statements, and most of their time is round trips, wake-ups and commits.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from docvault.db.prepared_statements import PreparedStatement, fetch_rows
from docvault.db.sessions import Driver
from docvault.observability import metrics

Rows = list[Any]
Parameters = Mapping[str, Any]

# How many statements share a transaction at most; each waits until all of them are committed.
MOST_STATEMENTS = 16
# How long the next statements wait for those before. A slow one delays others no longer.
PATIENCE_SECONDS = 0.05
# A statement that has to wait for a lock does so alone.
_LIMIT_WAITING = "SET LOCAL lock_timeout = '50ms'"


class NoFreeConnection(Exception):
    """All connections are in use; whoever waits for one can as well send a statement alone."""


class _RolledBack(Exception):
    """A statement failed, and nothing was committed."""


@dataclass(slots=True)
class _Waiting:
    statement: PreparedStatement[Any]
    parameters: Parameters
    # None if it has to be sent alone.
    rows: asyncio.Future[Rows | None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class SharedTransactions:
    """Sends a statement at once if none is under way, otherwise with others in one transaction.

    Each statement has its own result: if one of them fails, all are rolled back and sent again,
    each alone. Only complete statements may come here, which depend on no other of the request.
    """

    def __init__(
        self,
        send_alone: Callable[[PreparedStatement[Any], Parameters], Awaitable[Rows]],
        connect: Callable[[], AbstractAsyncContextManager[Driver]],
    ) -> None:
        """`connect` raises `NoFreeConnection` rather than wait for one."""
        self._send_alone = send_alone
        self._connect = connect
        self._waiting: list[_Waiting] = []
        # What the next statements wait for: a statement or a transaction.
        self._under_way: object | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def rows(self, statement: PreparedStatement[Any], parameters: Parameters) -> Rows:
        """Return the rows of a statement; raises as a statement that is sent alone."""
        if self._under_way is None:
            turn = self._begin_turn()
            try:
                return await self._send_alone(statement, parameters)
            finally:
                self._end_turn(turn)
        waiting = _Waiting(statement, parameters)
        self._waiting.append(waiting)
        rows = await waiting.rows
        return await self._send_alone(statement, parameters) if rows is None else rows

    async def close(self) -> None:
        """Wait for what is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _begin_turn(self) -> object:
        turn = self._under_way = object()
        asyncio.get_running_loop().call_later(PATIENCE_SECONDS, self._end_turn, turn)
        return turn

    def _end_turn(self, turn: object) -> None:
        if self._under_way is not turn:
            return
        self._under_way = None
        if self._waiting:
            batch = self._waiting[:MOST_STATEMENTS]
            del self._waiting[:MOST_STATEMENTS]
            task = asyncio.create_task(self._send_together(batch, self._begin_turn()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _send_together(self, batch: list[_Waiting], turn: object) -> None:
        try:
            results = await self._results(batch)
        except Exception as error:  # noqa: BLE001 - each request handles it as its own
            for one in batch:
                if not one.rows.done():
                    one.rows.set_exception(error)
        else:
            for one, rows in zip(batch, results, strict=True):
                if not one.rows.done():
                    one.rows.set_result(rows)
        finally:
            self._end_turn(turn)

    async def _results(self, batch: list[_Waiting]) -> list[Rows] | list[None]:
        """Return the rows of each statement, or None for each if nothing was committed."""
        if len(batch) == 1:
            return [await self._send_alone(batch[0].statement, batch[0].parameters)]
        try:
            async with self._connect() as connection:
                return await _transact(connection, batch)
        except (NoFreeConnection, _RolledBack):
            return [None] * len(batch)


async def _transact(connection: Driver, batch: list[_Waiting]) -> list[Rows]:
    """Run all statements in one transaction and one round trip, on an autocommit connection."""
    cursors = []
    began = time.perf_counter()
    try:
        async with connection.pipeline():
            await connection.execute("BEGIN")
            await connection.execute(_LIMIT_WAITING)
            for one in batch:
                cursor = connection.cursor(row_factory=one.statement.row_factory)
                cursors.append(await cursor.execute(one.statement.sql, one.parameters))
            await connection.execute("COMMIT")
    except psycopg.Error as error:
        if connection.closed:
            # Perhaps it was committed.
            raise
        await connection.rollback()
        raise _RolledBack from error
    for _ in batch:
        metrics.STATEMENT_SECONDS.observe(time.perf_counter() - began)
    return [await fetch_rows(cursor) for cursor in cursors]
