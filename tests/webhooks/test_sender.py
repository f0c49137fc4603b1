"""Sending webhooks: which address is connected to, and what a hostile receiver can do."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.factories.certificates import make_private_ca
from tests.fixtures.receiver import Internet, Receiver, respond

from docvault.certificates import make_tls_context
from docvault.webhooks import sender as sender_module
from docvault.webhooks.destinations import Destinations
from docvault.webhooks.sender import Outcome, Resolve, SendError, WebhookSender, read_retry_after

HOST, PUBLIC, OTHER = "hooks.example.org", "93.184.215.14", "2606:4700::1111"
URL = f"https://{HOST}/in?a=b"
HEADERS = {"Content-Type": "application/json", "webhook-id": "1"}
BODY = b'{"type":"customer.created"}'


@asynccontextmanager
async def serving(folder: Path, host: str = HOST) -> AsyncIterator[tuple[Receiver, ssl.SSLContext]]:
    """Run a receiver with a certificate for a host; give what trusts it."""
    authority, receiver = make_private_ca(folder, host), Receiver()
    async with receiver.serving(authority.server):
        yield receiver, make_tls_context(authority.ca_file)


@pytest.fixture
async def local() -> AsyncIterator[Receiver]:
    """A receiver on 127.0.0.1, without TLS."""
    receiver = Receiver()
    async with receiver.serving():
        yield receiver


def resolving(*answers: Sequence[str] | Exception) -> Resolve:
    """Return a resolver that gives each answer once."""
    left = list(answers)

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return resolve


async def post_public(tls: ssl.SSLContext, internet: Internet, resolve: Resolve) -> Outcome:
    async with WebhookSender(Destinations(), tls, resolve=resolve, network=internet) as sender:
        return await sender.post(URL, HEADERS, BODY)


async def post_local(receiver: Receiver, path: str = "/in") -> Outcome:
    """Send to a receiver that the operators have allowed, without any double."""
    host = f"127.0.0.1:{receiver.port}"
    async with WebhookSender(Destinations(hosts=[host]), make_tls_context(None)) as sender:
        return await sender.post(f"http://{host}{path}", HEADERS, BODY)


@pytest.mark.req("B-251")
class TestAddresses:
    """The address that was checked is the one that is connected to."""

    async def test_message_arrives_with_the_name_in_host_and_certificate(
        self, tmp_path: Path
    ) -> None:
        async with serving(tmp_path) as (receiver, tls):
            internet = Internet({PUBLIC: receiver})
            outcome = await post_public(tls, internet, resolving([PUBLIC]))
            assert outcome.delivered
            assert (outcome.status, outcome.error, outcome.retry_after) == (204, None, None)
            assert internet.connected == [f"{PUBLIC}:443"]
            head, body = receiver.requests[0]
        assert body == BODY
        lines = head.decode().split("\r\n")
        assert lines[0] == "POST /in?a=b HTTP/1.1"
        for line in (f"Host: {HOST}", "Content-Type: application/json", "webhook-id: 1"):
            assert lines.count(line) == 1

    async def test_certificate_of_another_name_is_refused(self, tmp_path: Path) -> None:
        async with serving(tmp_path, "other.example.org") as (receiver, tls):
            outcome = await post_public(tls, Internet({PUBLIC: receiver}), resolving([PUBLIC]))
            assert receiver.requests == []
        assert (outcome.status, outcome.error) == (None, SendError.TLS_FAILED)

    async def test_unknown_authority_is_refused(self, tmp_path: Path) -> None:
        async with serving(tmp_path) as (receiver, _):
            internet = Internet({PUBLIC: receiver})
            outcome = await post_public(make_tls_context(None), internet, resolving([PUBLIC]))
            assert receiver.requests == []
        assert outcome.error is SendError.TLS_FAILED

    @pytest.mark.parametrize(
        "addresses", [["127.0.0.1"], [PUBLIC, "127.0.0.1"], ["::ffff:10.0.0.1", PUBLIC]]
    )
    async def test_refused_address_is_not_connected_to(self, addresses: list[str]) -> None:
        internet = Internet({})
        outcome = await post_public(make_tls_context(None), internet, resolving(addresses))
        assert outcome.error is SendError.DESTINATION_REFUSED
        assert internet.connected == []

    async def test_name_that_changes_after_the_check_is_not_asked_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answers = [PUBLIC, "127.0.0.1", "127.0.0.1"]
        asked = []

        def rebind(host: str, port: int, **_: object) -> list[object]:
            asked.append(host)
            address = answers.pop(0)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

        async with serving(tmp_path) as (receiver, tls):
            monkeypatch.setattr(socket, "getaddrinfo", rebind)
            internet = Internet({PUBLIC: receiver})
            async with WebhookSender(Destinations(), tls, network=internet) as sender:
                first = await sender.post(URL, HEADERS, BODY)
                assert asked == [HOST]
                second = await sender.post(URL, HEADERS, BODY)
        assert first.delivered
        assert second.error is SendError.DESTINATION_REFUSED
        assert internet.connected == [f"{PUBLIC}:443"]

    async def test_next_address_is_tried(self, tmp_path: Path) -> None:
        async with serving(tmp_path) as (receiver, tls):
            internet = Internet({PUBLIC: receiver})
            outcome = await post_public(tls, internet, resolving([OTHER, PUBLIC]))
        assert outcome.delivered
        assert internet.connected == [f"{OTHER}:443", f"{PUBLIC}:443"]

    @pytest.mark.parametrize(
        "answer",
        [
            socket.gaierror(socket.EAI_NONAME, "unknown"),
            socket.gaierror(socket.EAI_AGAIN, "try again"),
            TimeoutError(),
            OSError("no resolver"),
            UnicodeError("label too long"),
            ["not an address"],
            [],
        ],
        ids=repr,
    )
    async def test_failing_resolver_connects_to_nothing(
        self, answer: Exception | list[str]
    ) -> None:
        internet = Internet({})
        outcome = await post_public(make_tls_context(None), internet, resolving(answer))
        assert outcome.error is SendError.NAME_NOT_RESOLVED
        assert internet.connected == []

    @pytest.mark.parametrize(
        "host", ["127.0.0.1", "127.1", "2130706433", "[::1]", "user@127.0.0.1"]
    )
    async def test_refused_url_reaches_no_server(self, local: Receiver, host: str) -> None:
        async with WebhookSender(Destinations(), make_tls_context(None)) as sender:
            for scheme in ("http", "https"):
                outcome = await sender.post(f"{scheme}://{host}:{local.port}/", HEADERS, BODY)
                assert outcome.error is SendError.DESTINATION_REFUSED
        assert local.connections == 0

    @pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 Other", "307 T", "308 P"])
    async def test_redirect_is_not_followed(self, local: Receiver, status: str) -> None:
        canary = Receiver()
        async with canary.serving():
            local.answer = respond(status, f"Location: http://127.0.0.1:{canary.port}/")
            outcome = await post_local(local)
            assert canary.connections == 0
        assert (outcome.status, outcome.error) == (int(status[:3]), None)
        assert not outcome.delivered

    async def test_proxy_of_the_environment_is_not_used(
        self, local: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        proxy = Receiver()
        async with proxy.serving():
            for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
                monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            assert (await post_local(local)).delivered
            assert proxy.connections == 0


@pytest.mark.req("B-252")
class TestOperators:
    """What the settings open."""

    async def test_allowed_networks_are_reached_by_a_name_of_the_system(
        self, local: Receiver
    ) -> None:
        url = f"http://localhost:{local.port}/"
        allowed = Destinations(networks=["127.0.0.0/8", "::1"])
        async with WebhookSender(allowed, make_tls_context(None)) as sender:
            assert (await sender.post(url, HEADERS, BODY)).delivered
        assert len(local.requests) == 1

    async def test_other_networks_stay_closed(self, local: Receiver) -> None:
        url = f"http://localhost:{local.port}/"
        allowed = Destinations(networks=["10.0.0.0/8"])
        async with WebhookSender(allowed, make_tls_context(None)) as sender:
            assert (await sender.post(url, HEADERS, BODY)).error is SendError.DESTINATION_REFUSED
        assert local.connections == 0

    async def test_allowed_host_is_named_with_its_port(self, local: Receiver) -> None:
        assert (await post_local(local)).delivered
        assert f"\r\nHost: 127.0.0.1:{local.port}\r\n".encode() in local.requests[0][0]

    async def test_proxy_is_asked_for_the_name(self) -> None:
        proxy = Receiver()
        proxy.answer = respond("403 Forbidden")

        async def never(_host: str, _port: int) -> Sequence[str]:
            raise AssertionError("the proxy resolves")

        async with proxy.serving():
            allowed = Destinations(proxy=f"http://127.0.0.1:{proxy.port}")
            async with WebhookSender(allowed, make_tls_context(None), resolve=never) as sender:
                outcome = await sender.post(URL, HEADERS, BODY)
        assert proxy.requests[0][0].startswith(f"CONNECT {HOST}:443 HTTP/1.1\r\n".encode())
        assert outcome.error is SendError.PROXY_FAILED

    async def test_message_passes_the_proxy_encrypted(self, tmp_path: Path) -> None:
        async with serving(tmp_path) as (receiver, tls), tunnelling_to(receiver) as proxy:
            allowed = Destinations(proxy=f"http://127.0.0.1:{proxy}")
            async with WebhookSender(allowed, tls) as sender:
                assert (await sender.post(URL, HEADERS, BODY)).delivered
            assert receiver.requests[0][1] == BODY

    async def test_unreachable_proxy_is_not_bypassed(self) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            allowed = Destinations(proxy=f"http://127.0.0.1:{unused.getsockname()[1]}")
            async with WebhookSender(allowed, make_tls_context(None)) as sender:
                outcome = await sender.post(URL, HEADERS, BODY)
        assert outcome.error is SendError.PROXY_FAILED

    async def test_proxy_does_not_open_other_urls(self) -> None:
        allowed = Destinations(proxy="http://127.0.0.1:9")
        async with WebhookSender(allowed, make_tls_context(None)) as sender:
            outcome = await sender.post("https://127.0.0.1/", HEADERS, BODY)
        assert outcome.error is SendError.DESTINATION_REFUSED


@asynccontextmanager
async def tunnelling_to(receiver: Receiver) -> AsyncIterator[int]:
    """Run a proxy that connects every CONNECT to the receiver; give its port."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", receiver.port)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.req("B-253")
class TestHostileReceivers:
    """Receivers that are slow, endless or broken."""

    @pytest.fixture
    def short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sender_module, "TOTAL_SECONDS", 0.3)

    @pytest.mark.usefixtures("short")
    async def test_receiver_that_does_not_answer_is_a_timeout(self, local: Receiver) -> None:
        async def hang(_writer: asyncio.StreamWriter) -> None:
            await asyncio.Event().wait()

        local.answer = hang
        outcome = await post_local(local)
        assert (outcome.status, outcome.error) == (None, SendError.TIMEOUT)
        assert outcome.duration_ms >= 300

    @pytest.mark.usefixtures("short")
    async def test_head_that_comes_byte_by_byte_is_a_timeout(self, local: Receiver) -> None:
        async def drip(writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\n")
            while True:
                writer.write(b"X: y\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)

        local.answer = drip
        assert (await post_local(local)).error is SendError.TIMEOUT

    @pytest.mark.usefixtures("short")
    async def test_interim_responses_without_end_are_a_timeout(self, local: Receiver) -> None:
        async def repeat(writer: asyncio.StreamWriter) -> None:
            while True:
                writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)

        local.answer = repeat
        assert (await post_local(local)).error is SendError.TIMEOUT

    @pytest.mark.usefixtures("short")
    async def test_name_that_is_never_resolved_is_a_timeout(self) -> None:
        async def hang(_host: str, _port: int) -> Sequence[str]:
            await asyncio.Event().wait()
            return []

        outcome = await post_public(make_tls_context(None), Internet({}), hang)
        assert outcome.error is SendError.TIMEOUT

    @pytest.mark.usefixtures("short")
    async def test_body_that_stalls_does_not_undo_the_status(self, local: Receiver) -> None:
        async def stall(writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx")
            await writer.drain()
            await asyncio.Event().wait()

        local.answer = stall
        outcome = await post_local(local)
        assert (outcome.status, outcome.error) == (200, None)
        assert outcome.delivered

    async def test_endless_body_is_cut_off(self, local: Receiver) -> None:
        cut = asyncio.Event()

        async def pour(writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            try:
                while True:
                    writer.write(bytes(65536))
                    await writer.drain()
            except ConnectionError:
                cut.set()

        local.answer = pour
        outcome = await post_local(local)
        await asyncio.wait_for(cut.wait(), 10)
        assert outcome.delivered
        assert outcome.duration_ms < sender_module.TOTAL_SECONDS * 1000

    @pytest.mark.parametrize(
        "answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\nbroken\r\n\r\n"]
    )
    async def test_answer_that_is_not_http_is_invalid(self, local: Receiver, answer: bytes) -> None:
        async def send(writer: asyncio.StreamWriter) -> None:
            writer.write(answer)
            await writer.drain()

        local.answer = send
        outcome = await post_local(local)
        assert (outcome.status, outcome.error) == (None, SendError.INVALID_RESPONSE)

    async def test_head_without_end_is_invalid(self, local: Receiver) -> None:
        async def pour(writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\n")
            while True:
                writer.write(b"X: " + b"y" * 65536 + b"\r\n")
                await writer.drain()

        local.answer = pour
        assert (await post_local(local)).error is SendError.INVALID_RESPONSE

    async def test_reset_is_a_failed_connection(self, local: Receiver) -> None:
        async def reset(writer: asyncio.StreamWriter) -> None:
            writer.transport.abort()

        local.answer = reset
        assert (await post_local(local)).error in {
            SendError.CONNECTION_FAILED,
            SendError.INVALID_RESPONSE,
        }

    async def test_closed_port_is_a_failed_connection(self) -> None:
        gone = Receiver()
        async with gone.serving():
            pass
        assert (await post_local(gone)).error is SendError.CONNECTION_FAILED


class TestOutcome:
    """What an attempt reports."""

    @pytest.mark.parametrize(
        ("status", "delivered"),
        [(200, True), (202, True), (299, True), (400, False), (410, False), (500, False)],
    )
    async def test_status_decides(self, local: Receiver, status: int, delivered: bool) -> None:
        local.answer = respond(f"{status} Text")
        outcome = await post_local(local)
        assert (outcome.status, outcome.error) == (status, None)
        assert outcome.delivered is delivered

    async def test_time_to_wait_is_read(self, local: Receiver) -> None:
        local.answer = respond("503 Busy", "Retry-After: 120")
        assert (await post_local(local)).retry_after == timedelta(minutes=2)

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            ("0", 0),
            (" 30 ", 30),
            ("86400", 86400),
            ("86401", 86400),
            ("9" * 5000, 86400),
            ("Mon, 30 Nov 2026 12:01:00 GMT", 60),
            ("Mon, 30 Nov 2026 11:00:00 GMT", 0),
            ("Mon, 30 Nov 2099 11:00:00 GMT", 86400),
            ("-1", None),
            ("1.5", None),
            ("٣", None),
            ("soon", None),
            ("", None),
        ],
    )
    def test_retry_after_is_a_number_or_a_date(self, value: str, seconds: int | None) -> None:
        expected = None if seconds is None else timedelta(seconds=seconds)
        assert read_retry_after(value, datetime(2026, 11, 30, 12, tzinfo=UTC)) == expected
