"""What a database is able to do now."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from docvault.db.engine import Database
from docvault.db.migrate import current_revision, head_revision

_STATE = text(
    "SELECT current_setting('transaction_read_only') = 'on' AS is_read_only, clock_timestamp(),"
    " current_setting('max_connections')::int"
    " - current_setting('superuser_reserved_connections')::int"
    # A role without further rights may read this, but not whose the connections are.
    " - (SELECT sum(numbackends) FROM pg_stat_database)::int"
)


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """Whether the database serves this version, its clock, and its free connections."""

    is_migrated: bool
    is_read_only: bool
    now: datetime
    free_connections: int


async def read_database_state(database: Database) -> DatabaseState:
    """Ask the database; raises `DatabaseUnavailable`."""
    async with database.transaction() as session:
        is_read_only, now, free = (await session.execute(_STATE)).one()
        is_migrated = await current_revision(session) == head_revision()
    return DatabaseState(is_migrated, is_read_only, now, free)
