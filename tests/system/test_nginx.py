"""Downloads sent by a real nginx (Debian's package) in front of the service."""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.factories import files
from tests.factories.setups import upload_of
from tests.fixtures.server import DOCVAULT, RunningServer, running_server
from tests.fixtures.sockets import free_port

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]

CONFIGURATION = """
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        {locations}
    }}
}}
"""


def shipped_location() -> str:
    """Return the part of deploy/nginx.conf for files, which is commented out."""
    text = (ROOT / "deploy" / "nginx.conf").read_text()
    (block,) = re.findall(r"^ *# location /blobs/ \{\n(?: *# .*\n)*? *# \}\n", text, re.MULTILINE)
    return re.sub(r"^ *# ", "", block, flags=re.MULTILINE)


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            httpx.get(url)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("nginx did not start")


def staff_headers(server: RunningServer) -> dict[str, str]:
    token = subprocess.run(
        [DOCVAULT, "token", "admin"],
        env=server.environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()[-1]
    return {"Authorization": f"Bearer {token}"}


@contextmanager
def nginx(folder: Path, port: int, locations: str) -> Iterator[None]:
    """Run nginx with these locations."""
    configuration = CONFIGURATION.format(
        user="user root;" if os.geteuid() == 0 else "",
        folder=folder,
        port=port,
        locations=locations,
    )
    (folder / "nginx.conf").write_text(configuration)
    process = subprocess.Popen(["/usr/sbin/nginx", "-c", folder / "nginx.conf"])
    try:
        wait_for(f"http://127.0.0.1:{port}/")
        yield
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def staff(data_dir: Path, tmp_path: Path) -> Iterator[httpx.Client]:
    """A staff member whose requests go through nginx."""
    with running_server(data_dir, DOCVAULT_ACCEL_PREFIX="/blobs") as server:
        port = free_port()
        sends_files = shipped_location().replace("/data/blobs", f"{data_dir}/blobs")
        locations = f"location / {{ proxy_pass {server.url}; }}\n{sends_files}"
        base_url = f"http://127.0.0.1:{port}"
        with (
            nginx(tmp_path, port, locations),
            httpx.Client(base_url=base_url, headers=staff_headers(server)) as client,
        ):
            yield client


def test_nginx_sends_file_with_headers_and_ranges(staff: httpx.Client) -> None:
    staff.post("/v1/admin/document-types", json={"name": "Contract"}).raise_for_status()
    staff.put("/v1/admin/customers/c-1", json={}).raise_for_status()
    document = "/v1/admin/customers/c-1/documents/contract"
    staff.put(document, **upload_of(filename="Überweisung.pdf")).raise_for_status()
    response = staff.get(f"{document}/content")
    assert (response.status_code, response.content) == (200, files.pdf())
    assert "x-accel-redirect" not in response.headers
    ours = staff.head(f"{document}/content").headers
    for name in (
        "content-type",
        "content-length",
        "content-disposition",
        "cache-control",
        "etag",
        "accept-ranges",
        "last-modified",
        "repr-digest",
        "x-content-type-options",
        "content-security-policy",
        "cross-origin-resource-policy",
        "referrer-policy",
    ):
        assert response.headers.get_list(name) == ours.get_list(name), name
    assert response.headers["x-request-id"]
    part = staff.get(f"{document}/content", headers={"Range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, b"PDF")
    unchanged = staff.get(f"{document}/content", headers={"If-None-Match": ours["etag"]})
    assert unchanged.status_code == 304


def test_files_are_not_served_directly(staff: httpx.Client) -> None:
    assert staff.get("/blobs/").status_code == 404


@pytest.mark.req("B-206")
@pytest.mark.parametrize("uri", ["", "/"], ids=["keeps the prefix", "strips the prefix"])
def test_service_works_below_a_path(data_dir: Path, tmp_path: Path, uri: str) -> None:
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    with running_server(data_dir, DOCVAULT_PUBLIC_URL=f"{base}/vault") as server:
        locations = f"location /vault/ {{ proxy_pass {server.url}{uri}; }}"
        with (
            nginx(tmp_path, port, locations),
            httpx.Client(headers=staff_headers(server)) as staff,
        ):
            created = staff.post(f"{base}/vault/v1/admin/document-types", json={"name": "Contract"})
            assert staff.get(base + created.headers["location"]).status_code == 200
            page = staff.get(f"{base}/vault/docs")
            linked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
            script = staff.get(f"{base}/vault/docs/static/reference.js").text
            linked += re.findall(r'url: "([^"]+)"', script)
            assert len(linked) >= 4
            for link in linked:
                assert staff.get(page.url.join(link)).status_code == 200, link
