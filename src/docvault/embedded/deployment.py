"""The database of a deployment: the configured one, or the embedded one in the data directory."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from docvault.embedded.lock import DataDirInUse, DataDirLock
from docvault.embedded.postgres import EmbeddedPostgres, EmbeddedPostgresError
from docvault.settings import Settings

log = logging.getLogger(__name__)

# How often to check whether the server has died, and to retry when it does not start.
WATCH_SECONDS = 0.5


@contextmanager
def exclusive_data_dir(settings: Settings) -> Iterator[None]:
    """Lock the data directory in embedded mode; raises `DataDirInUse` if it is locked already."""
    if not settings.embedded:
        yield
        return
    with DataDirLock(settings.data_dir):
        yield


@contextmanager
def running_database(settings: Settings) -> Iterator[str]:
    """Yield the database URL; in embedded mode, run PostgreSQL until the block ends.

    A server left running by a killed docvault is adopted. A server that dies is restarted; until
    it is back, requests fail with 503.
    """
    url = settings.external_database_url
    if url is not None:
        yield url
        return
    with EmbeddedPostgres(settings.data_dir) as postgres, _restart_when_dead(postgres):
        yield postgres.url


def has_database(settings: Settings) -> bool:
    """Return whether a database is configured or, in embedded mode, was ever created."""
    return not settings.embedded or (settings.data_dir / "postgres").exists()


@contextmanager
def connect_or_start_database(settings: Settings) -> Iterator[str]:
    """Yield the database URL to a command, whether or not `docvault serve` is running."""
    try:
        with exclusive_data_dir(settings), running_database(settings) as url:
            yield url
            return
    except DataDirInUse:
        pass
    # Adopted from the running docvault, so never stopped here.
    yield EmbeddedPostgres(settings.data_dir).start()


@contextmanager
def _restart_when_dead(postgres: EmbeddedPostgres) -> Iterator[None]:
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(WATCH_SECONDS):
            try:
                if postgres.revive():
                    log.error("PostgreSQL died and was restarted")
            except EmbeddedPostgresError:
                log.exception("PostgreSQL died and cannot be restarted; see its log")

    watcher = threading.Thread(target=watch, name="postgres watch")
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
