"""Sending stored bytes (D9, D24)."""

import base64
import hashlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response
from starlette.types import Message, Receive, Scope, Send

from docvault import metrics
from docvault.api.conditional import field_value, is_not_modified, not_modified, require_match
from docvault.api.ranges import ByteRange, parse_range
from docvault.errors import StorageUnavailable
from docvault.rules.filenames import content_disposition
from docvault.rules.slots import FileFacts
from docvault.services.blobs import open_attached
from docvault.services.resources import Resources
from docvault.storage.base import BlobReader

log = logging.getLogger(__name__)

# Whole files up to this size are hashed on their way out.
VERIFY_BYTES = 32 * 1024 * 1024
REDIRECT_SECONDS = 60

_INLINE_IMAGES = {"image/jpeg", "image/png", "image/webp", "image/gif"}
# Beside `nosniff`, which every answer has.
SAFE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-cache",
}

Disposition = Literal["attachment", "inline"]
DispositionQuery = Annotated[
    Disposition,
    Query(
        description="`inline` is honoured for JPEG, PNG, WebP and GIF and for PDF without active "
        "content; anything else is an attachment all the same."
    ),
]
FileQuery = Annotated[int, Query(ge=1, le=20, description="Which file of the document, from 1.")]

TAG_HEADER = {"ETag": {"description": "The SHA-256.", "schema": {"type": "string"}}}
CONTENT_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The bytes as they were uploaded.",
        "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
        "headers": {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in {
                "Content-Disposition": "With the file name in both forms (RFC 6266, RFC 8187).",
                "ETag": "The SHA-256 of the file.",
                "Repr-Digest": "The SHA-256 of the file (RFC 9530).",
                "Accept-Ranges": "bytes",
            }.items()
        },
    },
    206: {
        "description": "The bytes of the requested range.",
        "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
        "headers": {
            "Content-Range": {"description": "Which bytes.", "schema": {"type": "string"}},
            **TAG_HEADER,
        },
    },
    307: {
        "description": "Where the store itself sends the bytes, for a minute; by a setting.",
        "headers": {"Location": {"description": "Signed.", "schema": {"type": "string"}}},
    },
    304: {"description": "The client has these bytes.", "headers": TAG_HEADER},
}


@dataclass(frozen=True, slots=True)
class StoredContent:
    """Bytes to send, and what is known about them."""

    blob_key: str
    size_bytes: int
    sha256: str
    media_type: str
    filename: str
    disposition: Disposition

    @property
    def entity_tag(self) -> str:
        """The strong entity tag: the SHA-256 itself."""
        return f'"{self.sha256}"'

    def headers(self) -> dict[str, str]:
        """Return the headers every answer with these bytes carries."""
        digest = base64.b64encode(bytes.fromhex(self.sha256)).decode()
        return {
            **SAFE_HEADERS,
            "Content-Disposition": content_disposition(self.disposition, self.filename),
            "Accept-Ranges": "bytes",
            "ETag": self.entity_tag,
            "Repr-Digest": f"sha-256=:{digest}:",
        }


def stored_file(file: FileFacts, disposition: Disposition) -> StoredContent:
    """Return a document's file as content to send."""
    inline = disposition == "inline" and (
        file.media_type in _INLINE_IMAGES
        or (file.media_type == "application/pdf" and not file.has_active_content)
    )
    return StoredContent(
        blob_key=file.blob_key,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        media_type=file.media_type,
        filename=file.filename,
        disposition="inline" if inline else "attachment",
    )


def unchanged(request: Request, content: StoredContent) -> Response | None:
    """Return a 304 when the client has these bytes; raises `PreconditionFailed`."""
    require_match(request, content.entity_tag)
    if not is_not_modified(request, content.entity_tag):
        return None
    return not_modified(content.headers())


def requested_range(request: Request, content: StoredContent) -> ByteRange | None:
    """Return the range to send, None for everything; raises `RangeNotSatisfiable`."""
    # A range is defined for GET alone (RFC 9110, section 14.2).
    if request.state.is_head:
        return None
    if_range = request.headers.get("if-range")
    if if_range is not None and if_range.strip() != content.entity_tag:
        return None
    return parse_range(field_value(request, "range"), content.size_bytes)


def content_response(
    resources: Resources, content: StoredContent, byte_range: ByteRange | None, *, is_head: bool
) -> Response:
    """Return what sends the bytes: ourselves, or whoever the deployment lets do it."""
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
    """Streams a blob. It is opened before the headers go out, after the transaction ended."""

    def __init__(
        self, resources: Resources, content: StoredContent, byte_range: ByteRange | None
    ) -> None:
        self._resources = resources
        self._content = content
        self._range = byte_range or ByteRange(0, content.size_bytes)
        self._is_whole = byte_range is None
        headers = {**content.headers(), "Content-Length": str(self._range.length)}
        if byte_range is not None:
            headers["Content-Range"] = byte_range.content_range(content.size_bytes)
        super().__init__(None, 206 if byte_range else 200, headers, content.media_type)
        # Starlette sets the length of an empty body and a charset for text; both are ours.
        self.raw_headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in {**headers, "Content-Type": content.media_type}.items()
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send headers and bytes."""
        del receive
        reader = await self._open()
        start: Message | None = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        is_head = scope.get("state", {}).get("is_head", False)
        try:
            async for body, more in _no_body() if is_head else self._verified(reader):
                if start is not None:
                    await send(start)
                    start = None
                await send({"type": "http.response.body", "body": body, "more_body": more})
                metrics.DOWNLOAD_BYTES.inc(len(body))
        finally:
            await reader.close()

    async def _open(self) -> BlobReader:
        reader = await open_attached(self._resources, self._content.blob_key)
        if reader.size_bytes != self._content.size_bytes:
            await reader.close()
            metrics.BLOBS_DAMAGED.inc()
            log.error("blob has the wrong size", extra={"blob_key": self._content.blob_key})
            raise StorageUnavailable
        return reader

    async def _verified(self, reader: BlobReader) -> AsyncIterator[tuple[bytes, bool]]:
        """Yield chunks and whether more follow, the last only when the hash is right.

        A file of one chunk is thus found damaged before the headers are out (503); a longer
        one ends too early, which the client can tell from its length.
        """
        verify = self._is_whole and self._content.size_bytes <= VERIFY_BYTES
        digest = hashlib.sha256()
        held: bytes | None = None
        async for chunk in reader.chunks(self._range.start, self._range.length):
            if held is not None:
                yield held, True
            held = chunk
            if verify:
                digest.update(chunk)
        if verify and digest.hexdigest() != self._content.sha256:
            metrics.BLOBS_DAMAGED.inc()
            log.error("blob is damaged", extra={"blob_key": self._content.blob_key})
            raise StorageUnavailable
        yield held or b"", False


class AcceleratedResponse(ContentResponse):
    """Lets nginx send the file; it also picks the range out of it."""

    def __init__(self, resources: Resources, content: StoredContent, location: str) -> None:
        super().__init__(resources, content, None)
        # The length is that of our own, empty answer; that it knows ranges, nginx says itself.
        replaced = (b"content-length", b"accept-ranges")
        self.raw_headers = [h for h in self.raw_headers if h[0] not in replaced]
        self.raw_headers += [
            (b"x-accel-redirect", location.encode("latin-1")),
            (b"content-length", b"0"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send headers alone, once the bytes are known to be there."""
        del scope, receive
        await (await self._open()).close()
        await _send_headers(send, 200, self.raw_headers)


class RedirectedResponse(ContentResponse):
    """Sends the client to the store, which sends the bytes or a range of them."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a redirect that is good for a minute, once the bytes are known to be there."""
        await (await self._open()).close()
        url = await self._resources.store.presign_get(
            self._content.blob_key,
            media_type=self._content.media_type,
            disposition=self._content.headers()["Content-Disposition"],
            seconds=REDIRECT_SECONDS,
        )
        if url is None:
            await super().__call__(scope, receive, send)
            return
        # The URL is a credential: nobody keeps it, nobody passes it on.
        headers = {**SAFE_HEADERS, "Cache-Control": "no-store", "Location": url}
        headers["Content-Length"] = "0"
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await _send_headers(send, 307, raw)


async def _send_headers(send: Send, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def _no_body() -> AsyncIterator[tuple[bytes, bool]]:
    yield b"", False
