"""The PostgreSQL server of a data directory."""

from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from docvault.embedded.postgres.account import EmbeddedPostgresError, make_private
from docvault.embedded.postgres.location import choose_home, has_cluster, record_location
from docvault.embedded.postgres.programs import find_package, find_programs
from docvault.embedded.postgres.server import DATABASE, Server


class EmbeddedPostgres:
    """A PostgreSQL server that only docvault's own account (and root) can use.

    It listens only on a Unix socket in a private directory, and authenticates connections by
    account (``peer``). If docvault runs as root, the server runs as the account that owns the
    cluster: for a new cluster ``postgres``, or ``nobody`` if that does not exist.

    Args:
        data_dir: docvault's data directory; the cluster is in its folder ``postgres``.
        durable: False trades the safety of the data for speed; for tests only.
    """

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        self._data_dir = data_dir
        self._durable = durable
        self._server: Server | None = None

    @property
    def url(self) -> str:
        """The libpq URL of the database ``docvault``.

        Raises:
            EmbeddedPostgresError: the server has not been started.
        """
        return self._require_started().url(DATABASE)

    def start(self) -> str:
        """Start the server, or adopt the one that an earlier docvault left running.

        Creates the cluster and the database if they do not exist. Waits up to 60 seconds for the
        server to accept connections.

        Returns:
            The libpq URL of the database ``docvault``.

        Raises:
            EmbeddedPostgresError: the server cannot be started; nothing is left running.
        """
        try:
            if self._server is None:
                self._server = _open_server(self._data_dir, durable=self._durable)
            self._server.start()
        except (OSError, psycopg.Error) as error:
            self.stop()
            message = f"The embedded PostgreSQL server cannot be started: {error}"
            raise EmbeddedPostgresError(message) from error
        except BaseException:
            self.stop()
            raise
        return self.url

    def revive(self) -> bool:
        """Restart the server if it has died; return whether it had.

        The URL stays the same. Waits as ``start`` does.

        Raises:
            EmbeddedPostgresError: the server cannot be started; can be retried.
        """
        server = self._require_started()
        if server.is_running:
            return False
        try:
            server.start()
        except (OSError, psycopg.Error) as error:
            message = f"The embedded PostgreSQL server cannot be restarted: {error}"
            raise EmbeddedPostgresError(message) from error
        return True

    def create_database(self, name: str, *, template: str | None = None) -> str:
        """Create a database, as a copy of ``template`` if given; return its libpq URL.

        Raises:
            EmbeddedPostgresError: the server has not been started.
            psycopg.Error: PostgreSQL refused, for example because the name exists.
        """
        server = self._require_started()
        server.create_database(name, template)
        return server.url(name)

    def stop(self) -> None:
        """Stop the server if ``start`` was called, and wait until it has ended.

        Open connections are closed (fast shutdown). After 20 seconds the server is shut down
        immediately, which loses no data, but the next start has to replay the write-ahead log.
        """
        if self._server is not None:
            self._server.stop()
            self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _require_started(self) -> Server:
        if self._server is None:
            raise EmbeddedPostgresError("The embedded PostgreSQL server has not been started.")
        return self._server


def _open_server(data_dir: Path, *, durable: bool) -> Server:
    """Prepare the server of a data directory; create its cluster if there is none yet."""
    package = find_package()
    data_dir.mkdir(parents=True, exist_ok=True)
    place = (data_dir / "postgres").resolve()
    account, home = choose_home(place)
    make_private(home, account)
    server = Server(account, home, find_programs(package, account), durable=durable)
    if not has_cluster(home):
        server.initialise()
    server.check_version()
    if home != place:
        record_location(place, home)
    return server
