"""Large downloads: concurrency limits, disconnecting clients and memory."""

import asyncio
import dataclasses
import struct
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Message
from tests.api.raw_client import request_scope
from tests.api.stored_state import audited, refusal
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import CustomerClients
from tests.fixtures.seaweedfs import S3Server
from tests.fixtures.sockets import read_to_end, served, slow_reader
from tests.fixtures.storage import use_s3

from docvault.api.app import create_app
from docvault.auth.local_tokens import LocalIssuer
from docvault.services.resources import Resources
from docvault.settings import Settings
from docvault.storage.base import CHUNK_BYTES, BlobMissing, BlobReader, BlobStore

ADMIN_PATH = "/v1/admin/customers/c-1/documents/contract"
CONTENT = "/v1/customer/documents/contract/content"
KEY_CONTENT = "/v1/integration/customers/c-1/documents/contract/content"
# More than the buffers of the operating system hold.
LARGE = b"0123456789abcdef" * (24 * 1024 * 1024 // 16)
SEVERAL_CHUNKS = LARGE[: 3 * CHUNK_BYTES]
# What the operating system buffers for a client that has disconnected.
BUFFERED_BYTES = 6 * 1024 * 1024
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class CountingReader:
    """A reader that counts what is read from it."""

    def __init__(self, reader: BlobReader) -> None:
        self._reader = reader
        self.size_bytes, self.sha256 = reader.size_bytes, reader.sha256
        self.chunks_read = self.bytes_read = 0
        self.ended = False
        self.closed = asyncio.Event()

    async def chunks(self, start: int, length: int) -> AsyncGenerator[bytes, None]:
        """Count the chunks, and record the end even after an error."""
        chunks = self._reader.chunks(start, length)
        try:
            async for chunk in chunks:
                self.chunks_read += 1
                self.bytes_read += len(chunk)
                yield chunk
        finally:
            await chunks.aclose()
            self.ended = True

    async def close(self) -> None:
        await self._reader.close()
        self.closed.set()


class CountingStore:
    """A store whose readers count."""

    def __init__(self, resources: Resources) -> None:
        self._store = resources.store
        self.readers: list[CountingReader] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def open(self, key: str) -> CountingReader:
        reader = CountingReader(await self._store.open(key))
        self.readers.append(reader)
        return reader


@pytest.fixture(params=["filesystem", "s3"])
def settings(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """The defaults, with each store."""
    if request.param == "s3":
        server: S3Server = request.getfixturevalue("s3_server")
        use_s3(server, monkeypatch)
    return Settings(data_dir=tmp_path / "data", failed_credentials_per_minute=0)


pytestmark = pytest.mark.own_store("they run on each store themselves")


@pytest.fixture
def store(app: FastAPI, http: httpx.AsyncClient, resources: Resources) -> CountingStore:
    """The store of the service, counted."""
    del http  # it gives the application its resources
    counting = CountingStore(resources)
    app.state.resources = dataclasses.replace(resources, store=cast("BlobStore", counting))
    return counting


def own_app(app: FastAPI) -> FastAPI:
    """Return an application of the test's own: its server marks it as stopping at the end."""
    own = create_app()
    own.state.resources = app.state.resources
    return own


async def fill(admin: httpx.AsyncClient, body: bytes) -> None:
    """Store a text file for customer c-1."""
    await make_type(admin, "Contract")
    await make_customer(admin, "c-1")
    assert (await admin.put(ADMIN_PATH, **upload_of(body, "a.txt"))).status_code == 201


@asynccontextmanager
async def held_download(app: FastAPI, path: str, headers: httpx.Headers) -> AsyncIterator[None]:
    """Keep a download open: its client reads one chunk and waits until the block ends."""
    is_held, resume = asyncio.Event(), asyncio.Event()

    async def receive() -> Message:
        await resume.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        # The server sends the next message once this one is accepted.
        if message["type"] == "http.response.body" and not message["body"]:
            is_held.set()
            await resume.wait()

    names = {
        name: value for name, value in headers.items() if name in {"authorization", "x-api-key"}
    }
    download = asyncio.create_task(app(request_scope("GET", path, names), receive, send))
    await asyncio.wait(
        [download, asyncio.ensure_future(is_held.wait())], return_when="FIRST_COMPLETED"
    )
    assert is_held.is_set()
    try:
        yield
    finally:
        resume.set()
        await download


@pytest.mark.req("B-052")
class TestConcurrency:
    """DOCVAULT_CUSTOMER_MAX_CONCURRENT_DOWNLOADS, DOCVAULT_API_KEY_MAX_CONCURRENT_DOWNLOADS."""

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Settings:
        return Settings(
            data_dir=tmp_path / "data",
            customer_max_concurrent_downloads=1,
            api_key_max_concurrent_downloads=2,
        )

    async def test_downloads_over_limit_are_rejected_until_one_ends(
        self, app: FastAPI, admin: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        await fill(admin, SEVERAL_CHUNKS)
        customer = customer_of("c-1")
        async with held_download(app, CONTENT, customer.headers):
            rejected = await customer.get(CONTENT)
        assert refusal(rejected)[:2] == (429, "rate-limited")
        assert rejected.json()["detail"] == "At most 1 downloads at once."
        assert rejected.headers["retry-after"] == "2"
        # The rejected request is not recorded as a download.
        assert len(await audited(admin, "document.download")) == 1
        assert (await customer.get(CONTENT)).content == SEVERAL_CHUNKS

    async def test_each_caller_has_separate_limit(
        self,
        app: FastAPI,
        admin: httpx.AsyncClient,
        integration: httpx.AsyncClient,
        customer_of: CustomerClients,
    ) -> None:
        await fill(admin, SEVERAL_CHUNKS)
        async with (
            held_download(app, CONTENT, customer_of("c-1").headers),
            held_download(app, KEY_CONTENT, integration.headers),
            held_download(app, KEY_CONTENT, integration.headers),
            held_download(app, f"{ADMIN_PATH}/content", admin.headers),
        ):
            assert (await integration.get(KEY_CONTENT)).status_code == 429
            assert (await admin.get(f"{ADMIN_PATH}/content")).status_code == 200

    async def test_short_responses_are_not_counted(
        self, app: FastAPI, admin: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        await fill(admin, SEVERAL_CHUNKS)
        customer = customer_of("c-1")
        async with held_download(app, CONTENT, customer.headers):
            part = {"Range": f"bytes=0-{CHUNK_BYTES - 1}"}
            assert (await customer.get(CONTENT, headers=part)).status_code == 206
            assert (await customer.head(CONTENT)).status_code == 200

    async def test_failed_download_releases_permit(
        self,
        admin: httpx.AsyncClient,
        customer_of: CustomerClients,
        app: FastAPI,
        resources: Resources,
    ) -> None:
        await fill(admin, SEVERAL_CHUNKS)
        customer = customer_of("c-1")
        empty = dataclasses.replace(resources, store=cast("BlobStore", FailingStore()))
        app.state.resources = empty
        assert (await customer.get(CONTENT)).status_code == 503
        app.state.resources = resources
        assert (await customer.get(CONTENT)).status_code == 200


class FailingStore:
    """A store that has lost all bytes."""

    async def open(self, key: str) -> BlobReader:
        raise BlobMissing(key)


@pytest.mark.req("B-053")
class TestDisconnect:
    """A client that disconnects during the download."""

    async def test_reading_stops_and_file_is_closed(
        self, app: FastAPI, admin: httpx.AsyncClient, store: CountingStore, issuer: LocalIssuer
    ) -> None:
        await fill(admin, LARGE)
        async with served(own_app(app)) as port:
            async with slow_reader(port, download(issuer)) as connection:
                received = await asyncio.get_running_loop().sock_recv(connection, 100)
                assert received.startswith(b"HTTP/1.1 200 ")
                connection.setsockopt(SOL_SOCKET, SO_LINGER, RESET_ON_CLOSE)
            (reader,) = store.readers
            await asyncio.wait_for(reader.closed.wait(), 5)
        assert reader.ended
        assert reader.bytes_read < BUFFERED_BYTES
        assert len(await audited(admin, "document.download")) == 1

    async def test_connected_client_gets_everything(
        self, app: FastAPI, admin: httpx.AsyncClient, store: CountingStore, issuer: LocalIssuer
    ) -> None:
        await fill(admin, LARGE)
        async with served(own_app(app)) as port, slow_reader(port, download(issuer)) as connection:
            response = await read_to_end(connection)
        assert response.partition(b"\r\n\r\n")[2] == LARGE
        assert store.readers[0].closed.is_set()


class TestMemory:
    """What a download buffers for a client that does not read."""

    @pytest.mark.req("B-054")
    async def test_next_chunk_is_read_after_previous_is_sent(
        self, app: FastAPI, admin: httpx.AsyncClient, store: CountingStore
    ) -> None:
        await fill(admin, LARGE)
        async with held_download(app, f"{ADMIN_PATH}/content", admin.headers):
            (reader,) = store.readers
            await asyncio.sleep(0.2)
            assert reader.chunks_read == 1
            assert reader.bytes_read <= CHUNK_BYTES


def download(issuer: LocalIssuer) -> bytes:
    """Return the request of customer c-1 for their file."""
    return (
        f"GET {CONTENT} HTTP/1.1\r\nHost: docvault.test\r\nConnection: close\r\n"
        f"Authorization: Bearer {issuer.customer_token('c-1')}\r\n\r\n"
    ).encode()
