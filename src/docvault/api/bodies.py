"""Reading a request body under bounds of size and time (D18, D19)."""

import asyncio
import time
from collections.abc import AsyncIterator

from fastapi import Request
from starlette.requests import ClientDisconnect

from docvault.errors import (
    BodyTooLarge,
    ContentTooLarge,
    MalformedRequest,
    MediaTypeNotAllowed,
    RequestTimeout,
)

SLOW_AFTER_SECONDS = 30
MIN_BYTES_PER_SECOND = 8 * 1024


def has_body(request: Request) -> bool:
    """Return whether the request announces a body."""
    headers = request.headers
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def announced_bytes(request: Request) -> int | None:
    """Return the Content-Length, None when the body is chunked or absent."""
    value = request.headers.get("content-length")
    if value is None:
        return None
    if not value.isascii() or not value.isdigit():
        raise MalformedRequest("The Content-Length is not a number.")
    return int(value)


def _refuse_encoding(request: Request) -> None:
    """Take bodies as they are: what is compressed would be judged, and bounded, as something else.

    RFC 9110, sections 8.4 and 15.5.16.
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.strip().lower() != "identity":
        raise MediaTypeNotAllowed(
            "The body must not be encoded.",
            parameter="Content-Encoding",
            headers={"Accept-Encoding": "identity"},
        )


async def read_body(request: Request, limit: int) -> bytes:
    """Return the whole body; raises `BodyTooLarge` and `RequestTimeout`."""
    too_large = BodyTooLarge(members={"limit_bytes": limit})
    chunks = [chunk async for chunk in stream_body(request, limit, too_large)]
    return b"".join(chunks)


async def stream_body(
    request: Request, limit: int, too_large: ContentTooLarge
) -> AsyncIterator[bytes]:
    """Yield the body as it arrives.

    Raises `too_large` when more than `limit` bytes are announced or come,
    `RequestTimeout` when they stall, trickle, or take too long in all, and
    `MediaTypeNotAllowed` when they are compressed.
    """
    _refuse_encoding(request)
    announced = announced_bytes(request)
    if announced is not None and announced > limit:
        raise too_large
    settings = request.app.state.resources.settings
    started = time.monotonic()
    received = 0
    stream = request.stream()
    while True:
        elapsed = time.monotonic() - started
        left = min(settings.body_idle_seconds, settings.body_total_seconds - elapsed)
        trickles = elapsed > SLOW_AFTER_SECONDS and received < elapsed * MIN_BYTES_PER_SECOND
        if left <= 0 or trickles:
            raise RequestTimeout
        try:
            async with asyncio.timeout(left):
                chunk = await anext(stream, None)
        except TimeoutError:
            raise RequestTimeout from None
        except ClientDisconnect:
            raise MalformedRequest("The body ended too early.") from None
        if chunk is None:
            return
        received += len(chunk)
        if received > limit:
            raise too_large
        if chunk:
            yield chunk
