"""Sending previews."""

from typing import Annotated, Any

from fastapi import Query, Response

from docvault.api.calls import Call
from docvault.api.content import (
    TAG_HEADER,
    ContentResponse,
    StoredContent,
    requested_range,
    unchanged,
)
from docvault.errors import (
    DocumentQuarantined,
    DocumentTypeUnknown,
    DocvaultError,
    NoFile,
    NoPreview,
    Overloaded,
    RangeNotSatisfiable,
    StorageUnavailable,
)
from docvault.rules.previews import PreviewSize
from docvault.services.previews import read_preview

SizeQuery = Annotated[
    PreviewSize,
    Query(description="The longest side: small 200, medium 800, large 1600 pixels at most."),
]

PREVIEW_ERRORS: tuple[type[DocvaultError], ...] = (
    DocumentTypeUnknown,
    NoFile,
    NoPreview,
    DocumentQuarantined,
    RangeNotSatisfiable,
    StorageUnavailable,
    Overloaded,
)
_PICTURE = {"schema": {"type": "string", "format": "binary"}}
PREVIEW_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The picture, upright and without metadata.",
        "content": {"image/jpeg": _PICTURE, "image/png": _PICTURE},
        "headers": TAG_HEADER,
    },
    206: {
        "description": "The bytes of the requested range.",
        "content": {"image/jpeg": _PICTURE, "image/png": _PICTURE},
        "headers": TAG_HEADER,
    },
    304: {"description": "The client has this picture.", "headers": TAG_HEADER},
}


async def send_preview(call: Call, key: str, *, file: int, size: PreviewSize) -> Response:
    """Send a preview, rendered on first demand."""
    facts, preview = await read_preview(
        call.resources, call.asker, call.customer, key, file=file, size=size
    )
    stem = facts.filename.rpartition(".")[0] or facts.filename
    content = StoredContent(
        blob_key=preview.blob_key,
        size_bytes=preview.size_bytes,
        sha256=preview.sha256,
        media_type=preview.media_type,
        filename=f"{stem}.{'png' if preview.media_type == 'image/png' else 'jpg'}",
        disposition="inline",
    )
    cached = unchanged(call, content)
    if cached is not None:
        return cached
    byte_range = requested_range(call, content)
    return ContentResponse(call.resources, content, byte_range)
