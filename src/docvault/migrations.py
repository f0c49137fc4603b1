"""Bringing the database to the form this version of docvault needs."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession


def migrate(database_url: str, revision: str = "head") -> None:
    """Apply every migration up to a revision; safe to run twice and at once."""
    config = _config()
    config.attributes["url"] = database_url
    command.upgrade(config, revision)


def head_revision() -> str:
    """Return the revision this version of docvault works with."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise RuntimeError("there are no migrations")
    return head


async def current_revision(session: AsyncSession) -> str | None:
    """Return the revision the database is at, None when it was never migrated."""
    if not await session.scalar(text("SELECT to_regclass('alembic_version') IS NOT NULL")):
        return None
    revision: str | None = await session.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_folder()).replace("%", "%%"))
    return config


def _folder() -> Path:
    """Return the migrations: inside the package when installed, else of the checkout."""
    installed = Path(__file__).parent / "_migrations"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "migrations"
