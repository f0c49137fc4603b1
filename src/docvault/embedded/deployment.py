"""The database of a deployment: the configured one, or our own inside the data directory."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from docvault.embedded.lock import DataDirInUse, DataDirLock
from docvault.embedded.postgres import EmbeddedPostgres, EmbeddedPostgresError
from docvault.settings import Settings

log = logging.getLogger(__name__)

# How often a server that died is noticed, and tried again when it does not start.
WATCH_SECONDS = 0.5


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

    One that was left behind by a kill is taken over. One that dies meanwhile is started again;
    until it answers, so does every request: with 503.
    """
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    with EmbeddedPostgres(settings.data_dir) as postgres, _kept_running(postgres):
        yield postgres.url


def has_database(settings: Settings) -> bool:
    """Whether there is a database to work on; of the embedded mode, whether one was ever made."""
    return not settings.embedded or (settings.data_dir / "postgres").exists()


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


@contextmanager
def _kept_running(postgres: EmbeddedPostgres) -> Iterator[None]:
    """Start a server that dies again, until the block ends."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(WATCH_SECONDS):
            try:
                if postgres.revive():
                    log.error("PostgreSQL had died and was started again")
            except EmbeddedPostgresError:
                log.exception("PostgreSQL died and does not start; its log says why")

    watcher = threading.Thread(target=watch, name="postgres watch")
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
