"""Raw HTTP against a real server (SECURITY T45)."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from docvault import http_protocol
from docvault.app import create_app
from docvault.server import Server, listen, uvicorn_config

GET = b"GET /livez HTTP/1.1\r\n"
HOST = b"Host: docvault.test\r\n"
CHUNKED = b"PUT / HTTP/1.1\r\n" + HOST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
async def port() -> AsyncIterator[int]:
    """A server without resources: what is tested here never gets that far."""
    async with served(create_app()) as port:
        yield port


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[int]:
    with listen("127.0.0.1", 0) as listener:
        server = Server(app, uvicorn_config(app), announcement=None)
        task = asyncio.create_task(server._serve([listener]))
        while not server.started:  # noqa: ASYNC110 - uvicorn announces nothing
            await asyncio.sleep(0.01)
        yield listener.getsockname()[1]
        server.should_exit = True
        await task


async def send(port: int, *pieces: bytes, pause: float = 0) -> bytes:
    """Send pieces and return everything that comes back until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
        async with asyncio.timeout(15):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def assert_problem(answer: bytes, status: int, code: str) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), answer[:200]
    assert b"application/problem+json" in head
    assert json.loads(body)["code"] == code


@pytest.mark.parametrize(
    "request_bytes",
    [
        GET + b"\r\n",
        GET + HOST + HOST + b"\r\n",
        GET + HOST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        GET + HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        GET + HOST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        GET + HOST + b"Content-Length: -1\r\n\r\n",
        GET + HOST + b"Transfer-Encoding: gzip, chunked, x\r\n\r\n",
        GET + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        GET + HOST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        GET + HOST + b"X: a\r\n folded\r\n\r\n",
        GET + b"Host:\r\n\r\n",
        GET + b"Host: a b\r\n\r\n",
        GET + b"Host: a?b\r\n\r\n",
        b"GET /livez#x HTTP/1.1\r\n" + HOST + b"\r\n",
        GET + HOST + b"X : a\r\n\r\n",
        GET + HOST + b"X: a\x00b\r\n\r\n",
        b"GET /livez HTTP/1.1\nHost: a\n\n",
        b"GARBAGE\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40,
    ],
    ids=range(19),
)
async def test_a_malformed_request_is_refused_and_the_connection_closed(
    port: int, request_bytes: bytes
) -> None:
    answer = await send(port, request_bytes)
    assert_problem(answer, 400, "malformed-request")
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "fields",
    [
        b"X: " + b"a" * 33_000 + b"\r\n",
        b"".join(b"X%d: a\r\n" % number for number in range(10_000)),
        b"X: " + b"a" * 16 * 1024 * 1024,
    ],
    ids=["one long", "many", "endless"],
)
async def test_a_head_over_the_limit_is_refused(port: int, fields: bytes) -> None:
    answer = await send(port, GET + HOST + fields + b"\r\n")
    assert_problem(answer, 431, "header-too-large")


@pytest.mark.parametrize("host", [b"a.example", b"a:8000", b"[::1]:8000", b"127.0.0.1", b"a_b"])
async def test_a_host_is_a_name_or_an_address(port: int, host: bytes) -> None:
    answer = await send(port, GET + b"Host: " + host + b"\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_head_within_the_limit_is_served(port: int) -> None:
    answer = await send(
        port, GET + HOST + b"X: " + b"a" * 30_000 + b"\r\nConnection: close\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_long_url_is_refused(port: int) -> None:
    answer = await send(port, b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n")
    assert_problem(answer, 431, "header-too-large")


class TestDeadline:
    """A head that does not come."""

    @pytest.fixture(autouse=True)
    def soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http_protocol, "HEADER_SECONDS", 0.5)

    async def test_a_silent_connection_is_closed(self, port: int) -> None:
        started = time.monotonic()
        assert await send(port) == b""
        assert 0.4 < time.monotonic() - started < 5

    async def test_a_trickling_head_is_cut_off(self, port: int) -> None:
        pieces = [bytes([byte]) for byte in GET + HOST]
        answer = await send(port, *pieces, pause=0.05)
        assert answer == b"" or b" 408 " in answer.splitlines()[0]

    async def test_half_a_head_is_answered(self, port: int) -> None:
        assert_problem(await send(port, GET + HOST), 408, "request-timeout")

    async def test_a_second_request_has_its_own_time(self, port: int) -> None:
        answer = await send(port, GET + HOST + b"\r\n", GET, pause=0.1)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"HTTP/1.1 408 " in answer


async def test_pipelined_requests_are_answered_in_order(port: int) -> None:
    last = GET + HOST + b"Connection: close\r\n\r\n"
    answer = await send(port, (GET + HOST + b"\r\n") * 2 + last)
    assert answer.count(b"HTTP/1.1 200 OK") == 3


class TestTrailers:
    """Fields behind a chunked body (RFC 9110, section 6.5)."""

    @pytest.fixture
    async def port(self) -> AsyncIterator[int]:
        """A server that reads the body and answers with the names of the fields it got."""
        app = FastAPI()

        @app.put("/")
        async def names(request: Request) -> list[str]:
            await request.body()
            return list(request.headers)

        async with served(app) as port:
            yield port

    async def test_they_are_no_part_of_the_head(self, port: int) -> None:
        fields = b"Authorization: Bearer x\r\nExpect: 100-continue\r\n"
        answer = await send(port, CHUNKED + b"0\r\n" + fields + b"\r\n")
        assert json.loads(answer.partition(b"\r\n\r\n")[2]) == [
            "host",
            "connection",
            "transfer-encoding",
        ]

    async def test_too_many_are_refused(self, port: int) -> None:
        fields = b"X: " + b"y" * 1000 + b"\r\n"
        answer = await send(port, CHUNKED + b"0\r\n" + fields * 40 + b"\r\n")
        assert_problem(answer, 431, "header-too-large")

    @pytest.mark.parametrize("beginning", [b"0\r\nX: ", b"1;"], ids=["field", "extension"])
    async def test_what_never_ends_is_refused(self, port: int, beginning: bytes) -> None:
        answer = await send(port, CHUNKED + beginning, *[b"y" * 10_000] * 20, pause=0.01)
        assert_problem(answer, 431, "header-too-large")

    async def test_a_body_of_many_small_chunks_is_read(self, port: int) -> None:
        answer = await send(port, CHUNKED + b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ")


class TestInsideAnAnswer:
    """What is wrong with a request while the one before it is being answered."""

    @pytest.fixture
    async def port(self) -> AsyncIterator[int]:
        """A server whose answer takes its time."""
        app = FastAPI()

        @app.get("/livez")
        async def slow() -> StreamingResponse:
            async def pieces() -> AsyncIterator[bytes]:
                yield b"begin"
                await asyncio.sleep(0.5)
                yield b"end"

            return StreamingResponse(pieces())

        async with served(app) as port:
            yield port

    async def test_the_refusal_is_no_part_of_that_answer(self, port: int) -> None:
        answer = await send(port, GET + HOST + b"\r\n", b"GARBAGE\r\n\r\n", pause=0.2)
        assert b"begin" in answer
        assert b"problem" not in answer


class TestRefusedWhileSending:
    """A body that nobody reads, from a client that sends all of it before it reads."""

    @pytest.mark.parametrize("size", [1, 200_000, 24 * 1024 * 1024])
    async def test_the_client_reads_the_answer(self, port: int, size: int) -> None:
        answer = await asyncio.to_thread(send_all_then_read, port, size)
        assert_problem(answer, 404, "not-found")

    async def test_our_side_is_closed_at_once(self, port: int) -> None:
        async with asyncio.timeout(http_protocol.LINGER_SECONDS / 2):
            assert_problem(await send(port, refused_head(100)), 404, "not-found")

    async def test_it_is_cut_off_after_some_bytes(
        self, port: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(http_protocol, "LINGER_BYTES", 100_000)
        with pytest.raises(ConnectionError):
            await asyncio.to_thread(send_all_then_read, port, 24 * 1024 * 1024)

    async def test_it_is_cut_off_after_some_time(
        self, port: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(http_protocol, "LINGER_SECONDS", 0.2)
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(refused_head(1_000_000))
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(trickle(writer), 15)
        writer.close()

    async def test_a_request_behind_the_refused_body_is_not_answered(self, port: int) -> None:
        answer = await send(port, refused_head(3), b"abc" + GET + HOST + b"\r\n", pause=0.1)
        assert answer.count(b"HTTP/1.1") == 1

    async def test_an_answer_that_comes_too_late_is_dropped(
        self, port: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        answer = await send(port, GET + HOST + b"\r\nGARBAGE\r\n\r\n")
        assert_problem(answer, 400, "malformed-request")
        assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def trickle(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


def refused_head(size: int) -> bytes:
    return b"PUT /nowhere HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % size


def send_all_then_read(port: int, size: int) -> bytes:
    """As many HTTP clients do; raises `ConnectionError` when the server cuts it off."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=15) as connection:
        connection.sendall(refused_head(size))
        connection.sendall(bytes(size))
        while chunk := connection.recv(65536):
            answer += chunk
    return answer
