"""The server as a separate process: start, stop, kill, and the state afterwards."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from tests.factories import files
from tests.factories.setups import upload_of
from tests.fixtures.server import refuses_connections, slow_request

from docvault.inspection.pool import INSPECTORS
from docvault.storage.base import OTHER_FOLDERS

START_SECONDS = 60
STOP_SECONDS = 35
ADDRESS = re.compile(r"docvault listens on (http://\S+)")
CONTENT = "/v1/admin/customers/c-1/documents/contract/content"


def command(data_dir: Path, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """Return the command line and an environment that only sets the data directory."""
    return (
        [sys.executable, "-m", "docvault", *arguments],
        {"PATH": "/usr/bin:/bin", "DOCVAULT_DATA_DIR": str(data_dir), "LC_ALL": "C.UTF-8"},
    )


def run(data_dir: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command until it exits."""
    line, environment = command(data_dir, *arguments)
    return subprocess.run(
        line, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


class Server:
    """`docvault serve --port 0` on a data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._log = data_dir.parent / f"log-{time.monotonic_ns()}"
        line, environment = command(data_dir, "serve", "--port", "0")
        # Tests that run under nohup would pass on that SIGHUP is ignored.
        line = ["env", "--default-signal=HUP", *line]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                line, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self.banner = ""
        self.address = self._wait_for_address()
        self.client = httpx.Client(base_url=self.address, trust_env=False, timeout=30)

    @property
    def log(self) -> str:
        """Return its standard error."""
        return self._log.read_text()

    def staff(self) -> dict[str, str]:
        """Return headers of a staff member, with a token created next to the running server."""
        token = run(self.data_dir, "token", "admin").stdout.splitlines()[-1]
        return {"Authorization": f"Bearer {token}"}

    def end(self, number: signal.Signals) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        try:
            status = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pytest.fail(f"it does not stop; its log:\n{self.log}")
        self.close()
        return status

    def close(self) -> None:
        """Stop it if it still runs."""
        self.client.close()
        if self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _wait_for_address(self) -> str:
        # Reading blocks until the server prints something or exits; a hanging one is killed here.
        assert self.process.stdout is not None
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            line = self.process.stdout.readline()
            self.banner += line
            if found := ADDRESS.search(line):
                return found.group(1)
            if not line:
                break
        self.process.kill()
        self.process.wait()
        raise AssertionError(self.log)


def postgres_processes(data_dir: Path) -> list[int]:
    """Return the PostgreSQL servers of a data directory."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            line = " ".join(process.cmdline())
            if str(data_dir) in line and "python" not in line:
                found.append(process.pid)
    return found


def becomes_true(condition: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def store_contract(server: Server, body: bytes) -> dict[str, str]:
    """Create a type and a customer and upload a document; return the headers of staff."""
    headers = server.staff()
    client = server.client
    client.post("/v1/admin/document-types", json={"name": "Contract"}, headers=headers)
    client.put("/v1/admin/customers/c-1", json={}, headers=headers)
    path = CONTENT.removesuffix("/content")
    response = client.put(path, headers=headers, **upload_of(body, "scan"))
    assert response.status_code == 201, response.text
    return headers


@pytest.fixture(scope="module")
def metrics_directory() -> Iterator[Path]:
    yield from a_folder()


@pytest.fixture
def folder() -> Iterator[Path]:
    yield from a_folder()


def a_folder() -> Iterator[Path]:
    """A directory every account can traverse: as root, PostgreSQL runs as another account."""
    path = Path(tempfile.mkdtemp(prefix="dv-", dir="/tmp"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def server(metrics_directory: Path) -> Iterator[Server]:
    """A server that tests do not modify."""
    started = Server(metrics_directory / "data")
    yield started
    started.close()


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[[], Server]]:
    """Start servers on one data directory, one after another; remaining ones are killed."""
    made: list[Server] = []

    def start() -> Server:
        made.append(Server(folder / "data"))
        return made[-1]

    yield start
    for one in made:
        one.close()
    for pid in postgres_processes(folder):
        with suppress(psutil.Error):
            psutil.Process(pid).kill()


class TestRunning:
    """docvault serve."""

    def test_server_is_ready_when_announced(self, server: Server) -> None:
        assert server.client.get("/readyz").status_code == 200
        assert server.client.get("/livez").status_code == 200

    def test_piped_output_contains_no_token(self, server: Server) -> None:
        assert server.process.stdout is not None
        lines = [server.banner, *(server.process.stdout.readline() for _ in range(2))]
        assert lines == [
            f"docvault listens on {server.address}\n",
            f"Reference: {server.address}/docs\n",
            "For an admin token: docvault token admin\n",
        ]

    def test_terminal_output_contains_working_token(self, folder: Path) -> None:
        line, environment = command(folder / "data", "serve", "--port", "0")
        ours, terminal = os.openpty()
        process = subprocess.Popen(line, env=environment, stdout=terminal, stderr=subprocess.PIPE)
        os.close(terminal)
        banner = ""
        try:
            with suppress(OSError):  # it exited
                while "Ctrl-C" not in banner:
                    banner += os.read(ours, 65536).decode()
            found = re.search(r"listens on (http://\S+)[\s\S]*ADMIN=(\S+)", banner)
            assert found, banner
            address, token = found.groups()
            headers = {"Authorization": f"Bearer {token}"}
            response = httpx.get(f"{address}/v1/admin/customers", headers=headers, trust_env=False)
            assert response.status_code == 200
        finally:
            process.terminate()
            process.communicate(timeout=STOP_SECONDS)
            os.close(ours)

    def test_docs_ui_loads_no_external_resources(self, server: Server) -> None:
        page = server.client.get("/docs")
        assert page.status_code == 200
        assert re.findall(r"(?:src|href)=[\"'](?:https?:)?//", page.text) == []

    def test_second_start_on_same_data_is_reported(self, server: Server) -> None:
        done = run(server.data_dir, "serve", "--port", "0")
        assert (done.returncode, done.stdout) == (1, "")
        assert "already running" in done.stderr
        assert str(server.process.pid) in done.stderr
        assert "Traceback" not in done.stderr

    def test_port_in_use_is_reported(self, metrics_directory: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as holder:
            port = holder.getsockname()[1]
            done = run(metrics_directory / "other", "serve", "--port", str(port))
        assert (done.returncode, done.stdout) == (1, "")
        assert str(port) in done.stderr
        assert "Traceback" not in done.stderr

    def test_commands_work_beside_running_server(self, server: Server) -> None:
        made = run(server.data_dir, "api-key", "create", "--name", "crm", "--scope", "types:read")
        assert made.returncode == 0, made.stderr
        headers = {"X-API-Key": made.stdout.splitlines()[-1]}
        response = server.client.get("/v1/integration/document-types", headers=headers)
        assert response.status_code == 200
        assert server.client.get("/readyz").status_code == 200

    def test_jobs_run_in_embedded_worker(self, server: Server) -> None:
        headers = store_contract(server, files.pdf())
        location = server.client.delete("/v1/admin/customers/c-1", headers=headers).headers[
            "location"
        ]
        assert becomes_true(
            lambda: server.client.get(location, headers=headers).json()["state"] == "completed"
        )
        blobs = [p for p in (server.data_dir / "blobs").rglob("*") if p.is_file()]
        # The ledger of erasures and the mark of the event log remain, and identify nobody.
        assert [p for p in blobs if not {".spool", *OTHER_FOLDERS} & set(p.parts)] == []

    def test_rejected_upload_gets_response_while_sending(self, server: Server) -> None:
        host, port = server.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(
                b"PUT /v1/customer/documents/x HTTP/1.1\r\nHost: x\r\n"
                b"Content-Type: multipart/form-data; boundary=b\r\n"
                b"Content-Length: 100000000\r\n\r\n--b"
            )
            response = b""
            while chunk := connection.recv(65536):
                response += chunk
        assert response.startswith(b"HTTP/1.1 401 ")
        assert b"connection: close" in response.lower()

    def test_log_lines_are_json(self, server: Server) -> None:
        server.client.get("/v1/admin/customers")
        assert becomes_true(lambda: "docvault.access" in server.log)
        for line in server.log.splitlines():
            assert {"time", "level", "logger", "message"} <= json.loads(line).keys()

    def test_files_are_readable_only_by_owner(self, server: Server) -> None:
        secrets = server.data_dir / "secrets"
        assert secrets.stat().st_mode & 0o077 == 0
        assert all(path.stat().st_mode & 0o077 == 0 for path in secrets.iterdir())
        assert (server.data_dir / "blobs").stat().st_mode & 0o077 == 0


class TestStopping:
    """SIGTERM, SIGINT, SIGHUP and SIGKILL."""

    @pytest.mark.req("R-009")
    def test_graceful_stop_exits_with_0_and_restart_keeps_data(
        self, start: Callable[[], Server]
    ) -> None:
        first = start()
        headers, body = store_contract(first, files.jpeg()), files.jpeg()
        assert first.end(signal.SIGTERM) == 0
        assert postgres_processes(first.data_dir) == []
        second = start()
        response = second.client.get(CONTENT, headers=headers)
        assert (response.status_code, response.content) == (200, body)
        assert second.end(signal.SIGINT) == 0
        assert postgres_processes(second.data_dir) == []
        assert "Traceback" not in first.log + second.log

    @pytest.mark.req("B-102")
    def test_closed_terminal_stops_postgresql_too(self, start: Callable[[], Server]) -> None:
        server = start()
        server.process.send_signal(signal.SIGHUP)
        assert server.end(signal.SIGHUP) == 0
        assert postgres_processes(server.data_dir) == []
        assert "Traceback" not in server.log

    def test_new_connections_are_refused_while_request_drains(
        self, start: Callable[[], Server]
    ) -> None:
        server = start()
        token = server.staff()["Authorization"].split()[-1]
        with slow_request(server.address, token):
            server.process.send_signal(signal.SIGTERM)
            assert refuses_connections(server.address)
            assert server.process.poll() is None

    @pytest.mark.req("B-004")
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
    def test_inspectors_end_with_server(
        self, start: Callable[[], Server], number: signal.Signals
    ) -> None:
        server = start()
        inspectors = [
            child
            for child in psutil.Process(server.process.pid).children()
            if child.cmdline()[-1].endswith("inspection/child.py")
        ]
        assert len(inspectors) == INSPECTORS
        server.end(number)
        _, alive = psutil.wait_procs(inspectors, timeout=10)
        # Nobody reaps orphans in some containers.
        assert {child.status() for child in alive} <= {psutil.STATUS_ZOMBIE}

    @pytest.mark.req("R-009")
    def test_kill_loses_nothing_and_next_start_recovers(self, start: Callable[[], Server]) -> None:
        first = start()
        body = files.png(300, 200)
        headers = store_contract(first, body)
        assert first.end(signal.SIGKILL) == -signal.SIGKILL
        second = start()
        response = second.client.get(CONTENT, headers=headers)
        assert (response.status_code, response.content) == (200, body)
        assert run(second.data_dir, "verify", "--rehash").returncode == 0
        assert second.end(signal.SIGTERM) == 0
        assert becomes_true(lambda: postgres_processes(second.data_dir) == [])

    @pytest.mark.req("R-009")
    def test_killed_database_is_restarted_and_requests_get_503_meanwhile(
        self, start: Callable[[], Server]
    ) -> None:
        server = start()
        headers = store_contract(server, files.pdf())
        postmaster = server.data_dir / "postgres" / "data" / "postmaster.pid"
        psutil.Process(int(postmaster.read_text().splitlines()[0])).kill()
        responses = []

        def is_back() -> bool:
            responses.append(server.client.get(CONTENT, headers=headers))
            return (
                responses[-1].status_code == 200
                and "PostgreSQL died and was restarted" in server.log
            )

        assert becomes_true(is_back, 60)
        assert {response.status_code for response in responses} <= {200, 503}
        assert responses[-1].content == files.pdf()
        # The embedded worker recovers too.
        erased = server.client.delete("/v1/admin/customers/c-1", headers=headers)
        erasure = erased.headers["location"]
        assert becomes_true(
            lambda: server.client.get(erasure, headers=headers).json().get("state") == "completed",
            60,
        )
        assert server.end(signal.SIGTERM) == 0
        assert postgres_processes(server.data_dir) == []
