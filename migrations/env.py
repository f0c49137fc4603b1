"""Alembic's entry point: one connection, one transaction, one migration at a time."""

import os

from alembic import context
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Connection

from docvault.db.sessions import SessionSettings
from docvault.db.tables import Base

# Held during a migration: a second `docvault migrate` waits, then finds nothing to do.
MIGRATION_LOCK = 0x646F6376_00000000  # "docv", 0


def is_ours(name: str | None, type_: str, _parents: object) -> bool:
    """Exclude the tables of the job queue from comparisons."""
    return not (type_ == "table" and name is not None and name.startswith("procrastinate_"))


def run() -> None:
    """Migrate the database named by the configuration or else by the environment."""
    url = context.config.attributes.get("url") or os.environ["DOCVAULT_DATABASE_URL"]
    engine = create_engine("postgresql+psycopg://", creator=SessionSettings(url).connect_unlimited)
    try:
        with engine.connect() as connection:
            _migrate(connection)
    finally:
        engine.dispose()


def _migrate(connection: Connection) -> None:
    connection.execute(text("SET lock_timeout = '30s'"))
    connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": MIGRATION_LOCK})
    connection.commit()
    context.configure(connection=connection, target_metadata=Base.metadata, include_name=is_ours)
    with context.begin_transaction():
        context.run_migrations()


run()
