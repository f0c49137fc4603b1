"""The revisions of the schema: those of this version, and that of a database.

Without Alembic, whose import would make every start slower; only a migration needs it.
"""

from functools import cache
from pathlib import Path

import psycopg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from docvault.db.sessions import SessionSettings


def migrations_folder() -> Path:
    """Return the folder of migrations: in the installed package, or else in the checkout."""
    installed = Path(__file__).parents[1] / "_migrations"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "migrations"


@cache
def known_revisions() -> tuple[str, ...]:
    """Return the revisions of this version, oldest first; a file is `<revision>_<name>.py`."""
    files = (migrations_folder() / "versions").glob("*_*.py")
    return tuple(sorted(file.name.partition("_")[0] for file in files))


def head_revision() -> str:
    """Return the revision that this version requires."""
    return known_revisions()[-1]


def is_known(revision: str) -> bool:
    """Return whether this version has the revision; otherwise it is of a newer one."""
    return revision in known_revisions()


async def current_revision(session: AsyncSession) -> str | None:
    """Return the revision of the database; None if it was never migrated."""
    if not await session.scalar(text("SELECT to_regclass('alembic_version') IS NOT NULL")):
        return None
    revision: str | None = await session.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def is_at_head(settings: SessionSettings) -> bool:
    """Return whether there is nothing to migrate; False if the role cannot see it."""
    with settings.connect_unlimited() as connection:
        try:
            rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        except psycopg.Error:
            return False
    return rows == [(head_revision(),)]
