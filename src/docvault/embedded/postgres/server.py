"""The server of one cluster: started, adopted, stopped."""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psycopg
from psycopg import sql

from docvault.embedded.postgres.account import Account, EmbeddedPostgresError
from docvault.embedded.postgres.location import sync_directory
from docvault.embedded.postgres.postmaster import (
    SOCKET_DIRECTORY_LINE,
    Postmaster,
    find_postmaster,
    is_postmaster,
    read_lock_file,
)
from docvault.embedded.postgres.programs import MAJOR_VERSION

DATABASE: Final = "docvault"
_ROLE: Final = "docvault"
_PORT: Final = "5432"  # only the suffix of the socket's file name; nothing listens on TCP
_SOCKET: Final = f".s.PGSQL.{_PORT}"
_SOCKET_PATH_LIMIT: Final = 103  # bytes; Linux allows 107, macOS 103
# Not $TMPDIR, which may itself be long, or not accessible to the server's account.
_SHORT_DIRECTORY: Final = Path("/tmp")  # noqa: S108 - mkdtemp creates a private folder in it
_SHORT_PREFIX: Final = "docvault-postgres-"

_START_LIMIT = 60.0  # seconds
_FAST_SHUTDOWN_LIMIT: Final = 20.0  # seconds
_IMMEDIATE_SHUTDOWN_LIMIT: Final = 10.0  # seconds; the server itself kills its children after 5
_POLL_INTERVAL: Final = 0.02  # seconds
_LOG_TAIL: Final = 15  # lines

_SETTINGS: Final = {
    "listen_addresses": "",
    "port": _PORT,
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_checkpoints": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}
_NOT_DURABLE: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Server:
    """The server of one cluster, whose folder `home` exists and belongs to the account."""

    def __init__(self, account: Account, home: Path, programs: Path, *, durable: bool) -> None:
        self._account = account
        self._home = home
        self._data = home / "data"
        self._log = home / "log"
        self._programs = programs
        self._durable = durable
        self._socket_directory = home
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str) -> str:
        """Return the libpq URL of a database."""
        host = quote(str(self._socket_directory), safe="")
        # The port is named because $PGPORT would otherwise change it.
        return f"postgresql://{_ROLE}@/{quote(database, safe='')}?host={host}&port={_PORT}"

    @property
    def is_running(self) -> bool:
        """Whether the server runs, whoever started it."""
        return self._running_pid() is not None

    def start(self) -> None:
        """Start or adopt the server, and create the database if it does not exist."""
        self._reap()
        self._wait_until_ready()
        if not self._database_exists():
            self.create_database(DATABASE, None)

    def create_database(self, name: str, template: str | None) -> None:
        """Create a database, as a copy of `template` if given."""
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template is not None:
            statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def stop(self) -> None:
        """Stop the server: fast shutdown first, then immediate shutdown."""
        for number, limit in (
            (signal.SIGINT, _FAST_SHUTDOWN_LIMIT),
            (signal.SIGQUIT, _IMMEDIATE_SHUTDOWN_LIMIT),
        ):
            pid = self._running_pid()
            if pid is None:
                break
            with suppress(ProcessLookupError):  # it may have ended just now
                os.kill(pid, number)
            self._wait_until_ended(pid, limit)
        self._reap()
        self._remove_socket_directory(self._socket_directory)

    def initialise(self) -> None:
        """Create the cluster under a temporary name and rename it, so that it is never partial."""
        for leftover in self._home.glob("data.new-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        # A new name each time: an initdb that outlived its docvault may still write to its folder,
        # and deletes it on failure.
        new = self._home / f"data.new-{secrets.token_hex(4)}"
        made = self._account.run(str(self._programs / "initdb"), *self._initdb_options(new))
        if made.returncode != 0:
            raise EmbeddedPostgresError(f"initdb failed:\n{_tail(made.stdout)}")
        new.rename(self._data)
        if self._durable:
            sync_directory(self._home)
            sync_directory(self._home.parent)

    def check_version(self) -> None:
        """Raise `EmbeddedPostgresError` if the cluster belongs to another major version."""
        found = (self._data / "PG_VERSION").read_text().strip()
        if found != MAJOR_VERSION:
            raise EmbeddedPostgresError(
                f"The cluster in {self._data} was created by PostgreSQL {found}, but PostgreSQL "
                f"{MAJOR_VERSION} is installed. Dump it with version {found} and restore the dump."
            )

    def _initdb_options(self, directory: Path) -> list[str]:
        return [
            f"--pgdata={directory}",
            f"--username={_ROLE}",
            "--encoding=UTF8",
            # PostgreSQL's own locale does not depend on what the operating system has installed.
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
            "--auth-local=peer",
            "--auth-host=reject",
            "--no-instructions",
            *([] if self._durable else ["--no-sync"]),
        ]

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_LIMIT
        while time.monotonic() < deadline:
            postmaster = find_postmaster(self._data)
            if postmaster is None:
                self._ensure_launched()
            elif postmaster.ready and self._adopt(postmaster):
                return
            time.sleep(_POLL_INTERVAL)
        raise self._make_error(f"did not accept connections within {_START_LIMIT:.0f} seconds")

    def _ensure_launched(self) -> None:
        if self._process is not None:
            if self._process.poll() is None:
                return
            # The children of a server that was killed may need a moment to notice.
            if "pre-existing shared memory block" not in self._read_log():
                raise self._make_error("ended immediately")
        self._launch()

    def _launch(self) -> None:
        self._discard_stale_locks()
        self._write_access_rules()
        self._socket_directory = self._choose_socket_directory()
        if self._process is None and self._log.exists():  # not on a second attempt
            self._log.replace(self._log.with_suffix(".1"))
        output = self._account.create_file(self._log)
        try:
            self._process = self._account.spawn(self._command(), output)
        finally:
            os.close(output)

    def _command(self) -> list[str]:
        settings = {
            **_SETTINGS,
            **({} if self._durable else _NOT_DURABLE),
            "unix_socket_directories": str(self._socket_directory),
            "hba_file": str(self._home / "pg_hba.conf"),
            "ident_file": str(self._home / "pg_ident.conf"),
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [str(self._programs / "postgres"), "-D", str(self._data), *options]

    def _adopt(self, postmaster: Postmaster) -> bool:
        """Use a running server if possible; stop it if its socket cannot be reached any more."""
        if not self._account.owns_privately(postmaster.socket_directory):
            # The socket was deleted by a cleaner of temporary files, or replaced.
            self.stop()
            return False
        self._socket_directory = postmaster.socket_directory
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _database_exists(self) -> bool:
        query = "SELECT FROM pg_database WHERE datname = %s"
        with psycopg.connect(self.url("postgres")) as connection:
            return connection.execute(query, [DATABASE]).fetchone() is not None

    def _write_access_rules(self) -> None:
        # peer and not trust: wrong permissions on the folder must not expose the database. The
        # connecting account is docvault's own; when docvault runs as root, not the server's.
        names = sorted({Account.of(os.geteuid()).name, Account.of(0).name})
        rules = {
            "pg_hba.conf": f"local all {_ROLE} peer map=docvault\n",
            "pg_ident.conf": "".join(f'docvault "{name}" {_ROLE}\n' for name in names),
        }
        for name, text in rules.items():
            with os.fdopen(self._account.create_file(self._home / name), "w") as file:
                file.write(text)

    def _choose_socket_directory(self) -> Path:
        if self._socket_directory != self._home and self._account.owns_privately(
            self._socket_directory
        ):
            # After a restart, clients still use this address.
            return self._socket_directory
        # libpq treats a comma as the end of a host.
        short = len(os.fsencode(self._home / _SOCKET)) <= _SOCKET_PATH_LIMIT
        if short and "," not in str(self._home):
            return self._home
        directory = Path(tempfile.mkdtemp(prefix=_SHORT_PREFIX, dir=_SHORT_DIRECTORY))
        os.chown(directory, self._account.uid, -1)
        return directory

    def _discard_stale_locks(self) -> None:
        # PostgreSQL does this too, but considers a lock live if any process of its account has
        # that pid, which happens after the restart of a container.
        lines = read_lock_file(self._data)
        if len(lines) > SOCKET_DIRECTORY_LINE:
            left = Path(lines[SOCKET_DIRECTORY_LINE])
            if left != self._socket_directory:
                self._remove_socket_directory(left)
        for lock in (self._data / "postmaster.pid", self._socket_directory / f"{_SOCKET}.lock"):
            lock.unlink(missing_ok=True)

    def _remove_socket_directory(self, directory: Path) -> None:
        short = directory.parent == _SHORT_DIRECTORY and directory.name.startswith(_SHORT_PREFIX)
        if short and self._account.owns_privately(directory):
            shutil.rmtree(directory, ignore_errors=True)

    def _running_pid(self) -> int | None:
        if self._process is not None and self._process.poll() is None:
            return self._process.pid
        postmaster = find_postmaster(self._data)
        return None if postmaster is None else postmaster.pid

    def _wait_until_ended(self, pid: int, limit: float) -> None:
        deadline = time.monotonic() + limit
        # The lock file disappears shortly before the process does.
        while self._running_pid() == pid or is_postmaster(pid, self._data):
            if time.monotonic() >= deadline:
                return
            time.sleep(_POLL_INTERVAL)

    def _reap(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            self._process = None

    def _make_error(self, reason: str) -> EmbeddedPostgresError:
        return EmbeddedPostgresError(
            f"The embedded PostgreSQL server {reason}. "
            f"The last lines of its log {self._log}:\n{_tail(self._read_log())}"
        )

    def _read_log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""


def _tail(text: str) -> str:
    return "\n".join(text.splitlines()[-_LOG_TAIL:])
