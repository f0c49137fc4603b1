"""In a browser, uploads with the TypeScript package report progress, also to another origin."""

import json
import os
import queue
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from tests.fixtures.server import DOCVAULT, RunningServer, running_server
from tests.fixtures.workshop import Workshop

PROGRAM = Path(__file__).parent / "clients" / "openapi-fetch" / "progress.ts"
PAGE = b'<!doctype html><script type="module" src="/program.js"></script>'
LETTER_BYTES = 3_000_000
RESULT_SECONDS = 90

pytestmark = pytest.mark.system


class FrontEnd:
    """A web server with a page that runs a program and sends its results."""

    def __init__(self, program: bytes) -> None:
        self.results: queue.Queue[Any] = queue.Queue()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                is_program = self.path == "/program.js"
                self.send_response(200)
                self.send_header("Content-Type", "text/javascript" if is_program else "text/html")
                self.end_headers()
                self.wfile.write(program if is_program else PAGE)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(204)
                self.end_headers()
                outer.results.put(json.loads(body))

            def log_message(self, *_: object) -> None:
                """Do not log."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def front_end(workshop: Workshop, typescript_package: Path) -> Iterator[FrontEnd]:
    assert typescript_package.is_dir()
    folder = workshop.folder / "progress"
    folder.mkdir()
    shutil.copy(PROGRAM, folder)
    esbuild = workshop.modules / "esbuild" / "bin" / "esbuild"
    bundle = folder / "progress.js"
    source = folder / PROGRAM.name
    workshop.node(esbuild, source, "--bundle", "--format=esm", f"--outfile={bundle}")
    end = FrontEnd(bundle.read_bytes())
    thread = threading.Thread(target=end.server.serve_forever)
    thread.start()
    yield end
    end.server.shutdown()
    thread.join()
    end.server.server_close()


@pytest.fixture
def server(data_dir: Path) -> Iterator[RunningServer]:
    with running_server(data_dir) as running:
        yield running


def printed(server: RunningServer, *arguments: str) -> str:
    """Return the last line that a command prints."""
    output = subprocess.check_output([DOCVAULT, *arguments], env=server.environment, text=True)
    return output.splitlines()[-1]


def visit(url: str, folder: Path, end: FrontEnd) -> Any:
    """Open a page in Chromium; return what it sends."""
    chromium = shutil.which("chromium")
    assert chromium, "make test-system needs chromium"
    process = subprocess.Popen(
        # Its sandbox does not work as root, which tests in a container use.
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         f"--user-data-dir={folder}", "--remote-debugging-port=0", url],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, start_new_session=True,
    )  # fmt: skip
    try:
        return end.results.get(timeout=RESULT_SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.req("B-144")
def test_upload_in_browser_reports_progress_and_problem_and_can_be_cancelled(
    server: RunningServer, front_end: FrontEnd, tmp_path: Path
) -> None:
    headers = {"Authorization": f"Bearer {printed(server, 'token', 'admin')}"}
    with httpx.Client(base_url=server.url, headers=headers) as admin:
        letter = {"name": "Letter", "key": "letter", "accepted_media_types": ["text/plain"]}
        assert admin.post("/v1/admin/document-types", json=letter).status_code == 201
        assert admin.put("/v1/admin/customers/c-1", json={}).status_code == 201
    given = {"docvault": server.url, "token": printed(server, "token", "customer", "c-1")}
    results = visit(f"{front_end.url}/?{urlencode(given)}", tmp_path, front_end)

    assert results["letter"]["stored"] == LETTER_BYTES
    reports = results["letter"]["reports"]
    sent = [report["sentBytes"] for report in reports]
    assert sent == sorted(sent)
    assert sent[-1] == reports[-1]["totalBytes"] > LETTER_BYTES
    assert results["page"]["code"] == "unsupported-media-type"
    assert results["cancelled"] == "AbortError"
