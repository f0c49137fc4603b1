"""Raw HTTP against a real server (SECURITY T45)."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from tests.fixtures.sockets import served

from docvault.api.app import create_app
from docvault.server import http_protocol

GET = b"GET /livez HTTP/1.1\r\n"
HOST = b"Host: docvault.test\r\n"
# As Java's default client and `curl --http2` send it.
UPGRADE = (
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"
)
CHUNKED = b"PUT / HTTP/1.1\r\n" + HOST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
async def port() -> AsyncIterator[int]:
    """A server without resources: these requests never need them."""
    async with served(create_app()) as port:
        yield port


async def send(port: int, *pieces: bytes, pause: float = 0) -> bytes:
    """Send pieces and return everything received until the server closes the connection."""
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


def assert_problem(response: bytes, status: int, code: str) -> None:
    head, _, body = response.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), response[:200]
    assert b"application/problem+json" in head
    assert b"x-content-type-options: nosniff" in head
    problem = json.loads(body)
    assert problem["code"] == code
    assert b"x-request-id: " + problem["instance"].removeprefix("urn:uuid:").encode() in head


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
        b"CONNECT docvault.test:443 HTTP/1.1\r\n" + HOST + b"\r\n",
        GET + HOST + UPGRADE + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        GET + HOST + UPGRADE + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        GET + HOST + HOST + UPGRADE + b"\r\n",
        GET + HOST + b"Upgrade: h2c\r\n x\r\nConnection: Upgrade\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40,
    ],
    ids=range(25),
)
@pytest.mark.req("B-099")
async def test_malformed_request_is_rejected_and_connection_closed(
    port: int, request_bytes: bytes
) -> None:
    response = await send(port, request_bytes)
    assert_problem(response, 400, "malformed-request")
    assert response.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "fields",
    [
        b"X: " + b"a" * 33_000 + b"\r\n",
        b"".join(b"X%d: a\r\n" % number for number in range(10_000)),
        b"X: " + b"a" * 16 * 1024 * 1024,
    ],
    ids=["one long", "many", "endless"],
)
async def test_head_over_limit_is_rejected(port: int, fields: bytes) -> None:
    response = await send(port, GET + HOST + fields + b"\r\n")
    assert_problem(response, 431, "header-too-large")


@pytest.mark.parametrize("host", [b"a.example", b"a:8000", b"[::1]:8000", b"127.0.0.1", b"a_b"])
async def test_host_must_be_name_or_address(port: int, host: bytes) -> None:
    response = await send(port, GET + b"Host: " + host + b"\r\nConnection: close\r\n\r\n")
    assert response.startswith(b"HTTP/1.1 200 ")


async def test_head_within_limit_is_served(port: int) -> None:
    response = await send(
        port, GET + HOST + b"X: " + b"a" * 30_000 + b"\r\nConnection: close\r\n\r\n"
    )
    assert response.startswith(b"HTTP/1.1 200 ")


async def test_long_url_is_rejected(port: int) -> None:
    response = await send(port, b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n")
    assert_problem(response, 431, "header-too-large")


class TestDeadline:
    """A head that never arrives."""

    @pytest.fixture(autouse=True)
    def soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http_protocol, "HEADER_SECONDS", 0.5)

    async def test_silent_connection_is_closed(self, port: int) -> None:
        started = time.monotonic()
        assert await send(port) == b""
        assert 0.4 < time.monotonic() - started < 5

    async def test_slow_head_times_out(self, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        started = time.monotonic()
        try:
            # Read the response immediately: the reset that follows could discard it.
            response = asyncio.create_task(reader.read())
            for byte in GET + HOST * 100:
                if response.done():
                    break
                writer.write(bytes([byte]))
                await asyncio.sleep(0.05)
            assert_problem(await response, 408, "request-timeout")
        finally:
            writer.close()
        assert 0.4 < time.monotonic() - started < 5

    async def test_incomplete_head_gets_408(self, port: int) -> None:
        assert_problem(await send(port, GET + HOST), 408, "request-timeout")

    async def test_second_request_has_own_deadline(self, port: int) -> None:
        response = await send(port, GET + HOST + b"\r\n", GET, pause=0.1)
        assert response.startswith(b"HTTP/1.1 200 ")
        assert b"HTTP/1.1 408 " in response


async def test_pipelined_requests_are_served_in_order(port: int) -> None:
    last = GET + HOST + b"Connection: close\r\n\r\n"
    response = await send(port, (GET + HOST + b"\r\n") * 2 + last)
    assert response.count(b"HTTP/1.1 200 OK") == 3


class TestUpgrade:
    """Requests that offer another protocol are served as HTTP/1.1 (RFC 9110, section 7.8)."""

    @pytest.fixture
    async def port(self) -> AsyncIterator[int]:
        """A server that responds with path and body of each request."""
        app = FastAPI()

        @app.api_route("/{path}", methods=["GET", "PUT"])
        async def echo(path: str, request: Request) -> list[str]:
            body = (await request.body()).decode()
            return [path, body]

        async with served(app) as port:
            yield port

    @pytest.mark.parametrize(
        "upgrade",
        [
            UPGRADE,
            b"upgrade: h2c\r\nconnection: upgrade\r\n",
            b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n",
            b"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\nUpgrade: h2c\r\n",
            b"Connection: Upgrade\r\nUpgrade:\r\n",
        ],
        ids=["java", "lower case", "websocket", "two", "empty"],
    )
    @pytest.mark.parametrize(
        "body",
        [
            b"Content-Length: 4\r\n\r\nbody",
            b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        ],
        ids=["length", "chunked"],
    )
    @pytest.mark.req("B-096")
    async def test_body_is_read(self, port: int, upgrade: bytes, body: bytes) -> None:
        responses = await send(port, put("a", upgrade, body), close("b"))
        assert bodies(responses) == [["a", "body"], ["b", ""]]

    @pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
    async def test_body_is_read_however_it_arrives(self, port: int, size: int) -> None:
        sent = put("a", UPGRADE, b"Content-Length: 4\r\n\r\nbody") + close("b")
        pieces = [sent[start : start + size] for start in range(0, len(sent), size)]
        responses = await send(port, *pieces, pause=0.001)
        assert bodies(responses) == [["a", "body"], ["b", ""]]

    async def test_long_body_is_read(self, port: int) -> None:
        body = b"x" * 3_000_000
        head = b"Content-Length: %d\r\n\r\n" % len(body)
        responses = await send(port, put("a", UPGRADE, head + body), close("b"))
        assert bodies(responses) == [["a", body.decode()], ["b", ""]]

    @pytest.mark.req("B-096")
    async def test_pipelined_upgrades_are_served_in_order(self, port: int) -> None:
        one = put("a", UPGRADE, b"Content-Length: 1\r\n\r\n1")
        two = b"GET /b HTTP/1.1\r\n" + HOST + UPGRADE + b"\r\n"
        three = put("c", UPGRADE, b"Transfer-Encoding: chunked\r\n\r\n1\r\n3\r\n0\r\n\r\n")
        responses = await send(port, one + two + put("d", b"", b"\r\n") + three + close("e"))
        assert bodies(responses) == [
            ["a", "1"], ["b", ""], ["d", ""], ["c", "3"], ["e", ""]
        ]  # fmt: skip

    @pytest.mark.req("B-096")
    async def test_request_inside_body_is_not_served(self, port: int) -> None:
        body = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"
        head = b"Content-Length: %d\r\n\r\n" % len(body)
        responses = await send(port, put("a", UPGRADE, head + body) + close("b"))
        assert bodies(responses) == [["a", body.decode()], ["b", ""]]

    async def test_garbage_after_body_is_rejected(self, port: int) -> None:
        sent = put("a", UPGRADE, b"Content-Length: 1\r\n\r\n1")
        responses = await send(port, sent, b"GARBAGE\r\n\r\n", pause=0.2)
        assert responses.count(b"HTTP/1.1 200 ") == responses.count(b"HTTP/1.1 400 ") == 1

    @pytest.mark.system
    async def test_curl_sends_body(self, port: int) -> None:
        command = ["curl", "-sS", "--http2", "-T", "-", f"http://127.0.0.1:{port}/a"]
        curl = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await curl.communicate(b"body")
        assert json.loads(output) == ["a", "body"]


def put(path: str, fields: bytes, rest: bytes) -> bytes:
    return b"PUT /%b HTTP/1.1\r\n" % path.encode() + HOST + fields + rest


def close(path: str) -> bytes:
    return b"GET /%b HTTP/1.1\r\n" % path.encode() + HOST + b"Connection: close\r\n\r\n"


def bodies(responses: bytes) -> list[list[str]]:
    """Return the JSON bodies of successful responses, in order."""
    heads, *parts = responses.split(b"HTTP/1.1 200 OK\r\n")
    assert heads == b""
    return [json.loads(part.partition(b"\r\n\r\n")[2]) for part in parts]


class TestTrailers:
    """Trailer fields (RFC 9110, section 6.5)."""

    @pytest.fixture
    async def port(self) -> AsyncIterator[int]:
        """A server that reads the body and responds with the names of the received fields."""
        app = FastAPI()

        @app.put("/")
        async def names(request: Request) -> list[str]:
            await request.body()
            return list(request.headers)

        async with served(app) as port:
            yield port

    async def test_trailers_are_not_headers(self, port: int) -> None:
        fields = b"Authorization: Bearer x\r\nExpect: 100-continue\r\n"
        response = await send(port, CHUNKED + b"0\r\n" + fields + b"\r\n")
        assert json.loads(response.partition(b"\r\n\r\n")[2]) == [
            "host",
            "connection",
            "transfer-encoding",
        ]

    async def test_too_many_trailers_are_rejected(self, port: int) -> None:
        fields = b"X: " + b"y" * 1000 + b"\r\n"
        response = await send(port, CHUNKED + b"0\r\n" + fields * 40 + b"\r\n")
        assert_problem(response, 431, "header-too-large")

    @pytest.mark.parametrize("beginning", [b"0\r\nX: ", b"1;"], ids=["field", "extension"])
    async def test_endless_trailers_are_rejected(self, port: int, beginning: bytes) -> None:
        response = await send(port, CHUNKED + beginning, *[b"y" * 10_000] * 20, pause=0.01)
        assert_problem(response, 431, "header-too-large")

    async def test_body_of_many_small_chunks_is_read(self, port: int) -> None:
        response = await send(port, CHUNKED + b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n")
        assert response.startswith(b"HTTP/1.1 200 ")


class TestErrorDuringResponse:
    """Errors in a request while the previous one is still being processed."""

    @pytest.fixture
    async def port(self) -> AsyncIterator[int]:
        """A server with a slow response."""
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

    async def test_rejection_is_not_sent_inside_response(self, port: int) -> None:
        response = await send(port, GET + HOST + b"\r\n", b"GARBAGE\r\n\r\n", pause=0.2)
        assert b"begin" in response
        assert b"problem" not in response


class TestRejectedUpload:
    """An unread body, from a client that sends all of it before it reads."""

    @pytest.mark.parametrize("size", [1, 200_000, 24 * 1024 * 1024])
    async def test_client_reads_response(self, port: int, size: int) -> None:
        response = await asyncio.to_thread(send_all_then_read, port, size)
        assert_problem(response, 404, "not-found")

    async def test_server_side_is_closed_immediately(self, port: int) -> None:
        async with asyncio.timeout(http_protocol.LINGER_SECONDS / 2):
            assert_problem(await send(port, refused_head(100)), 404, "not-found")

    async def test_connection_is_cut_after_byte_limit(
        self, port: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(http_protocol, "LINGER_BYTES", 100_000)
        with pytest.raises(ConnectionError):
            await asyncio.to_thread(send_all_then_read, port, 24 * 1024 * 1024)

    async def test_connection_is_cut_after_time_limit(
        self, port: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(http_protocol, "LINGER_SECONDS", 0.2)
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(refused_head(1_000_000))
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(trickle(writer), 15)
        writer.close()

    async def test_request_after_rejected_body_is_ignored(self, port: int) -> None:
        response = await send(port, refused_head(3), b"abc" + GET + HOST + b"\r\n", pause=0.1)
        assert response.count(b"HTTP/1.1") == 1

    async def test_late_response_is_dropped(
        self, port: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        response = await send(port, GET + HOST + b"\r\nGARBAGE\r\n\r\n")
        assert_problem(response, 400, "malformed-request")
        assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def trickle(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


def refused_head(size: int) -> bytes:
    return b"PUT /nowhere HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % size


def send_all_then_read(port: int, size: int) -> bytes:
    """Send everything, then read; raise `ConnectionError` if the server disconnects early."""
    response = b""
    with socket.create_connection(("127.0.0.1", port), timeout=15) as connection:
        connection.sendall(refused_head(size))
        connection.sendall(bytes(size))
        while chunk := connection.recv(65536):
            response += chunk
    return response
