"""The server as a process of its own: start, stop, kill, and what is still there afterwards."""

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

START_SECONDS = 60
STOP_SECONDS = 35
ADDRESS = re.compile(r"docvault serves (http://\S+)")
CONTENT = "/v1/admin/customers/c-1/documents/contract/content"


def command(data_dir: Path, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """The command line and an environment in which only the data directory is set."""
    return (
        [sys.executable, "-m", "docvault", *arguments],
        {"PATH": "/usr/bin:/bin", "DOCVAULT_DATA_DIR": str(data_dir), "LC_ALL": "C.UTF-8"},
    )


def run(data_dir: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
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
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                line, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self.announced = ""
        self.address = self._wait_for_address()
        self.client = httpx.Client(base_url=self.address, trust_env=False, timeout=30)

    @property
    def log(self) -> str:
        """What it wrote to standard error."""
        return self._log.read_text()

    def staff(self) -> dict[str, str]:
        """Headers of a staff member, with a token made beside the running server."""
        token = run(self.data_dir, "token", "admin").stdout.splitlines()[-1]
        return {"Authorization": f"Bearer {token}"}

    def end(self, number: signal.Signals) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        status = self.process.wait(STOP_SECONDS)
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
        # Reading blocks until the server says something or ends; a hanging one is ended here.
        assert self.process.stdout is not None
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            line = self.process.stdout.readline()
            self.announced += line
            if found := ADDRESS.search(line):
                return found.group(1)
            if not line:
                break
        self.process.kill()
        self.process.wait()
        raise AssertionError(self.log)


def postgres_processes(data_dir: Path) -> list[int]:
    """The PostgreSQL servers of a data directory."""
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
    """Make a type and a customer and upload a document; return the headers of staff."""
    headers = server.staff()
    client = server.client
    client.post("/v1/admin/document-types", json={"name": "Contract"}, headers=headers)
    client.put("/v1/admin/customers/c-1", json={}, headers=headers)
    path = CONTENT.removesuffix("/content")
    answer = client.put(path, headers=headers, **upload_of(body, "scan"))
    assert answer.status_code == 201, answer.text
    return headers


@pytest.fixture(scope="module")
def shared_folder() -> Iterator[Path]:
    yield from a_folder()


@pytest.fixture
def folder() -> Iterator[Path]:
    yield from a_folder()


def a_folder() -> Iterator[Path]:
    """A folder every account can pass through: as root PostgreSQL runs as another one."""
    path = Path(tempfile.mkdtemp(prefix="dv-", dir="/tmp"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def server(shared_folder: Path) -> Iterator[Server]:
    """A server that tests only look at."""
    started = Server(shared_folder / "data")
    yield started
    started.close()


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[[], Server]]:
    """Start a server on one data directory, again and again; left-overs are ended."""
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

    def test_it_is_ready_when_it_says_so(self, server: Server) -> None:
        assert server.client.get("/readyz").status_code == 200
        assert server.client.get("/livez").status_code == 200

    def test_what_it_prints_into_a_pipe_holds_no_token(self, server: Server) -> None:
        assert server.process.stdout is not None
        lines = [server.announced, *(server.process.stdout.readline() for _ in range(2))]
        assert lines == [
            f"docvault serves {server.address}\n",
            f"Reference: {server.address}/docs\n",
            "For an admin token: docvault token admin\n",
        ]

    def test_at_a_terminal_it_prints_a_token_that_works(self, folder: Path) -> None:
        line, environment = command(folder / "data", "serve", "--port", "0")
        ours, terminal = os.openpty()
        process = subprocess.Popen(line, env=environment, stdout=terminal, stderr=subprocess.PIPE)
        os.close(terminal)
        announced = ""
        try:
            with suppress(OSError):  # it ended
                while "Ctrl-C" not in announced:
                    announced += os.read(ours, 65536).decode()
            found = re.search(r"serves (http://\S+)[\s\S]*ADMIN=(\S+)", announced)
            assert found, announced
            address, token = found.groups()
            headers = {"Authorization": f"Bearer {token}"}
            answer = httpx.get(f"{address}/v1/admin/customers", headers=headers, trust_env=False)
            assert answer.status_code == 200
        finally:
            process.terminate()
            process.communicate(timeout=STOP_SECONDS)
            os.close(ours)

    def test_the_reference_needs_nothing_from_elsewhere(self, server: Server) -> None:
        page = server.client.get("/docs")
        assert page.status_code == 200
        assert re.findall(r"(?:src|href)=[\"'](?:https?:)?//", page.text) == []

    def test_a_second_start_on_the_same_data_says_so(self, server: Server) -> None:
        done = run(server.data_dir, "serve", "--port", "0")
        assert (done.returncode, done.stdout) == (1, "")
        assert "already running" in done.stderr
        assert str(server.process.pid) in done.stderr
        assert "Traceback" not in done.stderr

    def test_a_port_in_use_is_named(self, shared_folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as holder:
            port = holder.getsockname()[1]
            done = run(shared_folder / "other", "serve", "--port", str(port))
        assert (done.returncode, done.stdout) == (1, "")
        assert str(port) in done.stderr
        assert "Traceback" not in done.stderr

    def test_commands_work_beside_it(self, server: Server) -> None:
        made = run(server.data_dir, "api-key", "create", "--name", "crm", "--scope", "types:read")
        assert made.returncode == 0, made.stderr
        headers = {"X-API-Key": made.stdout.splitlines()[-1]}
        answer = server.client.get("/v1/integration/document-types", headers=headers)
        assert answer.status_code == 200
        assert server.client.get("/readyz").status_code == 200

    def test_jobs_are_done_inside(self, server: Server) -> None:
        headers = store_contract(server, files.pdf())
        location = server.client.delete("/v1/admin/customers/c-1", headers=headers).headers[
            "location"
        ]
        assert becomes_true(
            lambda: server.client.get(location, headers=headers).json()["state"] == "completed"
        )
        blobs = [p for p in (server.data_dir / "blobs").rglob("*") if p.is_file()]
        # Its record in the ledger of erasures stays, and names nobody.
        assert [p for p in blobs if not {".spool", ".erasures"} & set(p.parts)] == []

    def test_a_refused_upload_is_answered_while_the_client_still_sends(
        self, server: Server
    ) -> None:
        host, port = server.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(
                b"PUT /v1/customer/documents/x HTTP/1.1\r\nHost: x\r\n"
                b"Content-Type: multipart/form-data; boundary=b\r\n"
                b"Content-Length: 100000000\r\n\r\n--b"
            )
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert b"connection: close" in answer.lower()

    def test_every_line_of_its_log_is_json(self, server: Server) -> None:
        server.client.get("/v1/admin/customers")
        assert becomes_true(lambda: "docvault.access" in server.log)
        for line in server.log.splitlines():
            assert {"time", "level", "logger", "message"} <= json.loads(line).keys()

    def test_files_are_for_their_owner_alone(self, server: Server) -> None:
        secrets = server.data_dir / "secrets"
        assert secrets.stat().st_mode & 0o077 == 0
        assert all(path.stat().st_mode & 0o077 == 0 for path in secrets.iterdir())
        assert (server.data_dir / "blobs").stat().st_mode & 0o077 == 0


class TestStopping:
    """SIGTERM, SIGINT and SIGKILL."""

    @pytest.mark.req("R-009")
    def test_an_orderly_stop_is_exit_status_0_and_a_restart_keeps_everything(
        self, start: Callable[[], Server]
    ) -> None:
        first = start()
        headers, body = store_contract(first, files.jpeg()), files.jpeg()
        assert first.end(signal.SIGTERM) == 0
        assert postgres_processes(first.data_dir) == []
        second = start()
        answer = second.client.get(CONTENT, headers=headers)
        assert (answer.status_code, answer.content) == (200, body)
        assert second.end(signal.SIGINT) == 0
        assert postgres_processes(second.data_dir) == []
        assert "Traceback" not in first.log + second.log

    def test_while_a_slow_request_ends_new_connections_are_refused(
        self, start: Callable[[], Server]
    ) -> None:
        server = start()
        token = server.staff()["Authorization"].split()[-1]
        with slow_request(server.address, token):
            server.process.send_signal(signal.SIGTERM)
            assert refuses_connections(server.address)
            assert server.process.poll() is None

    @pytest.mark.req("R-009")
    def test_a_kill_loses_nothing_and_the_next_start_takes_over(
        self, start: Callable[[], Server]
    ) -> None:
        first = start()
        body = files.png(300, 200)
        headers = store_contract(first, body)
        assert first.end(signal.SIGKILL) == -signal.SIGKILL
        second = start()
        answer = second.client.get(CONTENT, headers=headers)
        assert (answer.status_code, answer.content) == (200, body)
        assert run(second.data_dir, "verify", "--rehash").returncode == 0
        assert second.end(signal.SIGTERM) == 0
        assert becomes_true(lambda: postgres_processes(second.data_dir) == [])

    @pytest.mark.req("R-009")
    def test_a_database_that_is_killed_comes_back_and_requests_get_503_until_then(
        self, start: Callable[[], Server]
    ) -> None:
        server = start()
        headers = store_contract(server, files.pdf())
        postmaster = server.data_dir / "postgres" / "data" / "postmaster.pid"
        psutil.Process(int(postmaster.read_text().splitlines()[0])).kill()
        answers = []

        def is_back() -> bool:
            answers.append(server.client.get(CONTENT, headers=headers))
            return answers[-1].status_code == 200 and "had died" in server.log

        assert becomes_true(is_back, 60)
        assert {answer.status_code for answer in answers} <= {200, 503}
        assert answers[-1].content == files.pdf()
        # The worker inside goes on too.
        erased = server.client.delete("/v1/admin/customers/c-1", headers=headers)
        erasure = erased.headers["location"]
        assert becomes_true(
            lambda: server.client.get(erasure, headers=headers).json().get("state") == "completed",
            60,
        )
        assert server.end(signal.SIGTERM) == 0
        assert postgres_processes(server.data_dir) == []
