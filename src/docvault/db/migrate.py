"""Migrating the database to the schema of this version."""

from typing import TYPE_CHECKING

import psycopg
from sqlalchemy.exc import DBAPIError

from docvault.db.revisions import is_at_head, is_known, migrations_folder
from docvault.db.sessions import SessionSettings, UnsuitableDatabase, require_sessions

if TYPE_CHECKING:
    from alembic.config import Config


def migrate(database_url: str, revision: str = "head") -> None:
    """Apply the migrations up to a revision; safe to run repeatedly and concurrently.

    Raises `UnsuitableDatabase`.
    """
    # A lock of the migration would stay with a shared session.
    settings = SessionSettings(database_url)
    require_sessions(settings)
    if revision == "head" and is_at_head(settings):
        return
    # Slow to import, and most starts have nothing to migrate.
    from alembic import command  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

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
    from alembic import command  # noqa: PLC0415 - see `migrate`

    config = _config()
    config.attributes["url"] = database_url
    command.upgrade(config, "head")
    command.downgrade(config, revision)


def _config() -> "Config":
    from alembic.config import Config  # noqa: PLC0415 - see `migrate`

    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    return config
