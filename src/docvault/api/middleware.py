"""What happens to every request: an id, a log line, HEAD, and early refusals (pure ASGI)."""

import asyncio
import logging
import time
from typing import Any
from uuid import UUID

import uuid_utils.compat
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from docvault.api.calls import Call
from docvault.api.problems import problem_response
from docvault.errors import DocvaultError, NotFound, Unavailable
from docvault.metrics import REQUESTS_IN_FLIGHT, observe_request
from docvault.tracing import name_span

log = logging.getLogger("docvault.access")

# Any other word for a method is the client's own, and stays out of logs and metrics.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


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
            if b"%2f" in (scope.get("raw_path") or b"").lower():
                # Nothing has a slash in its name. Taken for one between segments it would lead
                # past a proxy that allows some paths and no others (RFC 3986, section 2.2).
                await exchange.answer(NotFound())
                return
            with REQUESTS_IN_FLIGHT.track_inprogress():
                await self._app(exchange.scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            # The process does not wait any longer. Said by the server this would be a 500.
            if not exchange.has_started:
                error = Unavailable("The service stops. This was done completely or not at all.")
                await exchange.answer(error)
            raise
        except Exception:
            # A bug; the frames are in the log, under the same request id.
            log.exception("unexpected error", extra={"request_id": str(exchange.request_id)})
            if exchange.has_started:
                # Too late for an answer: let the server cut the connection.
                raise
            await exchange.answer(DocvaultError())
        finally:
            exchange.finish()


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._started = time.perf_counter()
        self._receive = receive
        self._send = send
        self._status = 0
        self._bytes_in = 0
        self._bytes_out = 0
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
        self._method = scope["method"] if scope["method"] in METHODS else "OTHER"

    @property
    def has_started(self) -> bool:
        """Whether the answer's headers are out."""
        return self._status != 0

    @property
    def _operation(self) -> str | None:
        return getattr(self.scope.get("route"), "operation_id", None)

    async def answer(self, error: DocvaultError) -> None:
        """Answer with a problem of our own."""
        self.scope["state"]["problem"] = error.code
        problem = problem_response(error, self.request_id)
        await problem(self.scope, self.receive, self.send)

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._bytes_in += len(message.get("body", b""))
            self._body_pending = message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            name_span(self._operation, self.request_id)
            message = {**message, "headers": [*self._headers(), *message["headers"]]}
        elif self._is_head and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self._send(message)
        self._bytes_out += len(message.get("body", b""))

    def _headers(self) -> list[tuple[bytes, bytes]]:
        headers = [
            (b"x-request-id", str(self.request_id).encode()),
            (b"x-content-type-options", b"nosniff"),
        ]
        stopping = getattr(self.scope["app"].state, "stopping", False)
        if self._body_pending or stopping:
            # What is still coming will not be read (SECURITY F28); and a client that keeps the
            # connection of a stopping process would lose its next request.
            headers.append((b"connection", b"close"))
        return headers

    def finish(self) -> None:
        """Write the log line and count the request; neither names anyone."""
        state, route = self.scope["state"], self.scope.get("route")
        operation, problem = self._operation, state.get("problem")
        call: Call | None = state.get("call")
        seconds = time.perf_counter() - self._started
        observe_request(operation, self._method, self._status, seconds, problem)
        log.info(
            "request",
            extra={
                "request_id": str(self.request_id),
                "method": self._method,
                "route": getattr(route, "path_format", None),
                "operation": operation,
                "status": self._status,
                "duration_ms": round(seconds * 1000, 2),
                "caller": call.asker.caller.kind if call else "none",
                "problem": problem,
                "bytes_in": self._bytes_in,
                "bytes_out": self._bytes_out,
            },
        )


def _announces_body(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    return headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
