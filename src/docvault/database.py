"""The engine, and transactions that answer every database failure with 503."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from sqlalchemy import exc
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)

from docvault.errors import DatabaseUnavailable

POOL_WAIT_SECONDS = 5
STATEMENT_SECONDS = 10
LOCK_SECONDS = 5

# What psycopg reports when the server is gone, restarting, overloaded or too slow. Anything
# else (a constraint, a data error) is either handled where it is expected or a bug.
_UNAVAILABLE = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.QueryCanceled,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.ReadOnlySqlTransaction,
)


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


class Database:
    """One engine and its transactions.

    Every failure of the server, the network or the pool becomes `DatabaseUnavailable`.
    """

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.engine: AsyncEngine = create_async_engine(
            sqlalchemy_url(url),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=POOL_WAIT_SECONDS,
            # A server restart must cost one 503 at most, not one for every pooled connection.
            pool_pre_ping=False,
            pool_use_lifo=True,
            # Parameters hold customers' data, and errors go to the log (D27).
            hide_parameters=True,
            connect_args={"options": connection_options(), "connect_timeout": POOL_WAIT_SECONDS},
        )
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False, autoflush=False)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """Commit when the block ends, roll back when it raises."""
        with_session = self._sessions()
        try:
            async with with_session as session, session.begin():
                yield session
        except exc.DBAPIError as error:
            if isinstance(error.orig, _UNAVAILABLE) or error.connection_invalidated:
                raise DatabaseUnavailable from error
            raise
        except (exc.TimeoutError, *_UNAVAILABLE) as error:
            raise DatabaseUnavailable from error

    async def close(self) -> None:
        """Close every pooled connection."""
        await self.engine.dispose()
