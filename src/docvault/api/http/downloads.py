"""Responses with stored files and previews (D9, D24)."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response
from starlette.types import Message, Receive, Scope, Send

from docvault.api.http.conditional import field_value, is_not_modified, not_modified, require_match
from docvault.api.http.ranges import ByteRange, parse_range
from docvault.api.routing.requests import ApiRequest
from docvault.domain.documents import StoredFile
from docvault.domain.filenames import content_disposition
from docvault.domain.media_types import may_be_inline
from docvault.domain.web_origins import WebOrigins
from docvault.observability import metrics
from docvault.schemas.document_types import MAX_FILES
from docvault.services.blobs import corrupt_blob, open_blob
from docvault.services.resources import Resources
from docvault.settings import Settings
from docvault.storage.base import CHUNK_BYTES, BlobReader

# Complete files up to this size are hashed while they are sent.
VERIFY_BYTES = 32 * 1024 * 1024
REDIRECT_SECONDS = 60


Disposition = Literal["attachment", "inline"]
DispositionQuery = Annotated[
    Disposition,
    Query(
        description="`inline` applies to JPEG, PNG, WebP, GIF, AVIF, and PDF without active "
        "content; any other file is sent as an attachment."
    ),
]
FileQuery = Annotated[
    int, Query(ge=1, le=MAX_FILES, description="The number of the file in the document, from 1.")
]

# One media type for all stored bytes: a client generator leaves out what it cannot map to bytes.
BYTES_CONTENT: dict[str, Any] = {
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
}
TAG_HEADER = {"ETag": {"description": "The SHA-256.", "schema": {"type": "string"}}}
CONTENT_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file as it was uploaded; `Content-Type` is its detected media type.",
        "content": BYTES_CONTENT,
        "headers": {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in {
                "Content-Disposition": "The file name in both forms (RFC 6266, RFC 8187).",
                "ETag": "The SHA-256 of the file.",
                "Repr-Digest": "The SHA-256 of the file (RFC 9530).",
                "Accept-Ranges": "bytes",
            }.items()
        },
    },
    206: {
        "description": "The bytes of the requested range.",
        "content": BYTES_CONTENT,
        "headers": {
            "Content-Range": {
                "description": "The range sent.",
                "schema": {"type": "string"},
            },
            **TAG_HEADER,
        },
    },
    307: {
        "description": "A signed URL of the store, valid for one minute; if redirects are enabled.",
        "headers": {"Location": {"description": "The signed URL.", "schema": {"type": "string"}}},
    },
    304: {"description": "The client has the current file.", "headers": TAG_HEADER},
}


@dataclass(frozen=True, slots=True)
class StoredContent:
    """A stored blob and the headers it is sent with."""

    blob_key: str
    size_bytes: int
    sha256: str
    media_type: str
    filename: str
    disposition: Disposition
    # Whether pages of trusted origins may embed it.
    is_embeddable: bool = False

    @property
    def entity_tag(self) -> str:
        """The strong entity tag: the SHA-256."""
        return f'"{self.sha256}"'

    @property
    def content_disposition(self) -> str:
        """The header with the file name."""
        return content_disposition(self.disposition, self.filename)

    def safe_headers(self, origins: WebOrigins) -> dict[str, str]:
        """Return the headers of every response with stored bytes, in addition to `nosniff`."""
        ancestors = origins.frame_ancestors
        is_for_others = self.is_embeddable and origins.trusts_any
        return {
            "Content-Security-Policy": f"default-src 'none'; sandbox; frame-ancestors {ancestors}",
            "Cross-Origin-Resource-Policy": "cross-origin" if is_for_others else "same-origin",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "private, no-cache",
        }

    def headers(self, origins: WebOrigins) -> dict[str, str]:
        digest = base64.b64encode(bytes.fromhex(self.sha256)).decode()
        return {
            **self.safe_headers(origins),
            "Content-Disposition": self.content_disposition,
            "Accept-Ranges": "bytes",
            "ETag": self.entity_tag,
            "Repr-Digest": f"sha-256=:{digest}:",
        }


def describe_content(
    file: StoredFile, disposition: Disposition, *, is_embeddable: bool
) -> StoredContent:
    """Describe how a document's file is sent."""
    inline = disposition == "inline" and may_be_inline(
        file.media_type, is_active=file.has_active_content
    )
    return StoredContent(
        blob_key=file.blob_key,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        media_type=file.media_type,
        filename=file.filename,
        disposition="inline" if inline else "attachment",
        is_embeddable=is_embeddable,
    )


def respond_if_not_modified(request: ApiRequest, content: StoredContent) -> Response | None:
    """Return a 304 if the client has these bytes; raises `PreconditionFailed`."""
    require_match(request, content.entity_tag)
    if not is_not_modified(request, content.entity_tag):
        return None
    return not_modified(content.headers(request.resources.origins))


def parse_requested_range(request: Request, content: StoredContent) -> ByteRange | None:
    """Return the range to send, None for everything; raises `RangeNotSatisfiable`."""
    # A range is defined for GET alone (RFC 9110, section 14.2).
    if request.state.is_head:
        return None
    if_range = request.headers.get("if-range")
    if if_range is not None and if_range.strip() != content.entity_tag:
        return None
    return parse_range(field_value(request, "range"), content.size_bytes)


def is_plain_download(request: Request) -> bool:
    """Return whether the request is for the whole first file, whatever the client has."""
    conditions = ("range", "if-match", "if-none-match")
    is_conditional = any(name in request.headers for name in conditions)
    return not (request.state.is_head or request.scope["query_string"] or is_conditional)


def is_sent_here(settings: Settings) -> bool:
    """Return whether this process sends files itself, rather than the store or nginx."""
    return not (settings.redirect_downloads or settings.accel_prefix)


def limit_concurrent_downloads(
    request: ApiRequest, content: StoredContent, byte_range: ByteRange | None
) -> None:
    """Count the download as one of the caller's until the response is sent.

    A body of one chunk is not counted: it keeps no file open, and a page of thumbnails requests
    many of them at once. Raises `RateLimited`.
    """
    length = byte_range.length if byte_range else content.size_bytes
    if length > CHUNK_BYTES:
        request.state.held.enter_context(
            request.resources.rate_limits.concurrent_download(request.context.actor)
        )


def content_response(
    resources: Resources, content: StoredContent, byte_range: ByteRange | None, *, is_head: bool
) -> Response:
    """Serve the file directly, redirect to S3, or offload to nginx."""
    settings = resources.settings
    if is_head:
        return ContentResponse(resources, content, byte_range)
    if settings.redirect_downloads:
        return RedirectedResponse(resources, content, byte_range)
    if settings.accel_prefix:
        path = resources.store.relative_path(content.blob_key)
        return AcceleratedResponse(resources, content, f"{settings.accel_prefix}/{path}")
    return ContentResponse(resources, content, byte_range)


class ContentResponse(Response):
    """Streams a blob. It is opened after the transaction and before the headers are sent."""

    def __init__(
        self, resources: Resources, content: StoredContent, byte_range: ByteRange | None
    ) -> None:
        self._resources = resources
        self._content = content
        self._range = byte_range or ByteRange(0, content.size_bytes)
        self._is_whole = byte_range is None
        sent = content.headers(resources.origins)
        headers = {**sent, "Content-Length": str(self._range.length)}
        if byte_range is not None:
            headers["Content-Range"] = byte_range.content_range(content.size_bytes)
        super().__init__(None, 206 if byte_range else 200, headers, content.media_type)
        # Starlette would set the length of an empty body, and a charset for text.
        self.raw_headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in {**headers, "Content-Type": content.media_type}.items()
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reader = await self._open()
        try:
            if scope.get("state", {}).get("is_head", False):
                await _send_headers(send, self.status_code, self.raw_headers)
            elif self._range.length <= CHUNK_BYTES:
                await self._send_until(None, reader, send)
            else:
                with _watch_disconnect(receive) as disconnected:
                    await self._send_until(disconnected, reader, send)
        finally:
            await reader.close()

    async def _send_until(
        self, disconnected: "asyncio.Future[None] | None", reader: BlobReader, send: Send
    ) -> None:
        """Send the bytes; stop reading once the client has disconnected."""
        has_started = False
        async with aclosing(self._verified(reader)) as chunks:
            async for body, more in chunks:
                if not has_started:
                    await send(self._start())
                    has_started = True
                await send({"type": "http.response.body", "body": body, "more_body": more})
                metrics.DOWNLOAD_BYTES.inc(len(body))
                if disconnected is None or not more:
                    continue
                # This send waits until the chunk has left the server's buffer. Reading on before
                # that would hold two chunks for a slow client.
                await send({"type": "http.response.body", "body": b"", "more_body": True})
                if disconnected.done():
                    return

    def _start(self) -> Message:
        return {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }

    async def _open(self) -> BlobReader:
        reader = await open_blob(self._resources, self._content.blob_key)
        if reader.size_bytes != self._content.size_bytes:
            await reader.close()
            raise corrupt_blob(self._content.blob_key, "blob has the wrong size")
        return reader

    async def _verified(self, reader: BlobReader) -> AsyncGenerator[tuple[bytes, bool], None]:
        """Yield each chunk and whether more follow; the last one only if the hash matches.

        A corrupt file of one chunk is thus detected before the headers are sent (503); a longer
        one is cut short, which the client detects by its Content-Length.
        """
        verify = self._is_whole and self._content.size_bytes <= VERIFY_BYTES
        digest = hashlib.sha256()
        left = self._range.length
        async with aclosing(reader.chunks(self._range.start, self._range.length)) as chunks:
            async for chunk in chunks:
                left -= len(chunk)
                if verify:
                    digest.update(chunk)
                if verify and not left and digest.hexdigest() != self._content.sha256:
                    raise corrupt_blob(self._content.blob_key, "blob is corrupt")
                yield chunk, left > 0


class AcceleratedResponse(ContentResponse):
    """Lets nginx send the file or the requested range (X-Accel-Redirect)."""

    def __init__(self, resources: Resources, content: StoredContent, location: str) -> None:
        super().__init__(resources, content, None)
        # This response is empty, and nginx adds Accept-Ranges itself.
        replaced = (b"content-length", b"accept-ranges")
        self.raw_headers = [h for h in self.raw_headers if h[0] not in replaced]
        self.raw_headers += [
            (b"x-accel-redirect", location.encode("latin-1")),
            (b"content-length", b"0"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the headers if the blob exists."""
        del scope, receive
        await (await self._open()).close()
        await _send_headers(send, 200, self.raw_headers)


class RedirectedResponse(ContentResponse):
    """Redirects the client to the store, which sends the file or a range of it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a redirect that is valid for a minute, if the blob exists."""
        await (await self._open()).close()
        url = await self._resources.store.presign_get(
            self._content.blob_key,
            media_type=self._content.media_type,
            disposition=self._content.content_disposition,
            seconds=REDIRECT_SECONDS,
        )
        if url is None:
            await super().__call__(scope, receive, send)
            return
        # The URL is a credential, so it must be neither cached nor passed on as a referrer.
        headers = {
            **self._content.safe_headers(self._resources.origins),
            "Cache-Control": "no-store",
            "Location": url,
            "Content-Length": "0",
        }
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await _send_headers(send, 307, raw)


async def _send_headers(send: Send, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


@contextmanager
def _watch_disconnect(receive: Receive) -> Iterator["asyncio.Future[None]"]:
    """Watch for the client to disconnect; the future is done when it has."""
    disconnected = asyncio.ensure_future(_wait_for_disconnect(receive))
    try:
        yield disconnected
    finally:
        disconnected.cancel()


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
