"""Migrations: up, down and up again, in step with the models, safe at once."""

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from secrets import token_hex

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.engine import Connection

from docvault import migrations
from docvault.database import Database, sqlalchemy_url
from docvault.embedded.postgres import EmbeddedPostgres
from docvault.migrations import current_revision, head_revision, migrate
from docvault.models import Base

_NUMBERS = count()


@pytest.fixture
def empty_url(postgres: EmbeddedPostgres) -> str:
    """A database that nobody has migrated."""
    return postgres.create_database(f"migrations_{next(_NUMBERS)}")


@pytest.fixture
def connection(empty_url: str) -> Iterator[Connection]:
    engine = create_engine(sqlalchemy_url(empty_url))
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def is_ours(name: str | None, type_: str, _: object) -> bool:
    return not (type_ == "table" and name is not None and name.startswith("procrastinate_"))


def downgrade(url: str, revision: str) -> None:
    config = migrations._config()
    config.attributes["url"] = url
    command.downgrade(config, revision)


def objects(url: str) -> list[str]:
    """Every table, index, type and function that is not PostgreSQL's own."""
    query = """
        SELECT 'r:' || relkind::text || ':' || relname FROM pg_class
            WHERE relnamespace = 'public'::regnamespace
        UNION ALL SELECT 'f:' || proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION ALL SELECT 't:' || typname FROM pg_type
            WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd')
        ORDER BY 1
    """
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute(query)]


class TestMigrate:
    """migrate()."""

    def test_an_empty_database_gets_to_the_head(self, empty_url: str) -> None:
        migrate(empty_url)
        with psycopg.connect(empty_url) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        assert row == (head_revision(),)

    def test_migrating_again_changes_nothing(self, empty_url: str) -> None:
        migrate(empty_url)
        before = objects(empty_url)
        migrate(empty_url)
        assert objects(empty_url) == before

    def test_down_leaves_nothing_and_up_again_makes_the_same(self, empty_url: str) -> None:
        migrate(empty_url)
        made = objects(empty_url)
        downgrade(empty_url, "base")
        left = [name for name in objects(empty_url) if "alembic_version" not in name]
        assert left == []
        migrate(empty_url)
        assert objects(empty_url) == made

    def test_every_revision_can_be_taken_back_one_by_one(self, empty_url: str) -> None:
        script = ScriptDirectory.from_config(migrations._config())
        revisions = [r.revision for r in script.walk_revisions()][::-1]
        for revision in revisions:
            before = objects(empty_url)
            migrate(empty_url, revision)
            after = objects(empty_url)
            downgrade(empty_url, "-1")
            assert [n for n in objects(empty_url) if "alembic" not in n] == [
                n for n in before if "alembic" not in n
            ]
            migrate(empty_url, revision)
            assert objects(empty_url) == after

    def test_there_is_one_row_of_portal_settings(self, empty_url: str) -> None:
        migrate(empty_url)
        with psycopg.connect(empty_url) as connection:
            row = connection.execute(
                "SELECT section_enabled, gate_enabled, customer_may_delete FROM portal_settings"
            ).fetchall()
        assert row == [(True, False, False)]

    @pytest.mark.req("R-007")
    def test_no_document_type_is_there_at_first(self, empty_url: str) -> None:
        migrate(empty_url)
        with psycopg.connect(empty_url) as connection:
            assert connection.execute("SELECT count(*) FROM document_types").fetchone() == (0,)

    def test_blobs_of_previews_are_marked_as_such(self, empty_url: str) -> None:
        migrate(empty_url, "0002")
        with psycopg.connect(empty_url) as connection:
            connection.execute("SET session_replication_role = replica")  # no foreign keys
            connection.execute("""
                INSERT INTO blobs (id, customer_id, key, state, size_bytes, sha256)
                SELECT gen_random_uuid(), gen_random_uuid(), key, 'stored', 1, 'x'
                FROM unnest(ARRAY['a file', 'a preview']) AS key
            """)
            connection.execute("""
                INSERT INTO previews (file_id, size, blob_id, media_type)
                SELECT gen_random_uuid(), 'small', id, 'image/png'
                FROM blobs WHERE key = 'a preview'
            """)
        migrate(empty_url)
        with psycopg.connect(empty_url) as connection:
            kinds = connection.execute("SELECT key, kind FROM blobs ORDER BY key").fetchall()
        assert kinds == [("a file", "file"), ("a preview", "preview")]

    def test_two_processes_at_once_are_safe(self, empty_url: str) -> None:
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "docvault", "migrate"],
                env=os.environ
                | {"DOCVAULT_DATABASE_URL": empty_url, "DOCVAULT_SECRET_KEY": token_hex(32)},
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        errors = [process.communicate(timeout=60)[1] for process in processes]
        assert [process.returncode for process in processes] == [0, 0], errors
        assert "r:r:customers" in objects(empty_url)

    async def test_the_current_revision_is_known(self, empty_url: str) -> None:
        database = Database(empty_url)
        async with database.transaction() as session:
            assert await current_revision(session) is None
        migrate(empty_url)
        async with database.transaction() as session:
            assert await current_revision(session) == head_revision()
        await database.close()


class TestModels:
    """The models and the migrations."""

    def test_they_agree(self, empty_url: str, connection: Connection) -> None:
        migrate(empty_url)
        context = MigrationContext.configure(
            connection,
            opts={"include_name": is_ours, "compare_type": True, "compare_server_default": True},
        )
        assert compare_metadata(context, Base.metadata) == []

    def test_there_is_one_head(self) -> None:
        assert len(ScriptDirectory.from_config(migrations._config()).get_heads()) == 1

    def test_every_revision_says_what_it_does(self) -> None:
        script = ScriptDirectory.from_config(migrations._config())
        assert all((revision.doc or "").strip() for revision in script.walk_revisions())

    def test_the_folder_is_the_checkouts(self) -> None:
        folder = migrations._folder()
        assert (folder / "env.py").is_file()
        assert folder == Path(__file__).parents[2] / "migrations"
