"""A browser never executes anything in a stored file (SECURITY T25).

Browsers cannot send the Authorization header when they follow a link, so a small proxy, like one of
a front end, adds the header and passes the responses on unchanged.
"""

import os
import shutil
import signal
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from tests.factories import files
from tests.factories.locked_files import pdf_invoice
from tests.fixtures.server import DOCVAULT, RunningServer, running_server
from tests.torture.figures import Figure, Size

from docvault.domain.media_types import KNOWN_MEDIA_TYPES

pytestmark = pytest.mark.system

PAGE_SECONDS = 15
SCRIPT = b"<html><script>new Image().src='/ran?by=html'</script></html>"
STATEMENT = b"new Image().src='/ran?by=script';"
SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" onload="new Image().src=\'/ran?by=svg\'">'
    b"<script>new Image().src='/ran?by=svg'</script></svg>"
)
XHTML = (
    b'<?xml version="1.0"?><a><script xmlns="http://www.w3.org/1999/xhtml">' + STATEMENT
    + b"</script></a>"
)  # fmt: skip
DOCUMENT_PATH = "/v1/admin/customers/c-1/documents/anything"
# Polyglots that docvault stores.
STORED = {
    "page.html.pdf": files.pdf().replace(b"%PDF-1.7", b"%PDF-1.7 " + SCRIPT, 1),
    "page.pdf": files.pdf().replace(b"%%EOF", SCRIPT + b"\n%%EOF"),
    "invoice.pdf": pdf_invoice(),
    "action.pdf": files.pdf_with_javascript(),
    "page.png": files.png() + SCRIPT,
    "script.gif": b"GIF89a/*" + files.gif()[8:] + b"*/=1;" + STATEMENT,
    "page.jpg": files.jpeg()[:2] + b"\xff\xfe" + struct.pack(">H", len(SCRIPT) + 2) + SCRIPT
    + files.jpeg()[2:],
    "page.avif": files.avif() + struct.pack(">L4s", len(SCRIPT) + 8, b"free") + SCRIPT,
    "page.jpg.avif": files.avif()[:12] + b"<a>\n" + files.avif()[16:] + SCRIPT,
    "script.jpg": files.jpeg()[:20] + b"/*" + STATEMENT + files.jpeg()[20:],
    "other.jpg": files.png() + SCRIPT,
    "page.bmp": files.bmp() + SCRIPT,
    "script.xml": XHTML,
    "page.eml": b"MIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n" + SCRIPT,
    "page.rtf": b"{\\rtf1 " + SCRIPT + b"}",
    "wide.txt": ("\ufeff" + STATEMENT.decode()).encode("utf-16-le"),
    "script.txt": STATEMENT,
    "page.csv": b"a,b\n" + SCRIPT,
}  # fmt: skip
# Polyglots that it rejects.
REFUSED = {
    "page.html": files.pdf(),
    "page.txt": SCRIPT,
    "page.xml": SCRIPT,
    "wide.txt": ("\ufeff" + SCRIPT.decode()).encode("utf-16-le"),
    "drawing.txt": SVG,
    "drawing.svg": SVG,
    "drawing.xml": b'<?xml version="1.0"?>' + b"<!-- a -->" * 200 + SVG,
}
DISPOSITIONS = ("inline", "attachment")


class FrontEnd:
    """A web server; `ran` has the requests of pages that executed something."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self.ran: list[str] = []
        self.served: list[str] = []
        self.pages: dict[str, tuple[str, bytes]] = {}
        self._upstream = httpx.Client(base_url=url, headers=headers)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.response(self)

            def log_message(self, *_: object) -> None:
                """Do not log."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        """Return the requests and reset them."""
        self.server.server_close()
        self._upstream.close()

    def response(self, handler: BaseHTTPRequestHandler) -> None:
        """Serve a page of the test or a stored file, or record that something was executed."""
        path = handler.path
        if path.startswith("/ran"):
            self.ran.append(path)
        status, headers, body = 404, {}, b""
        if path in self.pages:
            media_type, body = self.pages[path]
            status, headers = 200, {"Content-Type": media_type}
        elif path.startswith("/v1/"):
            passed = self._upstream.get(path)
            self.served.append(path)
            status, headers, body = passed.status_code, dict(passed.headers), passed.content
        handler.send_response(status)
        for name, value in (headers | {"content-length": str(len(body))}).items():
            if name not in {"date", "connection", "transfer-encoding"}:
                handler.send_header(name, value)
        handler.end_headers()
        with suppress(ConnectionError):
            handler.wfile.write(body)


@pytest.fixture
def server(data_dir: Path) -> Iterator[RunningServer]:
    with running_server(data_dir) as running:
        yield running


@pytest.fixture
def front_end(server: RunningServer) -> Iterator[FrontEnd]:
    """A front end, with all files stored as one document."""
    command = [DOCVAULT, "token", "admin"]
    output = subprocess.check_output(command, env=server.environment, text=True)
    headers = {"Authorization": f"Bearer {output.splitlines()[-1]}"}
    types = sorted(KNOWN_MEDIA_TYPES)
    with httpx.Client(base_url=server.url, headers=headers) as admin:
        document_type = {
            "name": "Anything",
            "accepted_media_types": types,
            "max_files": len(STORED),
        }
        assert admin.post("/v1/admin/document-types", json=document_type).status_code == 201
        assert admin.put("/v1/admin/customers/c-1", json={}).status_code == 201
        for item in REFUSED.items():
            response = admin.put(DOCUMENT_PATH, files={"file": item})
            assert response.status_code == 415, (item, response.text)
        response = admin.put(DOCUMENT_PATH, files=[("file", item) for item in STORED.items()])
        assert response.status_code == 201, response.text
    end = FrontEnd(server.url, headers)
    with serving(end):
        yield end


@contextmanager
def serving(end: FrontEnd) -> Iterator[None]:
    thread = threading.Thread(target=end.server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        end.server.shutdown()
        thread.join()
        end.close()


def visit(url: str, folder: Path) -> None:
    """Open an address in Chromium, wait for its requests, and close it."""
    chromium = shutil.which("chromium")
    assert chromium, "make test-system needs chromium"
    process = subprocess.Popen(
        # Its sandbox does not work as root, which tests in a container use.
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         f"--user-data-dir={folder}", "--virtual-time-budget=4000", "--dump-dom", url],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, start_new_session=True,
    )  # fmt: skip
    try:
        process.wait(PAGE_SECONDS)
    except subprocess.TimeoutExpired:
        pass  # A download is not a page whose loading could be awaited.
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def embedding(addresses: list[str]) -> bytes:
    """Return a page that embeds each address in every possible way."""
    ways = (
        '<iframe src="{}"></iframe><object data="{}"></object><embed src="{}"><img src="{}">'
        '<script src="{}"></script><link rel="stylesheet" href="{}">'
    )
    body = "".join(ways.replace("{}", address.replace("&", "&amp;")) for address in addresses)
    return f"<!doctype html><body>{body}</body>".encode()


@pytest.mark.guarantee(
    "T25",
    promise="A browser executes nothing in a stored file.",
    tried="PDFs, images and texts that are also pages, drawings or scripts are stored and opened "
    "in headless Chromium through a front end that passes responses on unchanged: embedded in "
    "every way HTML offers, inline, as an attachment and as a preview; and each opened directly. "
    "The same bytes served as a page do execute, which shows that the test would detect it.",
    not_shown="Other browsers.",
)
def test_stored_file_executes_nothing_in_browser(
    front_end: FrontEnd, tmp_path: Path, size: Size, figures: dict[str, Figure]
) -> None:
    front_end.pages["/control"] = ("text/html", SCRIPT)
    front_end.pages["/control.svg"] = ("image/svg+xml", SVG)
    front_end.pages["/control.js"] = ("text/javascript", STATEMENT)
    page = embedding(["/control", "/control.svg", "/control.js"])
    front_end.pages["/controls"] = ("text/html", page)
    visit(f"{front_end.url}/controls", tmp_path)
    assert {"/ran?by=html", "/ran?by=svg", "/ran?by=script"} <= set(front_end.ran)

    front_end.ran.clear()
    addresses = [
        f"{DOCUMENT_PATH}/content?file={number}&disposition={disposition}"
        for number in range(1, len(STORED) + 1)
        for disposition in DISPOSITIONS
    ] + [
        f"{DOCUMENT_PATH}/preview?file={number}&size=small" for number in range(1, len(STORED) + 1)
    ]
    front_end.pages["/all"] = ("text/html", embedding(addresses))
    visit(f"{front_end.url}/all", tmp_path)
    assert set(front_end.served) == set(addresses)
    alone = [address for address in addresses if "disposition=inline" in address]
    alone = alone[: size.of(ci=1, full=len(alone))]
    for address in alone:
        visit(f"{front_end.url}{address}", tmp_path)
    assert front_end.ran == []
    figures["stored files"] = len(STORED)
    figures["addresses embedded in six ways"] = len(addresses)
    figures["addresses opened directly"] = len(alone)
    figures["scripts that ran"] = 0
