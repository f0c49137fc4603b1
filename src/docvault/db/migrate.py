"""Migrating the database to the schema of this version."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession


def migrate(database_url: str, revision: str = "head") -> None:
    """Apply the migrations up to a revision; safe to run repeatedly and concurrently."""
    config = _config()
    config.attributes["url"] = database_url
    command.upgrade(config, revision)


def head_revision() -> str:
    """Return the revision that this version requires."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise RuntimeError("there are no migrations")
    return head


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
