"""The database of a deployment: the configured one, or our own inside the data directory."""

from collections.abc import Iterator
from contextlib import contextmanager

from docvault.embedded.lock import DataDirInUse, DataDirLock
from docvault.embedded.postgres import EmbeddedPostgres
from docvault.settings import Settings


@contextmanager
def owned_database(settings: Settings) -> Iterator[str]:
    """Give the database URL to the one server process of a data directory.

    Starts our own PostgreSQL, or takes over one left behind by a kill, and stops it at the
    end. Raises `DataDirInUse` when another docvault runs there.
    """
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    with DataDirLock(settings.data_dir), EmbeddedPostgres(settings.data_dir) as postgres:
        yield postgres.url


@contextmanager
def borrowed_database(settings: Settings) -> Iterator[str]:
    """Give the database URL to a command, whether or not a server runs beside it."""
    try:
        with owned_database(settings) as url:
            yield url
            return
    except DataDirInUse:
        pass
    # Found running, and left running.
    yield EmbeddedPostgres(settings.data_dir).start()
