"""The database of a deployment: the configured one, or our own inside the data directory."""

from collections.abc import Iterator
from contextlib import contextmanager

from docvault.embedded.lock import DataDirInUse, DataDirLock
from docvault.embedded.postgres import EmbeddedPostgres
from docvault.settings import Settings


@contextmanager
def exclusive_data_dir(settings: Settings) -> Iterator[None]:
    """Keep other docvaults off the data directory of the embedded mode.

    Raises `DataDirInUse` when one runs there already.
    """
    if not settings.embedded:
        yield
        return
    with DataDirLock(settings.data_dir):
        yield


@contextmanager
def running_database(settings: Settings) -> Iterator[str]:
    """Give the database URL; our own PostgreSQL is started, and stopped at the end.

    One that was left behind by a kill is taken over.
    """
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    with EmbeddedPostgres(settings.data_dir) as postgres:
        yield postgres.url


@contextmanager
def borrowed_database(settings: Settings) -> Iterator[str]:
    """Give the database URL to a command, whether or not a server runs beside it."""
    try:
        with exclusive_data_dir(settings), running_database(settings) as url:
            yield url
            return
    except DataDirInUse:
        pass
    # Found running, and left running.
    yield EmbeddedPostgres(settings.data_dir).start()
