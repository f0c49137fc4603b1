"""Pure ASGI middleware: request ids, the access log, HEAD, and last-resort errors."""

import asyncio
import logging
import time
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any
from uuid import UUID

import uuid_utils.compat
from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from docvault.api.http.body import has_body
from docvault.api.http.cors import Header, cross_origin_headers, origins_of, preflight_response
from docvault.api.http.problems import problem_response
from docvault.api.routing.requests import ApiRequest
from docvault.domain.rate_limits import Allowance
from docvault.errors import DocvaultError, InternalError, NotFound, ServiceUnavailable
from docvault.observability.logs import ACCESS_LOGGER
from docvault.observability.metrics import REQUESTS_IN_FLIGHT, observe_request
from docvault.observability.tracing import name_span

log = logging.getLogger(ACCESS_LOGGER)

# Other method names are arbitrary client input, which stays out of logs and metrics.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

# Load balancers and orchestrators send one every few seconds.
_PROBES = {"read_liveness", "read_readiness"}
_FIRST_ERROR = 400

_POLICY = b"content-security-policy"
# Stored files and the reference have policies of their own.
NO_FRAMES = (_POLICY, b"frame-ancestors 'none'")

_STOPPING = "The service is shutting down; the request was applied fully or not at all. Retry it."


def common_headers(request_id: UUID) -> list[Header]:
    """Return the headers of every response, even to a request that could not be parsed."""
    return [
        (b"x-request-id", str(request_id).encode()),
        (b"x-content-type-options", b"nosniff"),
    ]


class RequestMiddleware:
    """Gives each request its id and each response the common headers.

    `prefix` is the path below which clients reach the service, whether or not a proxy strips it.
    """

    def __init__(self, app: ASGIApp, prefix: str = "") -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._prefix:
            scope, send = _strip_prefix(scope, self._prefix), _prefix_location(send, self._prefix)
        exchange = _Exchange(scope, receive, send)
        try:
            if b"%2f" in (scope.get("raw_path") or b"").lower():
                # No path segment contains an encoded slash. Decoded (RFC 3986, section 2.2) it
                # would bypass a proxy that allows only some paths.
                await exchange.send_problem(NotFound())
                return
            with REQUESTS_IN_FLIGHT.track_inprogress():
                respond = exchange.preflight_response() or self._app
                await respond(exchange.scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            # Shutdown cancelled the request: respond with 503 rather than uvicorn's 500.
            if not exchange.has_started:
                await exchange.send_problem(ServiceUnavailable(_STOPPING))
            raise
        except Exception:
            # A bug; the frames are in the log, under the same request id.
            log.exception("unexpected error", extra={"request_id": str(exchange.request_id)})
            if exchange.has_started:
                # Too late for a problem response: let the server close the connection.
                raise
            await exchange.send_problem(InternalError())
        finally:
            exchange.finish()


def _strip_prefix(scope: Scope, prefix: str) -> Scope:
    """Return the scope as if the proxy had stripped the prefix."""
    if not scope["path"].startswith(f"{prefix}/"):
        return scope
    raw_path = scope.get("raw_path") or b""
    return {
        **scope,
        "path": scope["path"].removeprefix(prefix),
        "raw_path": raw_path.removeprefix(prefix.encode()),
    }


def _prefix_location(send: Send, prefix: str) -> Send:
    """Add the prefix to a `Location` within the service; those in the store are URLs."""

    async def send_prefixed(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [
                (name, prefix.encode() + value)
                if name == b"location" and value.startswith(b"/")
                else (name, value)
                for name, value in message["headers"]
            ]
            message = {**message, "headers": headers}
        await send(message)

    return send_prefixed


class _Exchange:
    """One request and its response."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._started = time.perf_counter()
        self._receive = receive
        self._send = send
        self._status = 0
        self._bytes_in = 0
        self._bytes_out = 0
        self._held = ExitStack()
        self._is_head = scope["method"] == "HEAD"
        self._body_pending = has_body(scope)
        self.request_id: UUID = uuid_utils.compat.uuid7()
        state: dict[str, Any] = {
            **scope.get("state", {}),
            "request_id": self.request_id,
            "is_head": self._is_head,
            # Context managers that stay open until the response has been sent.
            "held": self._held,
        }
        # HEAD is GET without the body (RFC 9110, section 9.3.2).
        method = "GET" if self._is_head else scope["method"]
        self.scope: Scope = {**scope, "method": method, "state": state}
        self._method = scope["method"] if scope["method"] in METHODS else "OTHER"
        self._origins = origins_of(scope["app"])

    @property
    def has_started(self) -> bool:
        """Whether the response headers have been sent."""
        return self._status != 0

    @property
    def _operation(self) -> str | None:
        return getattr(self.scope.get("route"), "operation_id", None)

    async def send_problem(self, error: DocvaultError) -> None:
        self.scope["state"]["problem"] = error.code
        problem = problem_response(error, self.request_id)
        await problem(self.scope, self.receive, self.send)

    def preflight_response(self) -> ASGIApp | None:
        """Return the response to a permitted CORS preflight."""
        if self._method != "OPTIONS":
            return None
        return preflight_response(self._origins, Request(self.scope))

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
            message = {**message, "headers": self._complete(message["headers"])}
        elif self._is_head and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self._send(message)
        self._bytes_out += len(message.get("body", b""))

    def _complete(self, given: Iterable[Header]) -> list[Header]:
        """Return the headers of a response, those that every response has included."""
        scope = self.scope
        headers = [
            *common_headers(self.request_id),
            *cross_origin_headers(self._origins, self._method, scope["path"], scope["headers"]),
            *given,
        ]
        names = {name for name, _ in headers}
        if _POLICY not in names:
            headers.append(NO_FRAMES)
        allowance: Allowance | None = scope["state"].get("allowance")
        # A 429 already has them, of the limit that was reached.
        if allowance is not None and b"ratelimit" not in names:
            headers += [(k.lower().encode(), v.encode()) for k, v in allowance.headers().items()]
        stopping = getattr(self.scope["app"].state, "stopping", False)
        if self._body_pending or stopping:
            # The rest of the body will not be read (F28); and a client that reuses the connection
            # of a stopping process would lose its next request.
            headers.append((b"connection", b"close"))
        return headers

    def finish(self) -> None:
        """Write the access log line and the metrics, without personal data.

        A health check that succeeds is logged at the level debug only.
        """
        self._held.close()
        state, route = self.scope["state"], self.scope.get("route")
        operation, problem = self._operation, state.get("problem")
        request: ApiRequest | None = state.get("request")
        seconds = time.perf_counter() - self._started
        observe_request(operation, self._method, self._status, seconds, problem)
        is_probe = operation in _PROBES and self._status < _FIRST_ERROR
        log.log(
            logging.DEBUG if is_probe else logging.INFO,
            "request",
            extra={
                "request_id": str(self.request_id),
                "method": self._method,
                "route": getattr(route, "path_format", None),
                "operation": operation,
                "status": self._status,
                "duration_ms": round(seconds * 1000, 2),
                "caller": request.context.actor.kind if request else "none",
                "problem": problem,
                **({"cause": state["cause"]} if state.get("cause") else {}),
                "bytes_in": self._bytes_in,
                "bytes_out": self._bytes_out,
            },
        )
