"""Migrating the database to the schema of this version."""

from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from docvault.db.sessions import SessionSettings, UnsuitableDatabase, require_sessions


def migrate(database_url: str, revision: str = "head") -> None:
    """Apply the migrations up to a revision; safe to run repeatedly and concurrently.

    Raises `UnsuitableDatabase`.
    """
    # A lock of the migration would stay with a shared session.
    require_sessions(SessionSettings(database_url))
    config = _config()
    config.attributes["url"] = database_url
    try:
        command.upgrade(config, revision)
    except DBAPIError as error:
        raise _explained(error) from error
    except CommandError as error:
        raise UnsuitableDatabase(
            "the database was migrated by a newer version of docvault; run that version"
        ) from error


def _explained(error: DBAPIError) -> Exception:
    """Return the error as `UnsuitableDatabase`, or as it is if it is a bug."""
    match error.orig:
        case psycopg.errors.InsufficientPrivilege():
            return UnsuitableDatabase(
                "the role of DOCVAULT_DATABASE_URL may not migrate the database or read its"
                " tables; run `docvault migrate` as their owner and grant this role its rights"
            )
        case psycopg.errors.ReadOnlySqlTransaction():
            return UnsuitableDatabase(
                "the database is read-only and not at this version; connect to the primary"
            )
        case psycopg.errors.InvalidSchemaName():
            return UnsuitableDatabase(
                "the database has no schema of the search_path; create one for docvault"
            )
    return error


class UnknownRevision(Exception):
    """The revision is of a newer version."""


def migrate_to(database_url: str, revision: str) -> None:
    """Give an unused database the schema of a revision, up or down.

    Raises `UnknownRevision`.
    """
    if not is_known(revision):
        raise UnknownRevision
    config = _config()
    config.attributes["url"] = database_url
    command.upgrade(config, "head")
    command.downgrade(config, revision)


def head_revision() -> str:
    """Return the revision that this version requires."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise RuntimeError("there are no migrations")
    return head


def is_known(revision: str) -> bool:
    """Return whether this version has the revision; otherwise it is of a newer one."""
    try:
        ScriptDirectory.from_config(_config()).get_revision(revision)
    except CommandError:
        return False
    return True


async def current_revision(session: AsyncSession) -> str | None:
    """Return the revision of the database; None if it was never migrated."""
    if not await session.scalar(text("SELECT to_regclass('alembic_version') IS NOT NULL")):
        return None
    revision: str | None = await session.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_folder()).replace("%", "%%"))
    return config


def _folder() -> Path:
    """Return the folder of migrations: in the installed package, or else in the checkout."""
    installed = Path(__file__).parents[1] / "_migrations"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "migrations"
