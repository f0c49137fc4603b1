"""What a database can do now, and how it is set up."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from docvault.db.engine import Database
from docvault.db.revisions import current_revision, head_revision, is_known
from docvault.db.tables import Base
from docvault.db.tables.fact_sets import FACT_NUMBERS

_STATE = text(
    "SELECT current_setting('transaction_read_only') = 'on' AS is_read_only, clock_timestamp(),"
    " current_setting('max_connections')::int"
    " - current_setting('superuser_reserved_connections')::int"
    # Any role may read this total, but not who opened the connections.
    " - (SELECT sum(numbackends) FROM pg_stat_database)::int"
)
_SETUP = text(
    "SELECT current_setting('data_checksums') = 'on',"
    " ARRAY(SELECT name FROM unnest(CAST(:tables AS text[])) AS name"
    "  WHERE NOT coalesce(has_table_privilege(to_regclass(name), 'SELECT')"
    "   AND has_table_privilege(to_regclass(name), 'INSERT')"
    "   AND has_table_privilege(to_regclass(name), 'UPDATE')"
    "   AND has_table_privilege(to_regclass(name), 'DELETE'), false))"
    " || ARRAY(SELECT name FROM unnest(CAST(:sequences AS text[])) AS name"
    "  WHERE NOT coalesce(has_sequence_privilege(to_regclass(name), 'USAGE'), false))"
)
_QUEUE_TABLES = (
    "procrastinate_events",
    "procrastinate_jobs",
    "procrastinate_periodic_defers",
    "procrastinate_workers",
)
_QUEUE_SEQUENCES = (
    "procrastinate_events_id_seq",
    "procrastinate_jobs_id_seq",
    "procrastinate_periodic_defers_id_seq",
)


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """Whether the database serves this version, its clock, and its free connections."""

    is_migrated: bool
    # Migrated by a later version, which suits this one (decision 0090).
    is_newer: bool
    is_read_only: bool
    now: datetime
    free_connections: int


@dataclass(frozen=True, slots=True)
class DatabaseSetup:
    """What does not change while the database runs."""

    has_checksums: bool
    # Tables and sequences that the role may not use, those that do not exist included.
    forbidden: list[str]


async def read_database_state(database: Database) -> DatabaseState:
    """Query the database; raises `DatabaseUnavailable`."""
    async with database.transaction() as session:
        is_read_only, now, free = (await session.execute(_STATE)).one()
        revision = await current_revision(session)
    is_newer = revision is not None and not is_known(revision)
    is_migrated = is_newer or revision == head_revision()
    return DatabaseState(is_migrated, is_newer, is_read_only, now, free)


async def read_database_setup(database: Database) -> DatabaseSetup:
    """Query the database; raises `DatabaseUnavailable`."""
    names = {
        "tables": [*Base.metadata.tables, *_QUEUE_TABLES],
        "sequences": [FACT_NUMBERS.name, *_QUEUE_SEQUENCES],
    }
    async with database.transaction() as session:
        has_checksums, forbidden = (await session.execute(_SETUP, names)).one()
    return DatabaseSetup(has_checksums, forbidden)
