"""The engine, transactions and autocommit statements; a failing database is a 503."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Self, TypeVar, cast

import psycopg
import pydantic_core
from psycopg.pq import TransactionStatus
from sqlalchemy import event, exc
from sqlalchemy.engine import AdaptedConnection, Connection
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    create_async_engine,
)
from sqlalchemy.pool import AsyncAdaptedQueuePool, Pool, PoolProxiedConnection
from sqlalchemy.util.concurrency import greenlet_spawn

from docvault.db.failures import UNAVAILABLE, describe_failure
from docvault.db.prepared_statements import Lane, PreparedStatement, Record, fetch_rows
from docvault.db.sessions import Driver, SessionSettings, UnsuitableDatabase, require_sessions
from docvault.db.shared_transactions import NoFreeConnection, SharedTransactions
from docvault.errors import DatabaseUnavailable
from docvault.observability import metrics

POOL_WAIT_SECONDS = 5
# Longer than any statement may take: reached only if the server does not respond at all.
TRANSACTION_SECONDS = 15


class MeasuredPool(AsyncAdaptedQueuePool):
    """A pool that measures how long callers wait."""

    # Logged under SQLAlchemy's name, with the level of SQLAlchemy.
    _sqla_logger_namespace = "sqlalchemy.pool.MeasuredPool"

    def connect(self) -> PoolProxiedConnection:
        """Return a connection; see `Pool`."""
        with metrics.POOL_WAIT_SECONDS.time():
            return super().connect()


_Work = TypeVar("_Work", "Session", "AutocommitConnection")


class Session(AsyncSession):
    """A transaction: a session of SQLAlchemy that also sends prepared statements directly."""

    @property
    def orm(self) -> Self:
        """The session itself; see `AutocommitConnection.orm`."""
        return self

    async def rows(
        self, statement: PreparedStatement[Record], parameters: Mapping[str, Any]
    ) -> list[Record]:
        """Send a prepared statement in the transaction and return its rows."""
        return await _fetch(await self.driver(), statement, parameters)

    async def driver(self) -> Driver:
        """Return psycopg's connection of the transaction."""
        connection = await (await self.connection()).get_raw_connection()
        return cast("Driver", connection.driver_connection)


class AutocommitConnection:
    """Statements that are committed one by one.

    A session of SQLAlchemy is opened only if needed: most requests send prepared statements only.
    """

    def __init__(self, engine: AsyncEngine, lanes: Mapping[Lane, SharedTransactions]) -> None:
        self._engine = engine
        self._lanes = lanes
        self._session: Session | None = None

    @property
    def orm(self) -> Session:
        """The session for statements that are not prepared."""
        if self._session is None:
            self._session = _session(self._engine)
        return self._session

    async def rows(
        self, statement: PreparedStatement[Record], parameters: Mapping[str, Any]
    ) -> list[Record]:
        """Send a prepared statement and return its rows.

        Uses a pooled connection for just this statement, unless the session has one.
        """
        if self._session is not None and self._session.in_transaction():
            return await self._session.rows(statement, parameters)
        if statement.lane is not None:
            return await self._lanes[statement.lane].rows(statement, parameters)
        return await _send(self._engine, statement, parameters)

    async def close(self) -> None:
        """Return the session's connection to the pool."""
        if self._session is not None:
            await self._session.close()

    async def invalidate(self) -> None:
        """Disconnect without a rollback, for a server that may be frozen."""
        if self._session is not None:
            await self._session.invalidate()


@asynccontextmanager
async def _borrow(engine: AsyncEngine) -> AsyncIterator[Driver]:
    """Yield a pooled connection in autocommit."""
    borrowed = await greenlet_spawn(engine.sync_engine.raw_connection)
    driver = cast("Driver", borrowed.driver_connection)
    try:
        yield driver
    finally:
        # A closed connection goes back as it is: at the next checkout the pool discards all its
        # connections (`_discard_stale_connections`).
        if not driver.closed and driver.info.transaction_status is not TransactionStatus.IDLE:
            # The server may be frozen: disconnect without sending it a rollback.
            await greenlet_spawn(borrowed.invalidate)
        borrowed.close()


@asynccontextmanager
async def _borrow_free(engine: AsyncEngine, pool_size: int) -> AsyncIterator[Driver]:
    """Yield a connection that is free now; raises `NoFreeConnection`."""
    if _in_use(engine.sync_engine.pool) >= pool_size:
        raise NoFreeConnection
    async with asyncio.timeout(TRANSACTION_SECONDS), _borrow(engine) as driver:
        yield driver


async def _send(
    engine: AsyncEngine, statement: PreparedStatement[Record], parameters: Mapping[str, Any]
) -> list[Record]:
    async with _borrow(engine) as driver:
        return await _fetch(driver, statement, parameters)


async def _fetch(
    driver: Driver, statement: PreparedStatement[Record], parameters: Mapping[str, Any]
) -> list[Record]:
    with metrics.STATEMENT_SECONDS.time():
        cursor = driver.cursor(row_factory=statement.row_factory)
        return await fetch_rows(await cursor.execute(statement.sql, parameters))


class Database:
    """One engine and its transactions.

    Every failure of the server, the network or the pool becomes `DatabaseUnavailable`.
    """

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.sessions = SessionSettings(url)
        self.engine: AsyncEngine = create_async_engine(
            "postgresql+psycopg://",
            async_creator=self.sessions.connect,
            poolclass=MeasuredPool,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=POOL_WAIT_SECONDS,
            # A broken connection discards the pool instead: a restart of the server costs a 503 for
            # the statements on one connection.
            pool_pre_ping=False,
            pool_use_lifo=True,
            # Nothing to roll back: sessions end their transactions, and `AutocommitConnection.rows`
            # disconnects if one is open. A reset would need a greenlet for each statement.
            pool_reset_on_return=None,
            # Parameters contain customers' data, and errors are logged (D27).
            hide_parameters=True,
            # Most requests are single statements; `_transactional` switches for transactions.
            isolation_level="AUTOCOMMIT",
            json_deserializer=pydantic_core.from_json,
        )
        _discard_stale_connections(self.engine.sync_engine.pool)
        _measure(self.engine, pool_size)
        self._transactional = self.engine.execution_options(isolation_level="READ COMMITTED")
        self._lanes = {
            lane: SharedTransactions(
                partial(_send, self.engine), partial(_borrow_free, self.engine, pool_size)
            )
            for lane in Lane
        }

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        """Commit when the block ends, roll back when it raises."""
        async with self._guarded(_session(self._transactional)) as session, session.begin():
            yield session

    @asynccontextmanager
    async def autocommit(self) -> AsyncIterator[AutocommitConnection]:
        """Run statements that are committed one by one, which saves two round trips.

        Reads lose no consistency: under READ COMMITTED each statement has a new snapshot anyway.
        """
        async with self._guarded(AutocommitConnection(self.engine, self._lanes)) as statements:
            yield statements

    @asynccontextmanager
    async def _guarded(self, work: _Work) -> AsyncIterator[_Work]:
        try:
            async with asyncio.timeout(TRANSACTION_SECONDS):
                try:
                    yield work
                except asyncio.CancelledError:
                    # The server may be frozen: disconnect without sending it a rollback.
                    await work.invalidate()
                    raise
                finally:
                    await work.close()
        except exc.DBAPIError as error:
            if isinstance(error.orig, UNAVAILABLE) or error.connection_invalidated:
                raise _unavailable("unavailable", describe_failure(error.orig)) from error
            raise
        except exc.TimeoutError as error:
            raise _unavailable("pool_exhausted", "no connection of the pool was free") from error
        except TimeoutError as error:
            raise _unavailable("timed_out", "it did not respond in time") from error
        except UNAVAILABLE as error:
            raise _unavailable("unavailable", describe_failure(error)) from error

    async def require_sessions(self) -> None:
        """Raise `DatabaseUnavailable` if a pooler shares sessions between connections."""
        try:
            await asyncio.to_thread(require_sessions, self.sessions)
        except UnsuitableDatabase as error:
            raise DatabaseUnavailable(cause=str(error)) from error
        except psycopg.OperationalError as error:
            raise _unavailable("unavailable", describe_failure(error)) from error

    async def close(self) -> None:
        """Close every pooled connection, once what is shared has ended."""
        for lane in self._lanes.values():
            await lane.close()
        await self.engine.dispose()


def _session(engine: AsyncEngine) -> Session:
    return Session(engine, expire_on_commit=False, autoflush=False)


def _unavailable(reason: str, cause: str) -> DatabaseUnavailable:
    metrics.DATABASE_FAILURES.labels(reason).inc()
    return DatabaseUnavailable(cause=cause)


def _discard_stale_connections(pool: Pool) -> None:
    """Discard all pooled connections once one is found closed.

    Whatever closed one, such as a restart of the server, has closed the others too. The pool is
    LIFO, so that the closed one is the next to be checked out.
    """

    @event.listens_for(pool, "checkout")
    def on_checkout(connection: AdaptedConnection, *_: object) -> None:
        if cast("Driver", connection.driver_connection).closed:
            raise exc.InvalidatePoolError


def _measure(engine: AsyncEngine, pool_size: int) -> None:
    """Record statements and the use of the pool in the metrics."""
    pool = engine.sync_engine.pool
    metrics.POOL_SIZE.set(pool_size)

    # Set instead of incremented: a lost connection would leave the gauge wrong permanently.
    @event.listens_for(pool, "checkout")
    def on_checkout(*_: object) -> None:
        metrics.POOL_IN_USE.set(_in_use(pool))

    @event.listens_for(pool, "checkin")
    def on_checkin(*_: object) -> None:
        metrics.POOL_IN_USE.set(max(_in_use(pool) - 1, 0))

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def on_statement(connection: Connection, *_: object) -> None:
        connection.info["began"] = time.perf_counter()

    @event.listens_for(engine.sync_engine, "after_cursor_execute")
    def on_result(connection: Connection, *_: object) -> None:
        seconds = time.perf_counter() - connection.info["began"]
        metrics.STATEMENT_SECONDS.observe(seconds)


def _in_use(pool: Pool) -> int:
    return pool.checkedout() if isinstance(pool, AsyncAdaptedQueuePool) else 0
