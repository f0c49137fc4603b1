"""uvicorn's HTTP protocol with the limits it lacks (F2 to F5).

These limits protect deployments without a reverse proxy and are defense in depth behind one.
"""

import asyncio
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import httptools
import uuid_utils.compat
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from docvault.api.http.cors import cross_origin_headers, origins_of
from docvault.api.http.middleware import NO_FRAMES, common_headers
from docvault.api.http.problems import MEDIA_TYPE
from docvault.errors import DocvaultError, HeaderTooLarge, MalformedRequest, RequestTimeout
from docvault.presenters.problems import present_problem
from docvault.server.slow_readers import ReaderWatch

HEADER_BYTES = 32 * 1024
URL_BYTES = 8 * 1024
HEADER_SECONDS = 10
# How long, and how much, a client may send after a rejection, so that it reads the response.
LINGER_SECONDS = 5
LINGER_BYTES = 32 * 1024 * 1024

_CONNECT = b"CONNECT"
_UPGRADE_FIELDS = frozenset({b"upgrade", b"http2-settings"})

# A name or an address, and a port (RFC 9110, section 7.2).
_HOST = re.compile(rb"(?:[A-Za-z0-9._~%!$&'()*+,;=-]+|\[[0-9A-Fa-f:.]+\])(?::\d{0,5})?")


class HalfClosableTransport(asyncio.Transport):
    """The connection as uvicorn sees it; can be closed for writing only."""

    def __init__(
        self, transport: asyncio.Transport, close: Callable[[], None], watch: ReaderWatch
    ) -> None:
        super().__init__()
        self._transport = transport
        self._close = close
        self._watch = watch
        self.write_closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - as asyncio
        """Return information about the connection; see `asyncio.BaseTransport`."""
        return self._transport.get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write, unless the last response was sent."""
        if not self.write_closed:
            self._transport.write(data)
            self._watch.add_written(len(data))

    def pause_reading(self) -> None:
        """Stop reading; see `asyncio.ReadTransport`."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again; see `asyncio.ReadTransport`."""
        self._transport.resume_reading()

    def is_closing(self) -> bool:
        """Return whether no further response can be sent."""
        return self.write_closed or self._transport.is_closing()

    def close(self) -> None:
        """Close the connection, or first its write side."""
        self._close()


class BoundedProtocol(HttpToolsProtocol):
    """Limits the size and duration of request heads, and requires exactly one Host.

    If the client is still sending, only the write side is closed first (RFC 9112, section 9.6).
    Closing a socket with unread bytes resets the connection, and the reset can overtake the
    response.
    """

    transport: HalfClosableTransport

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - those of uvicorn
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        # Bytes received since the parser last reported something. It does not report a header
        # field or chunk extension before its end, which may never come.
        self._unreported_bytes = 0
        self._has_begun = False
        self._refusal: DocvaultError | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None
        self._lingering_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timeout of the first request head."""
        self._connection = transport
        self._watch = ReaderWatch(transport)
        super().connection_made(HalfClosableTransport(transport, self._close, self._watch))
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timers."""
        self._stop_timer()
        self._watch.stop()
        if self._linger_timer is not None:
            self._linger_timer.cancel()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Reset the counters; each request on the connection has its own timeout."""
        self._head_bytes = 0
        self._has_begun = True
        if self._head_timer is None:
            self._expect_head()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Check the length of the URL."""
        super().on_url(url)
        self._count(url)
        if len(self.url) > URL_BYTES:
            self._refuse(HeaderTooLarge("The URL is too long."))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Check the total size of the header fields, and ignore trailers.

        uvicorn would merge trailers into the header, which RFC 9110, section 6.5.1, forbids: they
        could act as credentials or conditions, depending on when they arrive.
        """
        self._count(name, value)
        if self._has_begun:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Reject what a proxy could interpret differently (RFC 9112)."""
        self._stop_timer()
        self._has_begun = False
        self._unreported_bytes = 0
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) > 1 or (not hosts and self.parser.get_http_version() == "1.1"):
            self._refuse(MalformedRequest("A request must have exactly one Host header."))
        if hosts and not _HOST.fullmatch(hosts[0]):
            self._refuse(MalformedRequest("The Host header is invalid (RFC 9112, section 3.2)."))
        if b"#" in self.url:
            self._refuse(MalformedRequest("The request target must not have a fragment."))
        names = {name for name, _ in self.headers}
        if {b"content-length", b"transfer-encoding"} <= names:
            self._refuse(
                MalformedRequest("Content-Length and Transfer-Encoding must not both be present.")
            )
        codings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        if codings not in ([], [b"chunked"]):
            # Nothing would decode another coding, so it would become part of the body.
            self._refuse(MalformedRequest("The only supported transfer coding is chunked."))
        if self.parser.get_method() == _CONNECT:
            self._refuse(MalformedRequest("This service is not a proxy."))
        if not self.parser.should_upgrade():
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass a piece of the body on, without uvicorn's copy."""
        self._unreported_bytes = 0
        if not self.cycle.body:
            # Adding to empty bytes does not copy, unlike adding to uvicorn's bytearray.
            self.cycle.body = b""  # type: ignore[assignment]  # uvicorn only adds and converts
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Reset the counter of bytes."""
        self._unreported_bytes = 0
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Parse the data, and send a rejection as a problem."""
        if self.transport.write_closed:
            self._drop(len(data))
            return
        self._unreported_bytes += len(data)
        self._unset_keepalive_if_required()
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self._send_problem(self._refusal or MalformedRequest())
        if self._unreported_bytes > 2 * HEADER_BYTES and not self.transport.is_closing():
            self._send_problem(HeaderTooLarge())

    def _parse(self, data: bytes) -> None:
        """Parse the data; requests to upgrade the protocol are served without an upgrade."""
        rest = memoryview(data)
        while True:
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
                self._ignore_upgrade()
            else:
                return

    def _ignore_upgrade(self) -> None:
        """Parse the head once more, without the Upgrade header (RFC 9110, section 7.8).

        At an upgrade the parser takes what follows the head for another protocol. In fact it is the
        body, and then the next request.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        fields = [
            name + b": " + value for name, value in self.headers if name not in _UPGRADE_FIELDS
        ]
        lines = [b"%b %b HTTP/%b" % (method, self.url, version), *fields, b"", b""]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.parser.feed_data(b"\r\n".join(lines))

    def _count(self, *parts: bytes) -> None:
        self._head_bytes += sum(len(part) for part in parts)
        if self._head_bytes > HEADER_BYTES:
            self._refuse(HeaderTooLarge())

    def _refuse(self, refusal: DocvaultError) -> None:
        """Make the parser stop; it turns the exception into an error of its own."""
        self._refusal = refusal
        raise refusal

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(HEADER_SECONDS, self._on_head_timeout)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _on_head_timeout(self) -> None:
        self._head_timer = None
        if self.transport.is_closing():
            return
        if self._has_begun:
            self._send_problem(RequestTimeout())
        else:
            self.transport.close()

    def _close(self) -> None:
        """Close the connection; only its write side if the client is still sending a body."""
        if self.transport.write_closed:
            return
        if self.cycle is not None and self.cycle.response_complete and self.cycle.more_body:
            self._linger()
        else:
            self._connection.close()

    def _linger(self) -> None:
        """Close the write side, and wait for the client to close the connection."""
        self.transport.write_closed = True
        if self._connection.is_closing():
            return
        self.flow.resume_reading()
        self._connection.write_eof()
        self._linger_timer = self.loop.call_later(LINGER_SECONDS, self._connection.close)

    def _drop(self, number: int) -> None:
        self._lingering_bytes += number
        if self._lingering_bytes > LINGER_BYTES:
            self._connection.close()

    def _send_problem(self, error: DocvaultError) -> None:
        self._stop_timer()
        if self.cycle is not None and self.cycle.response_started != self.cycle.response_complete:
            # Another response has begun; this one would become a part of it.
            self._connection.close()
            return
        request_id = uuid_utils.compat.uuid7()
        problem = present_problem(error, request_id)
        body = problem.model_dump_json(exclude_unset=True).encode()
        path = (self.url or b"").partition(b"?")[0].decode("latin-1")
        # The headers that have arrived; without Origin a page sees only that the request failed.
        origins = origins_of(self.config.app)
        fields = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            *common_headers(request_id),
            NO_FRAMES,
            *cross_origin_headers(origins, "", path, self.headers or []),
            (b"cache-control", b"no-store"),
            (b"connection", b"close"),
        ]
        status = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}".encode()
        lines = [status, *(name + b": " + value for name, value in fields), b"", body]
        self.transport.write(b"\r\n".join(lines))
        self._linger()
