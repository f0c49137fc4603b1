"""uvicorn's HTTP protocol with the bounds it lacks (SECURITY F2 to F5).

A reverse proxy belongs in front; this is for the time there is none, and a second net behind it.
"""

import asyncio
from http import HTTPStatus
from typing import Any

import uuid_utils.compat
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from docvault.api.problems import MEDIA_TYPE, problem_of
from docvault.errors import DocvaultError, HeaderTooLarge, MalformedRequest, RequestTimeout

HEADER_BYTES = 32 * 1024
URL_BYTES = 8 * 1024
HEADER_SECONDS = 10


class BoundedProtocol(HttpToolsProtocol):
    """Limits size and time of a request's head, and asks for exactly one Host."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - those of uvicorn
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._has_begun = False
        self._refusal: DocvaultError | None = None
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_timer()
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
        """Bound the header fields together."""
        self._count(name, value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Check what routers in between could understand differently (RFC 9112)."""
        self._stop_timer()
        self._has_begun = False
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) > 1 or (not hosts and self.parser.get_http_version() == "1.1"):
            self._refuse(MalformedRequest("A request has exactly one Host."))
        names = {name for name, _ in self.headers}
        if {b"content-length", b"transfer-encoding"} <= names:
            self._refuse(
                MalformedRequest("Content-Length and Transfer-Encoding exclude each other.")
            )
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Parse; what is refused is answered in `send_400_response`."""
        super().data_received(data)
        if self._has_begun and not self.transport.is_closing():
            # A header field that never ends is not reported by the parser.
            self._pending_bytes(len(data))

    def send_400_response(self, msg: str) -> None:
        """Answer with a problem, as everywhere else, and close."""
        del msg
        self._answer(self._refusal or MalformedRequest())

    def _pending_bytes(self, number: int) -> None:
        self._head_bytes += number
        if self._head_bytes > 2 * HEADER_BYTES:
            self._answer(HeaderTooLarge())

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

    def _answer(self, error: DocvaultError) -> None:
        self._stop_timer()
        problem = problem_of(error, uuid_utils.compat.uuid7())
        body = problem.model_dump_json(exclude_unset=True).encode()
        head = (
            f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n"
            f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
            "cache-control: no-store\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
