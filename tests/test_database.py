"""Transactions: every failure of the server, the network or the pool is `DatabaseUnavailable`."""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import cast

import httpx
import psutil
import psycopg
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError

from docvault import database as module
from docvault.database import POOL_WAIT_SECONDS, Database, failure_cause, libpq_url, sqlalchemy_url
from docvault.embedded.postgres import EmbeddedPostgres
from docvault.errors import DatabaseUnavailable
from docvault.prepared_statements import PreparedStatement
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


SELECT = PreparedStatement(text("SELECT 1"))
WRONG = PreparedStatement(text("SELECT 1 / 0"))


class TestTransaction:
    """Database.transaction()."""

    async def test_it_commits(self, database: Database) -> None:
        await run(database, INSERT)
        assert await count_types(database) == 1

    async def test_an_error_rolls_back(self, database: Database) -> None:
        async def insert_and_fail() -> None:
            async with database.transaction() as session:
                await session.execute(text(INSERT))
                raise KeyError

        with pytest.raises(KeyError):
            await insert_and_fail()
        assert await count_types(database) == 0

    async def test_a_cancelled_one_rolls_back_and_gives_its_connection_back(
        self, database: Database
    ) -> None:
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
    async def test_a_bug_is_not_an_outage(
        self, database: Database, statement: str, error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            await run(database, statement)

    async def test_every_connection_uses_utc_and_has_limits(self, database: Database) -> None:
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
    """What goes back into it."""

    @pytest.mark.parametrize("way", ["transaction", "statements"])
    @pytest.mark.parametrize("statement", [SELECT, WRONG], ids=["after a bug", "after an error"])
    async def test_no_connection_goes_back_in_a_transaction(
        self, database: Database, database_url: str, way: str, statement: PreparedStatement
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

    async def test_a_statement_that_takes_too_long(self, database: Database) -> None:
        with pytest.raises(DatabaseUnavailable):
            await run(database, "SET LOCAL statement_timeout = '50ms'", "SELECT pg_sleep(5)")

    async def test_a_lock_that_is_not_given(self, database: Database) -> None:
        async with database.transaction() as session:
            await session.execute(text("LOCK TABLE customers"))
            with pytest.raises(DatabaseUnavailable):
                await run(database, "SET LOCAL lock_timeout = '50ms'", "SELECT * FROM customers")

    async def test_a_database_that_only_reads(self, database: Database) -> None:
        with pytest.raises(DatabaseUnavailable):
            await run(database, "SET TRANSACTION READ ONLY", INSERT)

    async def test_a_connection_that_is_cut_costs_one_failure(self, database: Database) -> None:
        with pytest.raises(DatabaseUnavailable):
            await run(database, "SELECT pg_terminate_backend(pg_backend_pid())", "SELECT 1")
        assert await count_types(database) == 0

    async def test_an_exhausted_pool(
        self, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
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
    async def test_a_server_that_is_not_there(self, url: str) -> None:
        database = Database(url)
        with pytest.raises(DatabaseUnavailable):
            await run(database, "SELECT 1")
        await database.close()

    async def test_a_database_that_is_not_there(self, postgres: EmbeddedPostgres) -> None:
        database = Database(postgres.url.replace("/docvault?", "/nothing?"))
        with pytest.raises(DatabaseUnavailable):
            await run(database, "SELECT 1")
        await database.close()


class TestCause:
    """failure_cause()."""

    @pytest.mark.parametrize(
        ("url", "cause"),
        [
            ("postgresql://canary@127.0.0.1:1/canary", "nothing listens at its address"),
            ("postgresql://canary@canary.invalid/canary", "its host name is unknown"),
            ("postgresql://canary@/canary?host=/canary", "there is no socket at its path"),
        ],
    )
    def test_it_tells_why_no_connection_is_made(self, url: str, cause: str) -> None:
        with pytest.raises(psycopg.OperationalError) as caught:
            psycopg.connect(url, connect_timeout=POOL_WAIT_SECONDS)
        assert failure_cause(caught.value) == cause

    def test_it_tells_that_there_is_no_such_database(self, postgres: EmbeddedPostgres) -> None:
        with pytest.raises(psycopg.OperationalError) as caught:
            psycopg.connect(postgres.url.replace("/docvault?", "/canary?"))
        assert failure_cause(caught.value) == "it knows no such user or database"

    def test_it_tells_that_the_password_is_wrong(self) -> None:
        # The server of the tests asks for none. These are the words of every version.
        words = 'FATAL:  password authentication failed for user "canary"'
        assert failure_cause(psycopg.OperationalError(words)) == "it refuses the password"

    def test_anything_else_is_not_guessed(self) -> None:
        assert failure_cause(psycopg.OperationalError("canary")) is None


def prepared(sql: str) -> PreparedStatement:
    return PreparedStatement(text(sql))


async def fetch(database: Database, sql: str, **parameters: object) -> list[tuple[object, ...]]:
    async with database.statements() as session:
        return await session.rows(prepared(sql), parameters)


PID = "SELECT pg_backend_pid()"


class TestRows:
    """Statements.rows() and Session.rows(): prepared statements, past SQLAlchemy."""

    async def test_it_returns_rows_with_json_read(self, database: Database) -> None:
        sql = "SELECT CAST(:a AS integer), '{\"b\": [1]}'::jsonb UNION ALL SELECT 2, NULL"
        assert await fetch(database, sql, a=1) == [(1, {"b": [1]}), (2, None)]

    async def test_without_a_transaction_it_commits(self, database: Database) -> None:
        assert await fetch(database, INSERT) == []
        assert await count_types(database) == 1

    async def test_in_a_transaction_it_is_part_of_it(self, database: Database) -> None:
        async def insert_and_fail() -> None:
            async with database.transaction() as session:
                await session.rows(prepared(INSERT), {})
                raise KeyError

        with pytest.raises(KeyError):
            await insert_and_fail()
        assert await count_types(database) == 0

    async def test_after_another_statement_it_needs_no_second_connection(
        self, database_url: str
    ) -> None:
        database = Database(database_url, pool_size=1)
        async with database.statements() as session:
            first = await session.orm.scalar(text(PID))
            assert await session.rows(prepared(PID), {}) == [(first,)]
        await database.close()

    async def test_a_connection_that_is_cut_costs_one_failure_however_many_wait_in_the_pool(
        self, database: Database
    ) -> None:
        async with database.statements() as one, database.statements() as two:
            pids = {await session.orm.scalar(text(PID)) for session in (one, two)}
        async with own_connection(database) as other:
            for pid in pids:
                await other.execute("SELECT pg_terminate_backend(%s)", [pid])
        with pytest.raises(DatabaseUnavailable):
            await fetch(database, PID)
        # At once, so that every connection of the pool is used.
        at_once = [fetch(database, f"{PID} FROM pg_sleep(0.2)") for _ in pids]
        assert not {row[0] for (row,) in await asyncio.gather(*at_once)} & pids

    async def test_a_statement_that_takes_too_long_keeps_its_connection(
        self, database_url: str
    ) -> None:
        database = Database(database_url, pool_size=1)
        pid = await fetch(database, PID)
        await fetch(database, "SET statement_timeout = '50ms'")
        with pytest.raises(DatabaseUnavailable):
            await fetch(database, "SELECT pg_sleep(5)")
        assert await fetch(database, PID) == pid
        await database.close()

    async def test_a_cancelled_one_gives_its_connection_back(self, database: Database) -> None:
        for _ in range(4):
            task = asyncio.create_task(fetch(database, "SELECT pg_sleep(30)"))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await count_types(database) == 0

    async def test_an_exhausted_pool(
        self, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "POOL_WAIT_SECONDS", 0.2)
        database = Database(database_url, pool_size=1)
        async with database.transaction() as session:
            await session.execute(text("SELECT 1"))
            with pytest.raises(DatabaseUnavailable):
                await fetch(database, "SELECT 1")
        assert await fetch(database, "SELECT 1") == [(1,)]
        await database.close()

    async def test_a_server_that_is_not_there(self) -> None:
        database = Database("postgresql://docvault@127.0.0.1:1/docvault")
        with pytest.raises(DatabaseUnavailable):
            await fetch(database, "SELECT 1")
        await database.close()

    async def test_a_server_that_does_not_answer_is_unavailable_and_used_again_afterwards(
        self, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "TRANSACTION_SECONDS", 0.5)
        database = Database(database_url, pool_size=1)
        ((pid,),) = await fetch(database, PID)
        backend = psutil.Process(cast("int", pid))
        backend.suspend()
        try:
            with pytest.raises(DatabaseUnavailable):
                await fetch(database, "SELECT 1")
        finally:
            backend.resume()
        assert await fetch(database, "SELECT 1") == [(1,)]
        await database.close()


@asynccontextmanager
async def own_connection(database: Database) -> AsyncIterator[psycopg.AsyncConnection]:
    url = libpq_url(database.engine.url.render_as_string(hide_password=False))
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        yield connection


class TestServerGone:
    """The server stops and comes back, seen over HTTP."""

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

    async def test_requests_are_503_while_it_is_gone_and_work_again_afterwards(
        self,
        app: FastAPI,
        admin: httpx.AsyncClient,
        resources: Resources,
        own_server: EmbeddedPostgres,
    ) -> None:
        from docvault.migrations import migrate

        migrate(own_server.url)
        database = Database(own_server.url)
        app.state.resources = dataclasses.replace(resources, database=database)
        path = "/v1/admin/document-types"
        assert (await admin.get(path)).status_code == 200
        own_server.stop()
        answers = [await admin.get(path), await admin.get("/readyz")]
        assert [a.status_code for a in answers] == [503, 503]
        assert {a.json()["code"] for a in answers} == {"database-unavailable"}
        assert all(int(a.headers["retry-after"]) > 0 for a in answers)
        assert (await admin.get("/livez")).status_code == 200
        own_server.start()
        deadline = time.monotonic() + 5
        while (await admin.get(path)).status_code != 200:
            assert time.monotonic() < deadline
        await database.close()


class TestReadiness:
    """GET /readyz."""

    async def test_a_database_that_is_not_migrated_is_not_ready(
        self,
        app: FastAPI,
        http: httpx.AsyncClient,
        resources: Resources,
        postgres: EmbeddedPostgres,
    ) -> None:
        database = Database(postgres.create_database("not_migrated"))
        app.state.resources = dataclasses.replace(resources, database=database)
        answer = await http.get("/readyz")
        await database.close()
        assert (answer.status_code, answer.json()["code"]) == (503, "database-unavailable")

    async def test_a_migrated_one_is(self, http: httpx.AsyncClient) -> None:
        assert (await http.get("/readyz")).status_code == 200

    async def test_a_locked_table_does_not_hold_up_liveness(
        self, http: httpx.AsyncClient, database: Database
    ) -> None:
        async with database.transaction() as session:
            await session.execute(text("LOCK TABLE alembic_version, customers"))
            started = time.monotonic()
            assert (await http.get("/readyz")).status_code == 503
            assert time.monotonic() - started < 3
            assert (await http.get("/livez")).status_code == 200


class TestUrls:
    """What operators may write."""

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://u:p@h:5433/d",
            "postgres://u:p@h:5433/d",
            "postgresql+psycopg://u:p@h:5433/d",
            "postgresql+asyncpg://u:p@h:5433/d",
        ],
    )
    def test_any_form_of_url_is_taken(self, url: str) -> None:
        assert sqlalchemy_url(url) == "postgresql+psycopg://u:p@h:5433/d"
        assert libpq_url(url) == "postgresql://u:p@h:5433/d"

    def test_a_password_with_special_characters_survives(self) -> None:
        url = "postgresql://u:p%40%2F%3A@h/d?sslmode=require"
        assert "p%40%2F%3A" in sqlalchemy_url(url)
        assert sqlalchemy_url(url).endswith("sslmode=require")


async def test_a_server_that_does_not_answer_is_unavailable_and_used_again_afterwards(
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
