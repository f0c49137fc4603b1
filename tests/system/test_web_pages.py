"""Pages of another origin call docvault from headless Chromium (SECURITY T68).

Two web servers have pages, and only the origin of one is listed. A page runs its steps, in
JavaScript, and reports what it saw to its own server.
"""

import base64
import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.factories import files
from tests.fixtures.server import DOCVAULT, running_server

pytestmark = pytest.mark.system

PAGE_SECONDS = 120
TYPES = ["image/jpeg", "text/csv"]
PAGE = """<!doctype html><meta charset="utf-8"><body><script>
const given = %s, seen = {};
const path = `${given.base}/v1/customer/documents/photo`;
const headers = {Authorization: `Bearer ${given.token}`};
const note = async (name, step) => {
  try { seen[name] = await step(); } catch (error) { seen[name] = `failed: ${error.name}`; }
};
const show = (tag, url) => new Promise(resolve => {
  const element = document.createElement(tag);
  element.onload = () => resolve(element);
  element.onerror = () => resolve(null);
  element.src = url;
  document.body.append(element);
});
const formOf = (content, name) => {
  const form = new FormData();
  form.append('file', new File([content], name));
  return form;
};
const xhr = (method, url, body, extra = {}) => new Promise((resolve, reject) => {
  const request = new XMLHttpRequest(), progress = [];
  request.upload.onprogress = event => progress.push(event.loaded / event.total);
  request.onload = () => resolve({status: request.status, progress});
  request.onerror = () => reject(new TypeError());
  request.open(method, url);
  Object.entries(extra).forEach(([name, value]) => request.setRequestHeader(name, value));
  request.send(body);
});
const post = async (url, body) => (await fetch(url, {
  method: 'POST', headers: {...headers, 'Content-Type': 'application/json'},
  body: JSON.stringify(body)})).json();
const contentUrl = async purpose => (await post(`${path}/content-urls`, {purpose})).url;
const steps = async () => {%s};
steps().finally(() => fetch('/seen', {method: 'POST', body: JSON.stringify(seen)}));
</script>"""

# What the page of a portal does.
PORTAL_STEPS = """
  await note('wrong file', async () => {
    const response = await fetch(path, {method: 'PUT', headers, body: formOf('\\0\\1', 'a.jpg')});
    const problem = await response.json();
    return [response.status, problem.code, problem.detail.length > 10,
            response.headers.get('X-Request-Id') === problem.instance.replace('urn:uuid:', '')];
  });
  await note('missing token', async () => (await (await fetch(path)).json()).code);
  await note('upload', async () => {
    const rows = formOf('a,b\\n'.repeat(1500000), 'rows.csv');
    const {status, progress} = await xhr('PUT', path, rows, headers);
    return [status, progress.length > 0, progress.at(-1)];
  });
  await note('picture', async () => {
    const bytes = Uint8Array.from(atob(given.picture), letter => letter.charCodeAt(0));
    const response = await fetch(path, {
      method: 'PUT', headers: {...headers, 'Idempotency-Key': 'one', 'If-Match': '*'},
      body: formOf(bytes, 'a.jpg')});
    return [response.status, Boolean(response.headers.get('ETag'))];
  });
  await note('direct upload', async () => {
    const bytes = new TextEncoder().encode('a,b');
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
    const sha256 = [...digest].map(byte => byte.toString(16).padStart(2, '0')).join('');
    const session = await post(`${given.base}/v1/customer/documents/other/uploads`,
      {filename: 'a.csv', size_bytes: 3, sha256});
    const {status} = await xhr('PUT', session.url, bytes);
    const completed = await fetch(
      `${given.base}/v1/customer/documents/other/uploads/${session.id}/complete`,
      {method: 'POST', headers});
    return [status, completed.status];
  });
  await note('not modified', async () => {
    const list = `${given.base}/v1/customer/documents`;
    const tag = (await fetch(list, {headers})).headers.get('ETag');
    const again = await fetch(list, {headers: {...headers, 'If-None-Match': tag}});
    return [again.status, again.headers.get('RateLimit') !== null];
  });
  await note('img', async () => (await show('img', await contentUrl('inline'))).naturalWidth);
  await note('preview', async () =>
    (await show('img', await contentUrl('preview'))).naturalWidth > 0);
  await note('iframe', async () => Boolean(await show('iframe', await contentUrl('inline'))));
  await note('bytes', async () =>
    (await (await fetch(await contentUrl('attachment'))).arrayBuffer()).byteLength);
"""
# What a page of an origin that is not listed tries, with a token and a URL that it got hold of.
FOREIGN_STEPS = """
  await note('list', async () => (await fetch(`${path}`, {headers})).status);
  await note('problem', async () => (await fetch(path)).status);
  await note('upload', async () => (await xhr('PUT', path, formOf('a', 'a.csv'), headers)).status);
  await note('bytes', async () => (await fetch(given.url)).status);
  await note('pixels', async () => {
    const picture = await show('img', given.url);
    const context = document.createElement('canvas').getContext('2d');
    context.drawImage(picture, 0, 0);
    return context.getImageData(0, 0, 1, 1).data.length;
  });
  await note('cross-origin picture', async () => {
    const picture = document.createElement('img');
    picture.crossOrigin = 'anonymous';
    picture.src = given.url;
    await picture.decode();
    return picture.naturalWidth;
  });
  await note('iframe', async () => {
    const frame = await show('iframe', given.url);
    return frame.contentDocument === null ? 'closed' : frame.contentDocument.body.innerText;
  });
"""


class PageServer:
    """A web server with one page, and what that page reported."""

    def __init__(self) -> None:
        self.page = b""
        self.seen: dict[str, Any] = {}
        self.reported = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.reply(outer.page, "text/html")

            def do_POST(self) -> None:
                outer.seen = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.reply(b"", "text/plain")
                outer.reported.set()

            def reply(self, body: bytes, media_type: str) -> None:
                self.send_response(200)
                self.send_header("Content-Type", media_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Do not log."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self.server.server_port}"

    @contextmanager
    def running(self) -> Iterator["PageServer"]:
        thread = threading.Thread(target=self.server.serve_forever)
        thread.start()
        try:
            yield self
        finally:
            self.server.shutdown()
            thread.join()
            self.server.server_close()

    def visit(self, steps: str, given: Mapping[str, Any], folder: Path) -> tuple[Any, str]:
        """Open the page in Chromium; return what it reported, and the console."""
        self.page = (PAGE % (json.dumps(given), steps)).encode()
        chromium = shutil.which("chromium")
        assert chromium, "make test-system needs chromium"
        log = folder / "console.log"
        with log.open("wb") as console:
            process = subprocess.Popen(
                # Its sandbox does not work as root, which tests in a container use.
                [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
                 "--disable-background-networking", "--disable-component-update",
                 "--disable-sync", "--enable-logging=stderr", f"--user-data-dir={folder}",
                 "--remote-debugging-port=0", f"{self.origin}/"],
                stdout=subprocess.DEVNULL, stderr=console, cwd=folder, start_new_session=True,
            )  # fmt: skip
            try:
                assert self.reported.wait(PAGE_SECONDS), log.read_text(errors="replace")[-2000:]
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return self.seen, log.read_text(errors="replace")


@dataclass(frozen=True, slots=True)
class Deployment:
    """A running docvault, the page server whose origin it lists, and its customer."""

    url: str
    portal: PageServer
    customer: httpx.Client

    @property
    def token(self) -> str:
        return str(self.customer.headers["authorization"]).removeprefix("Bearer ")


@pytest.fixture
def deployment(data_dir: Path) -> Iterator[Deployment]:
    portal = PageServer()
    origins = {"DOCVAULT_CORS_ORIGINS": f"https://portal.example.org,{portal.origin}"}
    with portal.running(), running_server(data_dir, **origins) as server:

        def client(*caller: str) -> httpx.Client:
            output = subprocess.check_output(
                [DOCVAULT, "token", *caller], env=server.environment, text=True
            )
            headers = {"Authorization": f"Bearer {output.splitlines()[-1]}"}
            return httpx.Client(base_url=server.url, headers=headers, timeout=60)

        with client("admin") as admin, client("customer", "c-1") as customer:
            for name in ("Photo", "Other"):
                data = {"name": name, "accepted_media_types": TYPES}
                assert admin.post("/v1/admin/document-types", json=data).status_code == 201
            assert admin.put("/v1/admin/customers/c-1", json={}).status_code == 201
            yield Deployment(server.url, portal, customer)


@pytest.mark.req("B-150", "B-154")
def test_page_of_a_listed_origin_does_all_that_a_portal_does(
    deployment: Deployment, tmp_path: Path
) -> None:
    given = {
        "base": deployment.url,
        "token": deployment.token,
        "picture": base64.b64encode(files.jpeg()).decode(),
    }
    seen, console = deployment.portal.visit(PORTAL_STEPS, given, tmp_path)
    assert seen == {
        "wrong file": [415, "unsupported-media-type", True, True],
        "missing token": "authentication-required",
        "upload": [201, True, 1],
        "picture": [200, True],
        "direct upload": [204, 201],
        "not modified": [304, True],
        "img": 64,
        "preview": True,
        "iframe": True,
        "bytes": len(files.jpeg()),
    }
    assert "frame-ancestors" not in console


@pytest.mark.req("B-151", "B-152")
def test_page_of_another_origin_reads_and_changes_nothing(
    deployment: Deployment, tmp_path: Path
) -> None:
    path = "/v1/customer/documents/photo"
    upload = {"file": ("a.jpg", files.jpeg())}
    assert deployment.customer.put(path, files=upload).status_code == 201
    before = deployment.customer.get(path).content
    made = deployment.customer.post(f"{path}/content-urls", json={"purpose": "inline"})
    given = {"base": deployment.url, "token": deployment.token, "url": made.json()["url"]}
    with PageServer().running() as foreign:
        seen, console = foreign.visit(FOREIGN_STEPS, given, tmp_path)
    assert seen == {
        "list": "failed: TypeError",
        "problem": "failed: TypeError",
        "upload": "failed: TypeError",
        "bytes": "failed: TypeError",
        "pixels": "failed: SecurityError",
        "cross-origin picture": "failed: EncodingError",
        "iframe": "closed",
    }
    assert "frame-ancestors" in console
    assert deployment.customer.get(path).content == before
