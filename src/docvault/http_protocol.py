"""uvicorn's HTTP protocol with the bounds it lacks (SECURITY F2 to F5).

A reverse proxy belongs in front; this is for the time there is none, and a second net behind it.
"""

import asyncio
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import uuid_utils.compat
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from docvault.api.problems import MEDIA_TYPE, problem_of
from docvault.errors import DocvaultError, HeaderTooLarge, MalformedRequest, RequestTimeout

HEADER_BYTES = 32 * 1024
URL_BYTES = 8 * 1024
HEADER_SECONDS = 10
# How long and how much a client may go on sending after a refusal, so that it reads the answer.
LINGER_SECONDS = 5
LINGER_BYTES = 32 * 1024 * 1024

# A name or an address, and a port (RFC 9110, section 7.2).
_HOST = re.compile(rb"(?:[A-Za-z0-9._~%!$&'()*+,;=-]+|\[[0-9A-Fa-f:.]+\])(?::\d{0,5})?")


class StagedTransport(asyncio.Transport):
    """The connection as uvicorn sees it: closed for writing when our side is done with it."""

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        super().__init__()
        self._transport = transport
        self._close = close
        self.is_done = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - as asyncio
        """Return what the connection knows."""
        return self._transport.get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write, unless the last answer is out."""
        if not self.is_done:
            self._transport.write(data)

    def pause_reading(self) -> None:
        """Leave what comes to the kernel."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take what comes again."""
        self._transport.resume_reading()

    def is_closing(self) -> bool:
        """Return whether no further answer can be sent."""
        return self.is_done or self._transport.is_closing()

    def close(self) -> None:
        """Close, perhaps in steps."""
        self._close()


class BoundedProtocol(HttpToolsProtocol):
    """Limits size and time of a request's head, and asks for exactly one Host.

    A connection whose client is still sending is closed in steps (RFC 9112, section 9.6): a
    socket closed over bytes that nobody read resets, and the reset can overtake the answer.
    """

    transport: StagedTransport

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - those of uvicorn
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        # What came since the parser last reported a whole piece: a field or the extension of a
        # chunk that never ends is not reported.
        self._held_bytes = 0
        self._has_begun = False
        self._refusal: DocvaultError | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None
        self._lingering_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head."""
        self._connection = transport
        super().connection_made(StagedTransport(transport, self._close))
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_timer()
        if self._linger_timer is not None:
            self._linger_timer.cancel()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Count anew; a further request on the connection gets its own time."""
        self._head_bytes = 0
        self._has_begun = True
        if self._head_timer is None:
            self._expect_head()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Bound the URL."""
        super().on_url(url)
        self._count(url)
        if len(self.url) > URL_BYTES:
            self._refuse(HeaderTooLarge("The URL is too long."))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Bound the header fields together, and drop those that come behind a chunked body.

        Merged into the others (RFC 9110, section 6.5.1, forbids it) they would be a credential or
        a condition, depending on how fast they come.
        """
        self._count(name, value)
        if self._has_begun:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Check what routers in between could understand differently (RFC 9112)."""
        self._stop_timer()
        self._has_begun = False
        self._held_bytes = 0
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) > 1 or (not hosts and self.parser.get_http_version() == "1.1"):
            self._refuse(MalformedRequest("A request has exactly one Host."))
        if hosts and not _HOST.fullmatch(hosts[0]):
            self._refuse(MalformedRequest("The Host is not one (RFC 9112, section 3.2)."))
        if b"#" in self.url:
            self._refuse(MalformedRequest("The target of a request has no fragment."))
        names = {name for name, _ in self.headers}
        if {b"content-length", b"transfer-encoding"} <= names:
            self._refuse(
                MalformedRequest("Content-Length and Transfer-Encoding exclude each other.")
            )
        codings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        if codings not in ([], [b"chunked"]):
            # Taken off by nobody, a second coding would be part of the body.
            self._refuse(MalformedRequest("The only transfer coding is chunked."))
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Hand a piece on; adding it to nothing does not copy it, unlike adding it to an array."""
        self._held_bytes = 0
        if not self.cycle.body:
            self.cycle.body = b""  # type: ignore[assignment]  # uvicorn only adds and converts
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Begin to count anew."""
        self._held_bytes = 0
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Parse; what is refused is answered in `send_400_response`."""
        if self.transport.is_done:
            self._drop(len(data))
            return
        self._held_bytes += len(data)
        super().data_received(data)
        if self._held_bytes > 2 * HEADER_BYTES and not self.transport.is_closing():
            self._answer(HeaderTooLarge())

    def send_400_response(self, msg: str) -> None:
        """Answer with a problem, as everywhere else, and close."""
        del msg
        self._answer(self._refusal or MalformedRequest())

    def _count(self, *parts: bytes) -> None:
        self._head_bytes += sum(len(part) for part in parts)
        if self._head_bytes > HEADER_BYTES:
            self._refuse(HeaderTooLarge())

    def _refuse(self, refusal: DocvaultError) -> None:
        """Make the parser give up; it turns this into its own error."""
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
            self._answer(RequestTimeout())
        else:
            self.transport.close()

    def _close(self) -> None:
        """Close for uvicorn: at once, unless the rest of a refused body is on its way."""
        if self.transport.is_done:
            return
        if self.cycle is not None and self.cycle.response_complete and self.cycle.more_body:
            self._linger()
        else:
            self._connection.close()

    def _linger(self) -> None:
        """Say that no more will come from us, and wait for the client to close."""
        self.transport.is_done = True
        if self._connection.is_closing():
            return
        self.flow.resume_reading()
        self._connection.write_eof()
        self._linger_timer = self.loop.call_later(LINGER_SECONDS, self._connection.close)

    def _drop(self, number: int) -> None:
        self._lingering_bytes += number
        if self._lingering_bytes > LINGER_BYTES:
            self._connection.close()

    def _answer(self, error: DocvaultError) -> None:
        self._stop_timer()
        if self.cycle is not None and self.cycle.response_started != self.cycle.response_complete:
            # Inside another answer this one would be taken for a part of it.
            self._connection.close()
            return
        problem = problem_of(error, uuid_utils.compat.uuid7())
        body = problem.model_dump_json(exclude_unset=True).encode()
        head = (
            f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n"
            f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
            "cache-control: no-store\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self._linger()
