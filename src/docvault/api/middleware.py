"""What happens to every request: an id, a log line, HEAD, and early refusals (pure ASGI)."""

import logging
import time
from typing import Any
from uuid import UUID

import uuid_utils.compat
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from docvault.api.problems import problem_response
from docvault.errors import DocvaultError

log = logging.getLogger("docvault.access")


class RequestMiddleware:
    """Gives each request its id and each answer what all answers share."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        try:
            await self._app(exchange.scope, exchange.receive, exchange.send)
        except Exception:
            # A bug; the frames are in the log, under the same request id.
            log.exception("unexpected error", extra={"request_id": str(exchange.request_id)})
            if exchange.has_started:
                # Too late for an answer: let the server cut the connection.
                raise
            problem = problem_response(DocvaultError(), exchange.request_id)
            await problem(exchange.scope, exchange.receive, exchange.send)
        finally:
            exchange.log()


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._started = time.perf_counter()
        self._receive = receive
        self._send = send
        self._status = 0
        self._is_head = scope["method"] == "HEAD"
        self._body_pending = _announces_body(scope)
        self.request_id: UUID = uuid_utils.compat.uuid7()
        state: dict[str, Any] = {
            **scope.get("state", {}),
            "request_id": self.request_id,
            "is_head": self._is_head,
        }
        # HEAD is GET without the body (RFC 9110, section 9.3.2).
        method = "GET" if self._is_head else scope["method"]
        self.scope: Scope = {**scope, "method": method, "state": state}
        self._method = scope["method"]

    @property
    def has_started(self) -> bool:
        """Whether the answer's headers are out."""
        return self._status != 0

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            self._body_pending = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            message = {**message, "headers": [*self._headers(), *message["headers"]]}
        elif self._is_head and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self._send(message)

    def _headers(self) -> list[tuple[bytes, bytes]]:
        headers = [
            (b"x-request-id", str(self.request_id).encode()),
            (b"x-content-type-options", b"nosniff"),
        ]
        if self._body_pending:
            # What is still coming will not be read (SECURITY F28).
            headers.append((b"connection", b"close"))
        return headers

    def log(self) -> None:
        route = self.scope.get("route")
        log.info(
            "request",
            extra={
                "request_id": str(self.request_id),
                "method": self._method,
                "route": getattr(route, "path_format", None),
                "operation": getattr(route, "operation_id", None),
                "status": self._status,
                "duration_ms": round((time.perf_counter() - self._started) * 1000, 2),
            },
        )


def _announces_body(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    return headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
