"""How connections are opened: settings of sessions, several hosts, schemas."""

import asyncio
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from docvault.db.engine import Database
from docvault.db.migrate import migrate
from docvault.db.sessions import SessionSettings, UnsuitableDatabase, require_sessions
from docvault.embedded.postgres import EmbeddedPostgres
from docvault.jobs.tasks import queue_app
from docvault.services.resources import Resources


def with_parameter(url: str, parameter: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{parameter}"


async def test_every_connection_has_utc_and_limits(database_url: str) -> None:
    connection = await SessionSettings(database_url).connect()
    async with connection:
        shown = [
            await (await connection.execute(f"SHOW {name}")).fetchone()
            for name in ("timezone", "statement_timeout", "lock_timeout")
        ]
    assert shown == [("UTC",), ("10s",), ("5s",)]


async def test_limits_win_over_options_of_url(database_url: str) -> None:
    url = with_parameter(database_url, "options=-c%20statement_timeout%3D0%20--work-mem%3D5MB")
    connection = await SessionSettings(url).connect()
    async with connection:
        cursor = await connection.execute(
            "SELECT current_setting('statement_timeout'), current_setting('work_mem')"
        )
        assert await cursor.fetchone() == ("10s", "5MB")


def test_migrations_have_no_statement_timeout(database_url: str) -> None:
    with SessionSettings(database_url).connect_unlimited() as connection:
        assert connection.execute("SHOW statement_timeout").fetchone() == ("0",)


async def test_refused_setting_closes_connection(database_url: str) -> None:
    url = with_parameter(database_url, "options=-c%20canary%3D1&application_name=refused")
    with pytest.raises(UnsuitableDatabase, match="options"):
        await SessionSettings(url).connect()
    with psycopg.connect(database_url) as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'refused'"
        for _ in range(100):
            if connection.execute(query).fetchone() == (0,):
                return
            connection.rollback()
            await asyncio.sleep(0.05)
    raise AssertionError("the connection is still open")


@pytest.mark.req("B-201")
async def test_next_host_is_tried(database_url: str, resources: Resources) -> None:
    # The server listens on a socket; the first host has none.
    parameters: dict[str, Any] = SessionSettings(database_url).parameters
    host, port = parameters["host"], parameters.get("port", "5432")
    url = (
        f"postgresql://{parameters['user']}@/{parameters['dbname']}"
        f"?host=/nowhere,{host}&port={port},{port}&target_session_attrs=read-write"
    )
    database = Database(url)
    async with database.transaction() as session:
        assert await session.scalar(text("SELECT count(*) FROM customers")) == 0
    await database.close()
    async with queue_app(url, resources).open_async() as app:
        assert await app.check_connection_async()


@pytest.mark.req("B-201")
async def test_options_select_schema_everywhere(
    postgres: EmbeddedPostgres, resources: Resources
) -> None:
    plain = postgres.create_database("with_schema")
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA app")
    url = with_parameter(plain, "options=-csearch_path%3Dapp")
    migrate(url)
    with psycopg.connect(plain) as connection:
        query = "SELECT DISTINCT schemaname FROM pg_tables WHERE schemaname IN ('app', 'public')"
        assert connection.execute(query).fetchall() == [("app",)]
    database = Database(url)
    async with database.transaction() as session:
        assert await session.scalar(text("SELECT count(*) FROM customers")) == 0
    await database.close()
    async with queue_app(url, resources).open_async() as app:
        assert await app.check_connection_async()
        await app.configure_task("reap", allow_unknown=False).defer_async(timestamp=0)


class TestMigrations:
    """What stops a migration, in one line."""

    def test_missing_right_is_explained(self, postgres: EmbeddedPostgres) -> None:
        plain = postgres.create_database("without_rights")
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute("CREATE ROLE without_rights")
        with pytest.raises(UnsuitableDatabase, match="may not migrate"):
            migrate(with_parameter(plain, "options=-crole%3Dwithout_rights"))

    def test_missing_schema_is_explained(self, database_url: str) -> None:
        url = with_parameter(database_url, "options=-csearch_path%3Dnowhere")
        with pytest.raises(UnsuitableDatabase, match="no schema"):
            migrate(url)

    def test_read_only_database_is_explained(self, postgres: EmbeddedPostgres) -> None:
        url = postgres.create_database("read_only_unmigrated")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "ALTER DATABASE read_only_unmigrated SET default_transaction_read_only = on"
            )
        with pytest.raises(UnsuitableDatabase, match="read-only"):
            migrate(url)


def test_server_without_pooler_keeps_sessions(database_url: str) -> None:
    require_sessions(SessionSettings(database_url))
