"""Sessions of PostgreSQL: the settings of each, and whether a pooler keeps them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pydantic_core
from psycopg import sql
from psycopg.types.json import set_json_loads

from docvault.database_url import parse_database_url, split_options

CONNECT_SECONDS = 5
STATEMENT_SECONDS = 10
LOCK_SECONDS = 5
OLDEST_VERSION = 15
# A pooler that shares sessions may give two connections different ones by chance.
POOLER_ROUNDS = 5

# The server does not know a setting, or not with this value, or only its owner may set it.
_REFUSED_SETTING = (
    psycopg.errors.UndefinedObject,
    psycopg.errors.InvalidParameterValue,
    psycopg.errors.CantChangeRuntimeParam,
    psycopg.errors.InvalidName,
)
_REFUSED = "the server refuses a setting in the options of DOCVAULT_DATABASE_URL"

Connection = psycopg.Connection[tuple[Any, ...]]
Driver = psycopg.AsyncConnection[tuple[Any, ...]]
_PID = "SELECT pg_backend_pid()"
_UTC = {"timezone": "UTC"}
# They limit how long a request can take; migrations may take longer.
_LIMITS = {
    "statement_timeout": f"{STATEMENT_SECONDS}s",
    "lock_timeout": f"{LOCK_SECONDS}s",
    "idle_in_transaction_session_timeout": "60s",
}


class UnsuitableDatabase(Exception):
    """The database responds, but docvault cannot use it; the message says what to do."""


class SessionSettings:
    """How a URL's connections are opened: libpq's parameters, and what is set on each session.

    Settings are not sent as the parameter `options`, which poolers refuse.
    """

    def __init__(self, database_url: str) -> None:
        parameters, settings = split_options(parse_database_url(database_url))
        self.parameters: dict[str, Any] = {"connect_timeout": CONNECT_SECONDS, **parameters}
        self._statement = _set_all(settings | _UTC)
        self._limited_statement = _set_all(settings | _UTC | _LIMITS)

    async def connect(self) -> Driver:
        """Open a connection for requests, in autocommit."""
        connection = await psycopg.AsyncConnection.connect(**self.parameters, autocommit=True)
        # Parsing with the standard library took 7 % of the CPU of a request for the gate.
        set_json_loads(pydantic_core.from_json, connection)
        try:
            await self.prepare(connection)
        except _REFUSED_SETTING as error:
            await connection.close()
            raise UnsuitableDatabase(_REFUSED) from error
        except BaseException:
            await connection.close()
            raise
        return connection

    async def prepare(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Set the settings of a new connection."""
        autocommit = connection.autocommit
        await connection.set_autocommit(True)
        await connection.execute(self._limited_statement, prepare=False)
        await connection.set_autocommit(autocommit)

    def connect_unlimited(self) -> Connection:
        """Open a connection for migrations, in autocommit."""
        connection = psycopg.connect(**self.parameters, autocommit=True)
        try:
            connection.execute(self._statement, prepare=False)
        except _REFUSED_SETTING as error:
            connection.close()
            raise UnsuitableDatabase(_REFUSED) from error
        except BaseException:
            connection.close()
            raise
        return connection


def _set_all(settings: dict[str, str]) -> sql.Composed:
    """Return one statement that applies all settings in one round trip."""
    calls = [
        sql.SQL("set_config({}, {}, false)").format(name, value) for name, value in settings.items()
    ]
    return sql.SQL("SELECT ") + sql.SQL(", ").join(calls)


def require_sessions(settings: SessionSettings) -> None:
    """Raise `UnsuitableDatabase` if the server is too old or a pooler shares sessions.

    Prepared statements, limits, locks of migrations and notifications of the job queue belong to
    a session: with shared ones they fail or mix, but only under load.
    """
    with _opened(settings) as one, _opened(settings) as other:
        version = one.info.server_version // 10_000
        if version < OLDEST_VERSION:
            raise UnsuitableDatabase(
                f"docvault needs PostgreSQL {OLDEST_VERSION} or newer, and this server is {version}"
            )
        if _share_sessions(one, other):
            raise UnsuitableDatabase(
                "the connection pooler of DOCVAULT_DATABASE_URL does not keep sessions; set its"
                " pool_mode to session, or connect without it"
            )


def _share_sessions(one: Connection, other: Connection) -> bool:
    pids = set()
    for _ in range(POOLER_ROUNDS):
        pids.add(_read_pid(one))
        try:
            with other.transaction():
                pid = _read_pid(other)
        except psycopg.errors.ProtocolViolation:
            # PgBouncer's statement mode has no transactions.
            return True
        if pid in pids or len(pids) > 1:
            return True
    return False


@contextmanager
def _opened(settings: SessionSettings) -> Iterator[Connection]:
    connection = settings.connect_unlimited()
    try:
        yield connection
    finally:
        connection.close()


def _read_pid(connection: Connection) -> int:
    pid: int
    ((pid,),) = connection.execute(_PID, prepare=False).fetchall()
    return pid
