"""Reading a request body within limits of size and time (D18, D19)."""

import asyncio
import time
from collections.abc import AsyncIterator

from fastapi import Request
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Scope

from docvault.errors import (
    ContentTooLarge,
    MalformedRequest,
    RequestTimeout,
    UnsupportedContentEncoding,
)

SLOW_AFTER_SECONDS = 30
MIN_BYTES_PER_SECOND = 8 * 1024


def has_body(scope: Scope) -> bool:
    """Return whether the headers of a request declare a body."""
    headers = Headers(scope=scope)
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def content_length(request: Request) -> int | None:
    """Return the Content-Length, None if the body is chunked or absent."""
    value = request.headers.get("content-length")
    if value is None:
        return None
    if not value.isascii() or not value.isdigit():
        raise MalformedRequest("The Content-Length is not a number.")
    return int(value)


def _reject_content_encoding(request: Request) -> None:
    """Reject Content-Encoding: limits and inspection apply to the raw bytes.

    See RFC 9110, sections 8.4 and 15.5.16.
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.strip().lower() != "identity":
        raise UnsupportedContentEncoding(
            parameter="Content-Encoding", headers={"Accept-Encoding": "identity"}
        )


async def read_body(request: Request, limit: int) -> bytes:
    """Return the whole body; raises `ContentTooLarge` and `RequestTimeout`."""
    too_large = ContentTooLarge(members={"limit_bytes": limit})
    chunks = [chunk async for chunk in stream_body(request, limit, too_large)]
    return b"".join(chunks)


async def stream_body(
    request: Request, limit: int, too_large: ContentTooLarge
) -> AsyncIterator[bytes]:
    """Yield the body as it arrives.

    Raises `too_large` if more than `limit` bytes are declared or received, `RequestTimeout` if
    the body stalls, trickles or takes too long in total, and `UnsupportedContentEncoding` if it is
    compressed.
    """
    _reject_content_encoding(request)
    declared = content_length(request)
    if declared is not None and declared > limit:
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
            raise MalformedRequest("The body is incomplete.") from None
        if chunk is None:
            return
        received += len(chunk)
        if received > limit:
            raise too_large
        if chunk:
            yield chunk
