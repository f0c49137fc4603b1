"""Revisions: those of this version, and that of a database."""

import subprocess
import sys
from pathlib import Path

import psycopg
from alembic.script import ScriptDirectory

from docvault.db import migrate as migrations
from docvault.db.engine import Database
from docvault.db.migrate import migrate
from docvault.db.revisions import (
    current_revision,
    head_revision,
    is_at_head,
    is_known,
    known_revisions,
    migrations_folder,
)
from docvault.db.sessions import SessionSettings
from docvault.embedded.postgres import EmbeddedPostgres


def test_migrations_folder_is_found() -> None:
    folder = migrations_folder()
    assert (folder / "env.py").is_file()
    assert folder == Path(__file__).parents[2] / "migrations"


def test_revisions_are_those_of_alembic() -> None:
    script = ScriptDirectory.from_config(migrations._config())
    oldest_first = [revision.revision for revision in script.walk_revisions()][::-1]
    assert list(known_revisions()) == oldest_first
    assert script.get_heads() == [head_revision()]


def test_revision_of_a_newer_version_is_not_known() -> None:
    assert is_known(head_revision())
    assert not is_known("9999")


def test_server_starts_without_importing_alembic() -> None:
    program = "import sys, docvault.cli.serve; sys.exit('alembic' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


async def test_current_revision_is_that_of_the_database(postgres: EmbeddedPostgres) -> None:
    url = postgres.create_database("revisions")
    database = Database(url)
    async with database.transaction() as session:
        assert await current_revision(session) is None
    migrate(url)
    async with database.transaction() as session:
        assert await current_revision(session) == head_revision()
    await database.close()


def test_database_is_at_head_once_migrated(postgres: EmbeddedPostgres) -> None:
    url = postgres.create_database("revisions_at_head")
    settings = SessionSettings(url)
    with psycopg.connect(url, autocommit=True) as connection:
        assert not is_at_head(settings)
        migrate(url)
        assert is_at_head(settings)
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
        assert not is_at_head(settings)
