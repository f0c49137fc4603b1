"""Several API processes under one `docvault serve`."""

import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import httpx
import psutil
import pytest
from tests.fixtures.server import (
    DOCVAULT,
    RunningServer,
    refuses_connections,
    running_server,
    slow_request,
    stop,
)

from docvault.server import supervisor
from docvault.server.supervisor import Supervisor

RESTART_LIMIT_SECONDS = 60
SILENCE_SECONDS = 4
# Read by every process when it starts: a shorter limit, and a signal that blocks the event loop
# permanently while the other threads of the process keep running.
SITE = f"""
import signal, time
from docvault.server import heartbeat, supervisor
heartbeat.SILENCE_SECONDS = {SILENCE_SECONDS}

def block(*_):
    while True:
        time.sleep(1)

signal.signal(signal.SIGUSR1, block)
"""
# A process that exits at once and records when it started.
COUNTED = """
import os, time
with open(os.environ["STARTS"], "a") as file:
    file.write(f"{time.monotonic()}\\n")
raise SystemExit(7)
"""


@pytest.fixture
def server(data_dir: Path) -> Iterator[RunningServer]:
    """Two API processes and a worker."""
    with running_server(data_dir, "--workers", "2") as running:
        wait_until_ready(running)
        yield running


@pytest.fixture(scope="module")
def shared_server() -> Iterator[RunningServer]:
    """The same, with a silence limit of four seconds; SIGUSR1 blocks a process."""
    with tempfile.TemporaryDirectory(prefix="docvault-blockable-") as name:
        folder = Path(name)
        # PostgreSQL's account must be able to traverse it when the tests run as root.
        folder.chmod(0o711)
        (folder / "sitecustomize.py").write_text(SITE)
        with running_server(folder / "data", "--workers", "2", PYTHONPATH=name) as running:
            yield running


@pytest.fixture
def blockable(shared_server: RunningServer) -> RunningServer:
    """Return a server that is ready, whatever the previous test did to it."""
    wait_until_ready(shared_server)
    seconds_until(lambda: len(children(shared_server, "worker")) == 1)
    return shared_server


def wait_until_ready(server: RunningServer) -> None:
    deadline = time.monotonic() + RESTART_LIMIT_SECONDS
    while time.monotonic() < deadline:
        # The address is printed before the processes respond, and a busy machine is slow.
        with suppress(httpx.TransportError):
            response = httpx.get(f"{server.url}/readyz", timeout=5)
            if len(serving(server)) == 2 and response.status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError("the processes did not become ready")


def serving(server: RunningServer) -> list[psutil.Process]:
    return children(server, "serve-process")


def children(server: RunningServer, command: str) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(server.process.pid).children():
        # A process that has just exited has no command line any more.
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if command in child.cmdline():
                found.append(child)
    return found


def seconds_until(condition: Callable[[], bool]) -> float:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < RESTART_LIMIT_SECONDS
        time.sleep(0.1)
    return time.monotonic() - began


def log_of(server: RunningServer) -> list[str]:
    log = Path(server.environment["DOCVAULT_DATA_DIR"]).with_suffix(".log").read_text()
    return [json.loads(line)["message"] for line in log.splitlines() if line.startswith("{")]


def test_killed_process_is_replaced_while_other_serves(blockable: RunningServer) -> None:
    killed = serving(blockable)[0]
    os.kill(killed.pid, signal.SIGKILL)
    responses = [httpx.get(f"{blockable.url}/livez", timeout=20).status_code for _ in range(20)]
    assert responses == [200] * 20
    wait_until_ready(blockable)
    assert killed.pid not in [process.pid for process in serving(blockable)]


def test_processes_stop_when_supervisor_is_killed(server: RunningServer) -> None:
    processes = psutil.Process(server.process.pid).children(recursive=True)
    ours = [process for process in processes if "docvault" in process.cmdline()]
    assert len(ours) == 3
    server.process.kill()
    server.process.wait()
    _, alive = psutil.wait_procs(ours, timeout=RESTART_LIMIT_SECONDS)
    assert alive == []


def test_processes_stop_together(server: RunningServer) -> None:
    processes = psutil.Process(server.process.pid).children(recursive=True)
    assert len(serving(server)) == 2
    stop(server.process)
    assert server.process.returncode == 0
    assert [process for process in processes if process.is_running()] == []


def test_new_connections_are_refused_while_request_drains(server: RunningServer) -> None:
    token = subprocess.run(
        [DOCVAULT, "token", "admin"],
        env=server.environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()[-1]
    with slow_request(server.url, token):
        server.process.send_signal(signal.SIGTERM)
        assert refuses_connections(server.url)
        assert server.process.poll() is None


@pytest.mark.req("B-020")
def test_process_with_blocked_event_loop_is_replaced_while_other_serves(
    blockable: RunningServer,
) -> None:
    stuck, logged = serving(blockable)[0], len(log_of(blockable))
    stuck.send_signal(signal.SIGUSR1)
    replaced_after = seconds_until(lambda: not stuck.is_running())
    assert replaced_after > SILENCE_SECONDS - 1.5
    responses = [httpx.get(f"{blockable.url}/livez", timeout=5).status_code for _ in range(20)]
    assert responses == [200] * 20
    wait_until_ready(blockable)
    assert stuck.pid not in [process.pid for process in serving(blockable)]
    (line,) = [one for one in log_of(blockable)[logged:] if one.startswith("process ")]
    assert line.startswith(f"process {stuck.pid} is stuck, starting another")
    assert line.endswith("did not run for 4 s")


@pytest.mark.req("B-020")
def test_worker_with_blocked_event_loop_is_replaced(blockable: RunningServer) -> None:
    (stuck,) = children(blockable, "worker")
    # While it starts, the longer limit would apply.
    seconds_until(lambda: "the worker has started" in log_of(blockable))
    begun = log_of(blockable).count("the worker has started")
    stuck.send_signal(signal.SIGUSR1)
    seconds_until(lambda: not stuck.is_running())
    seconds_until(lambda: log_of(blockable).count("the worker has started") > begun)
    (replacement,) = children(blockable, "worker")
    assert replacement.cmdline()[-2:] == ["--replaces", "stuck"]


@pytest.mark.parametrize("everyone", [False, True], ids=["supervisor", "all processes"])
@pytest.mark.req("B-020")
def test_resumed_supervisor_kills_no_process(blockable: RunningServer, everyone: bool) -> None:
    before = [process.pid for process in serving(blockable)]
    logged = len(log_of(blockable))
    family = [psutil.Process(blockable.process.pid)]
    if everyone:
        family += children(blockable, "serve-process") + children(blockable, "worker")
    for process in family:
        process.suspend()
    time.sleep(SILENCE_SECONDS * 2)
    for process in family:
        process.resume()
    time.sleep(SILENCE_SECONDS)
    assert [process.pid for process in serving(blockable)] == before
    assert [line for line in log_of(blockable)[logged:] if "is stuck" in line] == []


def test_only_serving_processes_inherit_the_listener(blockable: RunningServer) -> None:
    port = int(blockable.url.rpartition(":")[2])

    def listens(process: psutil.Process) -> bool:
        connections = process.net_connections("tcp")
        return any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in connections)

    (worker,) = children(blockable, "worker")
    assert [listens(process) for process in (*serving(blockable), worker)] == [True, True, False]


def test_restarts_of_crashing_process_are_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = tmp_path / "starts"
    (tmp_path / "docvault.py").write_text(COUNTED)
    monkeypatch.setattr(supervisor, "RESTART_SECONDS", 1.5)
    environment = {"PYTHONPATH": str(tmp_path), "STARTS": str(starts)}
    supervised = Supervisor([], [["worker"]], environment, None)
    threading.Timer(5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    supervised.run()
    times = [float(line) for line in starts.read_text().splitlines()]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps
    # On a busy machine, start-up times of Python vary.
    assert min(gaps) > 1


def test_exit_of_process_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docvault.py").write_text(COUNTED)
    monkeypatch.setattr(supervisor, "RESTART_SECONDS", 0.1)
    exited: list[int] = []

    def stop_after_the_first(pid: int) -> None:
        exited.append(pid)
        os.kill(os.getpid(), signal.SIGTERM)

    environment = {"PYTHONPATH": str(tmp_path), "STARTS": str(tmp_path / "starts")}
    Supervisor([], [["worker"]], environment, None, on_exit=stop_after_the_first).run()
    assert len(exited) == 1
    assert not psutil.pid_exists(exited[0])
