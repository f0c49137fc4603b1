"""Clients that do not read, over real sockets."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI
from fastapi.responses import Response, StreamingResponse
from tests.fixtures.sockets import read_to_end, served, slow_reader

from docvault.server import slow_readers

MEBIBYTE = 1024 * 1024
# More than the socket buffers hold.
LARGE = 24 * MEBIBYTE
PIECE = bytes(65536)


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: docvault.test\r\nConnection: close\r\n\r\n".encode()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_readers, "CHECK_SECONDS", 0.1)
    monkeypatch.setattr(slow_readers, "STALL_SECONDS", 0.5)
    monkeypatch.setattr(slow_readers, "RATE_SECONDS", 1.0)


@pytest.fixture
def ended() -> asyncio.Event:
    """Set when the server has stopped generating a streamed response."""
    return asyncio.Event()


@pytest.fixture
async def port(ended: asyncio.Event) -> AsyncIterator[int]:
    app = FastAPI()

    async def pieces(pause: float) -> AsyncIterator[bytes]:
        try:
            for _ in range(LARGE // len(PIECE) if not pause else 4):
                yield PIECE
                await asyncio.sleep(pause)
        finally:
            ended.set()

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(pieces(0))

    @app.get("/slow")
    async def slow() -> StreamingResponse:
        return StreamingResponse(pieces(1.0))

    @app.get("/whole")
    async def whole() -> Response:
        return Response(bytes(LARGE))

    async with served(app) as port:
        yield port


@pytest.mark.req("B-050")
class TestStalledReader:
    """A client that reads nothing."""

    @pytest.fixture(autouse=True)
    def any_rate(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(slow_readers, "MIN_BYTES_PER_SECOND", 0)

    async def test_response_is_aborted(self, port: int, ended: asyncio.Event) -> None:
        started = time.monotonic()
        async with slow_reader(port, get("/stream")) as connection:
            await asyncio.wait_for(ended.wait(), 10)
            assert time.monotonic() - started >= 0.5
            assert len(await read_to_end(connection)) < LARGE

    async def test_buffered_response_is_dropped(self, port: int) -> None:
        """Nothing is sent any more, so only the watchdog can notice."""
        async with slow_reader(port, get("/whole")) as connection:
            await asyncio.sleep(2)
            assert len(await read_to_end(connection)) < LARGE

    async def test_other_clients_are_served(self, port: int) -> None:
        async with slow_reader(port, get("/stream")), slow_reader(port, get("/whole")) as other:
            assert len(await read_to_end(other)) > LARGE


@pytest.mark.req("B-051")
class TestMinimumRate:
    """A client that reads slowly."""

    async def test_trickle_is_too_slow(
        self, port: int, ended: asyncio.Event, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(slow_readers, "STALL_SECONDS", 60)
        monkeypatch.setattr(slow_readers, "MIN_BYTES_PER_SECOND", 100 * MEBIBYTE)
        async with slow_reader(port, get("/stream")) as connection:
            received = await asyncio.wait_for(read_to_end(connection, pause=0.01), 20)
        assert len(received) < LARGE
        assert ended.is_set()

    async def test_client_above_minimum_rate_may_be_slow(self, port: int) -> None:
        started = time.monotonic()
        async with slow_reader(port, get("/whole")) as connection:
            received = await read_to_end(connection, piece=16 * 1024, pause=0.001)
        assert len(received) > LARGE
        # Several windows long, so that each of them is checked.
        assert time.monotonic() - started > 2

    async def test_slow_response_is_not_blamed_on_reader(self, port: int) -> None:
        async with slow_reader(port, get("/slow")) as connection:
            assert len(await read_to_end(connection)) > 4 * len(PIECE)


class BusyTransport(asyncio.Transport):
    """A connection that always has unsent data, but never for long."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__({"socket": connection})
        self.is_aborted = False

    def get_write_buffer_size(self) -> int:
        """Return the last piece."""
        return 1000

    def abort(self) -> None:
        """Record it."""
        self.is_aborted = True


async def test_reader_draining_everything_keeps_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slow_readers, "MIN_BYTES_PER_SECOND", 100 * MEBIBYTE)
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, socket.create_connection(listener.getsockname()) as connection:
        transport = BusyTransport(connection)
        watch = slow_readers.ReaderWatch(transport)
        for _ in range(100):
            watch.add_written(1000)
            await asyncio.sleep(0.02)
        watch.stop()
    assert not transport.is_aborted
