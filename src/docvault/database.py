"""The engine, its transactions and single statements; every failure of the database is a 503."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar, cast

import psycopg
import pydantic_core
from psycopg.pq import ExecStatus, TransactionStatus
from sqlalchemy import event, exc
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    create_async_engine,
)
from sqlalchemy.pool import AsyncAdaptedQueuePool, Pool, PoolProxiedConnection
from sqlalchemy.util.concurrency import greenlet_spawn

from docvault import metrics
from docvault.errors import DatabaseUnavailable
from docvault.prepared_statements import PreparedStatement

POOL_WAIT_SECONDS = 5
STATEMENT_SECONDS = 10
LOCK_SECONDS = 5
# Longer than any statement may take: only a server that does not answer at all comes to this.
TRANSACTION_SECONDS = 15

# What psycopg reports when the server is gone, restarting, overloaded or too slow. Anything
# else (a constraint, a data error) is either handled where it is expected or a bug.
_UNAVAILABLE = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.QueryCanceled,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.ReadOnlySqlTransaction,
)

# What libpq, psycopg and the server say when a connection fails, and what we say instead: their
# words hold the host, the user and the name of the database.
_CAUSES = (
    ("password authentication failed", "it refuses the password"),
    ("no password supplied", "it asks for a password"),
    ("pg_hba.conf", "it does not let this user in from here"),
    ("resolve host", "its host name is unknown"),
    ("translate host name", "its host name is unknown"),
    ("connection refused", "nothing listens at its address"),
    ("no such file or directory", "there is no socket at its path"),
    ("does not exist", "it knows no such user or database"),
    ("connection slots", "it has no connection left"),
    ("too many c", "it has no connection left"),
    ("starting up", "it is still starting"),
    ("pool initialization incomplete", "it does not answer in time"),
    ("timeout", "it does not answer in time"),
    ("timed out", "it does not answer in time"),
)


def failure_cause(error: BaseException) -> str | None:
    """Return why the database cannot be reached, without any name; None when it is not known."""
    text = str(error).lower()
    return next((cause for part, cause in _CAUSES if part in text), None)


def sqlalchemy_url(database_url: str) -> str:
    """Return the URL with the one driver docvault uses (DESIGN decision: psycopg 3)."""
    url = make_url(database_url).set(drivername="postgresql+psycopg")
    return url.render_as_string(hide_password=False)


def libpq_url(database_url: str) -> str:
    """Return the URL in libpq's own form, for the job queue."""
    url = make_url(database_url).set(drivername="postgresql")
    return url.render_as_string(hide_password=False)


def connection_options() -> str:
    """Return the server settings of every connection: no statement may run or wait for long."""
    return (
        f"-c statement_timeout={STATEMENT_SECONDS}s -c lock_timeout={LOCK_SECONDS}s"
        " -c idle_in_transaction_session_timeout=60s -c timezone=UTC"
    )


class MeasuredPool(AsyncAdaptedQueuePool):
    """A pool that tells how long its callers wait."""

    # Its log lines stay SQLAlchemy's, with SQLAlchemy's level.
    _sqla_logger_namespace = "sqlalchemy.pool.MeasuredPool"

    def connect(self) -> PoolProxiedConnection:
        """Return a connection; see `Pool`."""
        with metrics.POOL_WAIT_SECONDS.time():
            return super().connect()


Driver = psycopg.AsyncConnection[tuple[Any, ...]]
_Work = TypeVar("_Work", "Session", "Statements")


class Session(AsyncSession):
    """A transaction: SQLAlchemy's session, and a short way past it for prepared statements."""

    @property
    def orm(self) -> Self:
        """Itself; see `Statements`."""
        return self

    async def rows(
        self, statement: PreparedStatement, parameters: Mapping[str, Any]
    ) -> list[tuple[Any, ...]]:
        """Send a prepared statement in the transaction and return its rows."""
        return await _fetch(await self.driver(), statement, parameters)

    async def driver(self) -> Driver:
        """Return psycopg's connection of the transaction."""
        connection = await (await self.connection()).get_raw_connection()
        return cast("Driver", connection.driver_connection)


class Statements:
    """Single statements, each of which is committed by itself.

    Most requests need nothing but prepared statements, and those need no session.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._session: Session | None = None

    @property
    def orm(self) -> Session:
        """A session of SQLAlchemy for statements that are not prepared."""
        if self._session is None:
            self._session = _session(self._engine)
        return self._session

    async def rows(
        self, statement: PreparedStatement, parameters: Mapping[str, Any]
    ) -> list[tuple[Any, ...]]:
        """Send a prepared statement and return its rows.

        It takes a connection of the pool for just this statement, unless the session has one.
        """
        if self._session is not None and self._session.in_transaction():
            return await self._session.rows(statement, parameters)
        engine = self._engine.sync_engine
        lent = await greenlet_spawn(engine.raw_connection)
        driver = cast("Driver", lent.driver_connection)
        try:
            return await _fetch(driver, statement, parameters)
        finally:
            if driver.closed:
                # As SQLAlchemy does: what broke one connection broke those that wait in the pool.
                await greenlet_spawn(engine.pool._invalidate, lent)  # noqa: SLF001 - not public
            elif driver.info.transaction_status is not TransactionStatus.IDLE:
                # The server may be frozen: hang up instead of asking it anything.
                await greenlet_spawn(lent.invalidate)
            lent.close()

    async def close(self) -> None:
        """Give the session's connection back."""
        if self._session is not None:
            await self._session.close()

    async def invalidate(self) -> None:
        """Hang up, when the server may be frozen."""
        if self._session is not None:
            await self._session.invalidate()


async def _fetch(
    driver: Driver, statement: PreparedStatement, parameters: Mapping[str, Any]
) -> list[tuple[Any, ...]]:
    with metrics.STATEMENT_SECONDS.time():
        cursor = await driver.execute(statement.sql, statement.bind(parameters))
        is_read = cursor.pgresult and cursor.pgresult.status == ExecStatus.TUPLES_OK
        return await cursor.fetchall() if is_read else []


class Database:
    """One engine and its transactions.

    Every failure of the server, the network or the pool becomes `DatabaseUnavailable`.
    """

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.engine: AsyncEngine = create_async_engine(
            sqlalchemy_url(url),
            poolclass=MeasuredPool,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=POOL_WAIT_SECONDS,
            # A server restart must cost one 503 at most, not one for every pooled connection.
            pool_pre_ping=False,
            pool_use_lifo=True,
            # Nothing to roll back: sessions have ended their transaction, and `Statements.rows`
            # hangs up when there is one. It would need a greenlet for each statement.
            pool_reset_on_return=None,
            # Parameters hold customers' data, and errors go to the log (D27).
            hide_parameters=True,
            connect_args={"options": connection_options(), "connect_timeout": POOL_WAIT_SECONDS},
            # Most requests are single statements: connections change for transactions alone.
            isolation_level="AUTOCOMMIT",
            json_deserializer=pydantic_core.from_json,
        )
        _measure(self.engine, pool_size)
        self._transactional = self.engine.execution_options(isolation_level="READ COMMITTED")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        """Commit when the block ends, roll back when it raises."""
        async with self._guarded(_session(self._transactional)) as session, session.begin():
            yield session

    @asynccontextmanager
    async def statements(self) -> AsyncIterator[Statements]:
        """Run statements that are committed one by one, which saves two round trips.

        Several reads see no less of each other than in a transaction: under READ COMMITTED
        each statement looks anew.
        """
        async with self._guarded(Statements(self.engine)) as statements:
            yield statements

    @asynccontextmanager
    async def _guarded(self, work: _Work) -> AsyncIterator[_Work]:
        try:
            async with asyncio.timeout(TRANSACTION_SECONDS):
                try:
                    yield work
                except asyncio.CancelledError:
                    # The server may be frozen: hang up instead of asking it to roll back.
                    await work.invalidate()
                    raise
                finally:
                    await work.close()
        except exc.DBAPIError as error:
            if isinstance(error.orig, _UNAVAILABLE) or error.connection_invalidated:
                raise _unavailable("unavailable") from error
            raise
        except exc.TimeoutError as error:
            raise _unavailable("pool_exhausted") from error
        except TimeoutError as error:
            raise _unavailable("timed_out") from error
        except _UNAVAILABLE as error:
            raise _unavailable("unavailable") from error

    async def close(self) -> None:
        """Close every pooled connection."""
        await self.engine.dispose()


def _session(engine: AsyncEngine) -> Session:
    return Session(engine, expire_on_commit=False, autoflush=False)


def _unavailable(reason: str) -> DatabaseUnavailable:
    metrics.DATABASE_FAILURES.labels(reason).inc()
    return DatabaseUnavailable()


def _measure(engine: AsyncEngine, pool_size: int) -> None:
    """Tell the metrics what the engine does; SQLAlchemy has events for that."""
    pool = engine.sync_engine.pool
    metrics.POOL_SIZE.set(pool_size)

    # Set, not counted up and down: one connection that is lost would be wrong for ever.
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
