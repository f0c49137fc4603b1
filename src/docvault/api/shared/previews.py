"""Sending previews."""

from typing import Annotated, Any

from fastapi import Query, Response

from docvault.api.http.downloads import (
    BYTES_CONTENT,
    TAG_HEADER,
    ContentResponse,
    StoredContent,
    limit_concurrent_downloads,
    parse_requested_range,
    respond_if_not_modified,
)
from docvault.api.routing.requests import CustomerRequest
from docvault.domain.previews import PreviewSize
from docvault.errors import (
    DocumentQuarantined,
    DocumentTypeNotFound,
    DocvaultError,
    FileNotFound,
    NoPreview,
    PageNotFound,
    RangeNotSatisfiable,
    StorageUnavailable,
)
from docvault.services.previews import read_preview

SizeQuery = Annotated[
    PreviewSize,
    Query(
        description="The longest side: at most 200 (small), 800 (medium) or 1600 (large) pixels."
    ),
]

PageQuery = Annotated[
    int,
    Query(ge=1, le=2**31 - 1, description="The page of a PDF or TIFF, from 1; see `pages`."),
]

PREVIEW_ERRORS: tuple[type[DocvaultError], ...] = (
    DocumentTypeNotFound,
    FileNotFound,
    NoPreview,
    PageNotFound,
    DocumentQuarantined,
    RangeNotSatisfiable,
    StorageUnavailable,
)
PREVIEW_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The preview image, upright and without metadata; `Content-Type` is "
        "`image/jpeg` or `image/png`.",
        "content": BYTES_CONTENT,
        "headers": TAG_HEADER,
    },
    206: {
        "description": "The bytes of the requested range.",
        "content": BYTES_CONTENT,
        "headers": TAG_HEADER,
    },
    304: {"description": "The client has the current preview.", "headers": TAG_HEADER},
}


async def send_preview(
    request: CustomerRequest, key: str, *, file: int, page: int, size: PreviewSize
) -> Response:
    """Send a preview, rendered on first demand."""
    stored, preview = await read_preview(
        request.resources,
        request.context,
        request.customer,
        key,
        file=file,
        page=page,
        size=size,
    )
    stem = stored.filename.rpartition(".")[0] or stored.filename
    content = StoredContent(
        blob_key=preview.blob_key,
        size_bytes=preview.size_bytes,
        sha256=preview.sha256,
        media_type=preview.media_type,
        filename=f"{stem}.{'png' if preview.media_type == 'image/png' else 'jpg'}",
        disposition="inline",
        is_embeddable=request.is_embedded,
    )
    cached = respond_if_not_modified(request, content)
    if cached is not None:
        return cached
    byte_range = parse_requested_range(request, content)
    if not request.state.is_head:
        limit_concurrent_downloads(request, content, byte_range)
    return ContentResponse(request.resources, content, byte_range)
