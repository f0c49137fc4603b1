"""Several API processes under one `docvault serve`."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
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

RESTART_LIMIT_SECONDS = 60


@pytest.fixture
def server(data_dir: Path) -> Iterator[RunningServer]:
    """Two API processes and a worker."""
    with running_server(data_dir, "--workers", "2") as running:
        wait_until_ready(running)
        yield running


def wait_until_ready(server: RunningServer) -> None:
    deadline = time.monotonic() + RESTART_LIMIT_SECONDS
    while time.monotonic() < deadline:
        # The address is announced before the processes answer, and a busy machine is slow.
        with suppress(httpx.TransportError):
            answer = httpx.get(f"{server.url}/readyz", timeout=5)
            if len(serving(server)) == 2 and answer.status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError("the processes did not get ready")


def serving(server: RunningServer) -> list[psutil.Process]:
    children = psutil.Process(server.process.pid).children()
    return [child for child in children if "serve-process" in child.cmdline()]


def test_a_killed_process_is_replaced_while_the_other_serves(server: RunningServer) -> None:
    killed = serving(server)[0]
    os.kill(killed.pid, signal.SIGKILL)
    answers = [httpx.get(f"{server.url}/livez", timeout=20).status_code for _ in range(20)]
    assert answers == [200] * 20
    wait_until_ready(server)
    assert killed.pid not in [process.pid for process in serving(server)]


def test_the_processes_stop_when_their_supervisor_is_killed(server: RunningServer) -> None:
    everyone = psutil.Process(server.process.pid).children(recursive=True)
    ours = [process for process in everyone if "docvault" in process.cmdline()]
    assert len(ours) == 3
    server.process.kill()
    server.process.wait()
    _, alive = psutil.wait_procs(ours, timeout=RESTART_LIMIT_SECONDS)
    assert alive == []


def test_all_processes_stop_together(server: RunningServer) -> None:
    everyone = psutil.Process(server.process.pid).children(recursive=True)
    assert len(serving(server)) == 2
    stop(server.process)
    assert server.process.returncode == 0
    assert [process for process in everyone if process.is_running()] == []


def test_while_a_slow_request_ends_new_connections_are_refused(server: RunningServer) -> None:
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
