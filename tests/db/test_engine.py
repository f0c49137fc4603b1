"""Transactions: every failure of the server, the network or the pool is `DatabaseUnavailable`."""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import httpx
import psutil
import psycopg
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError

from docvault.db import engine as module
from docvault.db.engine import Database
from docvault.db.migrate import migrate
from docvault.db.prepared_statements import PreparedStatement
from docvault.embedded.postgres import EmbeddedPostgres
from docvault.errors import DatabaseUnavailable
from docvault.services.resources import Resources


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, pool_size=2)
    yield database
    await database.close()


async def run(database: Database, *statements: str) -> object:
    result = None
    async with database.transaction() as session:
        for statement in statements:
            result = await session.execute(text(statement))
    return result


async def count_types(database: Database) -> int:
    async with database.transaction() as session:
        found: int = (await session.execute(text("SELECT count(*) FROM customers"))).scalar_one()
        return found


INSERT = "INSERT INTO customers (id, external_id, tags) VALUES (gen_random_uuid(), 'c-1', '{}')"


@dataclass
class Number:
    n: int


@dataclass
class Pair:
    n: int
    json: object


SELECT = PreparedStatement("SELECT 1 AS n", Number)
WRONG = PreparedStatement("SELECT 1 / 0 AS n", Number)


class TestTransaction:
    """Database.transaction()."""

    async def test_transaction_commits(self, database: Database) -> None:
        await run(database, INSERT)
        assert await count_types(database) == 1

    async def test_exception_rolls_back(self, database: Database) -> None:
        async def insert_and_fail() -> None:
            async with database.transaction() as session:
                await session.execute(text(INSERT))
                raise KeyError

        with pytest.raises(KeyError):
            await insert_and_fail()
        assert await count_types(database) == 0

    async def test_cancellation_rolls_back_and_returns_connection(self, database: Database) -> None:
        async def insert_and_wait() -> None:
            await run(database, INSERT, "SELECT pg_sleep(30)")

        for _ in range(4):
            task = asyncio.create_task(insert_and_wait())
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await count_types(database) == 0

    @pytest.mark.parametrize(
        ("statement", "error"),
        [
            ("SELECT nothing", ProgrammingError),
            ("SELECT 1/0", DataError),
            ("INSERT INTO portal_settings VALUES (1, true, true, true)", IntegrityError),
        ],
    )
    async def test_programming_error_is_not_reported_as_outage(
        self, database: Database, statement: str, error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            await run(database, statement)

    async def test_every_connection_uses_utc_and_timeouts(self, database: Database) -> None:
        async with database.transaction() as session:
            shown = {
                name: (await session.execute(text(f"SHOW {name}"))).scalar_one()
                for name in ("timezone", "statement_timeout", "lock_timeout", "synchronous_commit")
            }
        assert (shown["timezone"], shown["statement_timeout"]) == ("UTC", "10s")
        assert shown["lock_timeout"] == "5s"

    async def test_errors_do_not_show_parameters(self, database: Database) -> None:
        async def insert() -> None:
            async with database.transaction() as session:
                await session.execute(text("SELECT CAST(:x AS integer)"), {"x": "canary"})

        with pytest.raises(DataError) as caught:
            await insert()
        assert "'x': 'canary'" not in str(caught.value)


class TestPool:
    """The state of connections returned to it."""

    @pytest.mark.parametrize("way", ["transaction", "autocommit"])
    @pytest.mark.parametrize("statement", [SELECT, WRONG], ids=["after a bug", "after an error"])
    async def test_connection_is_returned_outside_transaction(
        self, database: Database, database_url: str, way: str, statement: PreparedStatement[Number]
    ) -> None:
        async def use() -> None:
            async with getattr(database, way)() as work:
                await work.orm.execute(text(INSERT))
                await work.rows(statement, {})
                raise KeyError

        with pytest.raises((KeyError, psycopg.DataError)):
            await use()
        with psycopg.connect(database_url, autocommit=True) as connection:
            in_transaction = connection.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
            ).fetchone()
        assert in_transaction == (0,)


class TestUnavailable:
    """What counts as an outage."""

    async def test_statement_timeout(self, database: Database) -> None:
        with pytest.raises(DatabaseUnavailable):
            await run(database, "SET LOCAL statement_timeout = '50ms'", "SELECT pg_sleep(5)")

    async def test_lock_timeout(self, database: Database) -> None:
        async with database.transaction() as session:
            await session.execute(text("LOCK TABLE customers"))
            with pytest.raises(DatabaseUnavailable):
                await run(database, "SET LOCAL lock_timeout = '50ms'", "SELECT * FROM customers")

    async def test_read_only_database(self, database: Database) -> None:
        with pytest.raises(DatabaseUnavailable):
            await run(database, "SET TRANSACTION READ ONLY", INSERT)

    async def test_cut_connection_costs_one_failure(self, database: Database) -> None:
        with pytest.raises(DatabaseUnavailable):
            await run(database, "SELECT pg_terminate_backend(pg_backend_pid())", "SELECT 1")
        assert await count_types(database) == 0

    async def test_exhausted_pool(self, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        assert module.POOL_WAIT_SECONDS <= 5
        monkeypatch.setattr(module, "POOL_WAIT_SECONDS", 0.2)
        database = Database(database_url, pool_size=1)
        async with database.transaction() as session:
            await session.execute(text("SELECT 1"))
            with pytest.raises(DatabaseUnavailable):
                await run(database, "SELECT 1")
        assert await count_types(database) == 0
        await database.close()

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://docvault@127.0.0.1:1/docvault",
            "postgresql://docvault@/docvault?host=/nowhere",
        ],
    )
    async def test_unreachable_server(self, url: str) -> None:
        database = Database(url)
        with pytest.raises(DatabaseUnavailable):
            await run(database, "SELECT 1")
        await database.close()

    async def test_unknown_database(self, postgres: EmbeddedPostgres) -> None:
        database = Database(postgres.url.replace("/docvault?", "/nothing?"))
        with pytest.raises(DatabaseUnavailable):
            await run(database, "SELECT 1")
        await database.close()


def prepared(sql: str) -> PreparedStatement[Number]:
    return PreparedStatement(sql, Number)


async def fetch(database: Database, sql: str) -> list[Number]:
    async with database.autocommit() as session:
        return await session.rows(prepared(sql), {})


PID = "SELECT pg_backend_pid() AS n"


class TestRows:
    """AutocommitConnection.rows() and Session.rows(): statements that bypass SQLAlchemy."""

    async def test_rows_with_decoded_json_are_returned(self, database: Database) -> None:
        sql = """
            SELECT %(a)s::integer AS n, '{"b": [1]}'::jsonb AS json UNION ALL SELECT 2, NULL
        """
        async with database.autocommit() as session:
            rows = await session.rows(PreparedStatement(sql, Pair), {"a": 1})
        assert rows == [Pair(1, {"b": [1]}), Pair(2, None)]

    async def test_statement_outside_transaction_commits(self, database: Database) -> None:
        assert await fetch(database, INSERT) == []
        assert await count_types(database) == 1

    async def test_statement_joins_open_transaction(self, database: Database) -> None:
        async def insert_and_fail() -> None:
            async with database.transaction() as session:
                await session.rows(prepared(INSERT), {})
                raise KeyError

        with pytest.raises(KeyError):
            await insert_and_fail()
        assert await count_types(database) == 0

    async def test_second_statement_reuses_connection(self, database_url: str) -> None:
        database = Database(database_url, pool_size=1)
        async with database.autocommit() as session:
            first = await session.orm.scalar(text(PID))
            assert await session.rows(prepared(PID), {}) == [Number(first)]
        await database.close()

    async def test_cut_pooled_connections_cost_one_failure(
        self, database: Database, database_url: str
    ) -> None:
        async with database.autocommit() as one, database.autocommit() as two:
            pids = {await session.orm.scalar(text(PID)) for session in (one, two)}
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as other:
            for pid in pids:
                await other.execute("SELECT pg_terminate_backend(%s)", [pid])
        with pytest.raises(DatabaseUnavailable):
            await fetch(database, PID)
        # Concurrently, so that every connection of the pool is used.
        at_once = [fetch(database, f"{PID} FROM pg_sleep(0.2)") for _ in pids]
        assert not {row.n for (row,) in await asyncio.gather(*at_once)} & pids

    async def test_timed_out_statement_keeps_connection(self, database_url: str) -> None:
        database = Database(database_url, pool_size=1)
        pid = await fetch(database, PID)
        await fetch(database, "SET statement_timeout = '50ms'")
        with pytest.raises(DatabaseUnavailable):
            await fetch(database, "SELECT 1 AS n FROM pg_sleep(5)")
        assert await fetch(database, PID) == pid
        await database.close()

    async def test_cancellation_returns_connection(self, database: Database) -> None:
        for _ in range(4):
            task = asyncio.create_task(fetch(database, "SELECT 1 AS n FROM pg_sleep(30)"))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await count_types(database) == 0

    async def test_exhausted_pool(self, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "POOL_WAIT_SECONDS", 0.2)
        database = Database(database_url, pool_size=1)
        async with database.transaction() as session:
            await session.execute(text("SELECT 1"))
            with pytest.raises(DatabaseUnavailable):
                await fetch(database, "SELECT 1 AS n")
        assert await fetch(database, "SELECT 1 AS n") == [Number(1)]
        await database.close()

    async def test_unreachable_server(self) -> None:
        database = Database("postgresql://docvault@127.0.0.1:1/docvault")
        with pytest.raises(DatabaseUnavailable):
            await fetch(database, "SELECT 1 AS n")
        await database.close()

    async def test_silent_server_is_unavailable_and_recovers(
        self, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "TRANSACTION_SECONDS", 0.5)
        database = Database(database_url, pool_size=1)
        (row,) = await fetch(database, PID)
        backend = psutil.Process(row.n)
        backend.suspend()
        try:
            with pytest.raises(DatabaseUnavailable):
                await fetch(database, "SELECT 1 AS n")
        finally:
            backend.resume()
        assert await fetch(database, "SELECT 1 AS n") == [Number(1)]
        await database.close()


class TestServerOutage:
    """The server stops and recovers, observed over HTTP."""

    @pytest.fixture
    def own_server(self) -> Iterator[EmbeddedPostgres]:
        """A server that this test may stop."""
        import shutil
        import tempfile
        from pathlib import Path

        folder = Path(tempfile.mkdtemp(prefix="dv-", dir="/tmp"))
        folder.chmod(0o711)
        with EmbeddedPostgres(folder, durable=False) as server:
            yield server
        shutil.rmtree(folder)

    async def test_requests_are_503_during_outage_and_recover(
        self,
        app: FastAPI,
        admin: httpx.AsyncClient,
        resources: Resources,
        own_server: EmbeddedPostgres,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        migrate(own_server.url)
        database = Database(own_server.url)
        app.state.resources = dataclasses.replace(resources, database=database)
        path = "/v1/admin/document-types"
        assert (await admin.get(path)).status_code == 200
        own_server.stop()
        with caplog.at_level("INFO", logger="docvault.access"):
            responses = [await admin.get(path), await admin.get("/readyz")]
        causes = {record.cause for record in caplog.records}  # type: ignore[attr-defined]
        assert None not in causes
        assert [a.status_code for a in responses] == [503, 503]
        assert {a.json()["code"] for a in responses} == {"database-unavailable"}
        assert all(int(a.headers["retry-after"]) > 0 for a in responses)
        assert (await admin.get("/livez")).status_code == 200
        own_server.start()
        deadline = time.monotonic() + 5
        while (await admin.get(path)).status_code != 200:
            assert time.monotonic() < deadline
        await database.close()


class TestReadiness:
    """GET /readyz."""

    async def test_unmigrated_database_is_not_ready(
        self,
        app: FastAPI,
        http: httpx.AsyncClient,
        resources: Resources,
        postgres: EmbeddedPostgres,
    ) -> None:
        database = Database(postgres.create_database("not_migrated"))
        app.state.resources = dataclasses.replace(resources, database=database)
        response = await http.get("/readyz")
        await database.close()
        assert (response.status_code, response.json()["code"]) == (503, "database-unavailable")

    async def test_read_only_database_is_not_ready(
        self,
        app: FastAPI,
        http: httpx.AsyncClient,
        resources: Resources,
        postgres: EmbeddedPostgres,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        url = postgres.create_database("read_only")
        migrate(url)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ALTER DATABASE read_only SET default_transaction_read_only = on")
        database = Database(url)
        app.state.resources = dataclasses.replace(resources, database=database)
        caplog.set_level("INFO", logger="docvault.access")
        response = await http.get("/readyz")
        await database.close()
        assert (response.status_code, response.json()["code"]) == (503, "database-unavailable")
        assert response.json()["detail"] == "The database is read-only."
        assert caplog.records[-1].cause == "it is read-only"  # type: ignore[attr-defined]

    async def test_migrated_database_is_ready(self, http: httpx.AsyncClient) -> None:
        assert (await http.get("/readyz")).status_code == 200

    async def test_locked_table_does_not_delay_liveness(
        self, http: httpx.AsyncClient, database: Database
    ) -> None:
        async with database.transaction() as session:
            await session.execute(text("LOCK TABLE alembic_version, customers"))
            started = time.monotonic()
            assert (await http.get("/readyz")).status_code == 503
            assert time.monotonic() - started < 3
            assert (await http.get("/livez")).status_code == 200


async def test_silent_server_is_unavailable_and_recovers(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TRANSACTION_SECONDS", 0.5)
    tried = Database(database_url)
    async with tried.transaction() as session:
        pid = await session.scalar(text("SELECT pg_backend_pid()"))
    backend = psutil.Process(pid)
    backend.suspend()
    try:
        with pytest.raises(DatabaseUnavailable):
            async with tried.transaction() as session:
                await session.execute(text("SELECT 1"))
    finally:
        backend.resume()
    async with tried.transaction() as session:
        assert await session.scalar(text("SELECT 1")) == 1
    await tried.close()
