"""Uploads of upload sessions when the store does not support presigned URLs.

The URL is the credential: it is checked before a byte of the body is read.
"""

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from docvault.api.http.body import content_length, stream_body
from docvault.api.http.downloads import BYTES_CONTENT
from docvault.api.http.parameters import check_parameters
from docvault.api.http.problems import error_responses
from docvault.api.http.uploads import require_upload_capacity, upload_permit
from docvault.domain.actors import CustomerActor
from docvault.domain.rate_limits import Limit
from docvault.domain.upload_sessions import UploadSession
from docvault.errors import (
    DatabaseUnavailable,
    DigestMismatch,
    FileTooLarge,
    HeaderTooLarge,
    LengthRequired,
    MalformedRequest,
    NotFound,
    Overloaded,
    PreconditionFailed,
    RateLimited,
    RequestTimeout,
    ServiceUnavailable,
    StorageUnavailable,
    UnsupportedContentEncoding,
    UploadExpired,
    ValidationFailed,
)
from docvault.observability import metrics
from docvault.services.resources import Resources
from docvault.services.upload_sessions import expected_bytes, store_expected

router = APIRouter()

UploadToken = Annotated[
    str, Path(description="The last segment of the URL that creating the upload returned.")
]


@router.put(
    "/uploads/{token}",
    status_code=204,
    summary="Upload the bytes of an upload session",
    operation_id="send_upload",
    openapi_extra={
        # The URL is the credential.
        "security": [],
        "requestBody": {
            "required": True,
            "content": BYTES_CONTENT,
        },
    },
    responses=error_responses(
        [
            MalformedRequest,
            HeaderTooLarge,
            NotFound,
            RequestTimeout,
            UploadExpired,
            LengthRequired,
            PreconditionFailed,
            FileTooLarge,
            UnsupportedContentEncoding,
            RateLimited,
            ValidationFailed,
            DigestMismatch,
            DatabaseUnavailable,
            Overloaded,
            ServiceUnavailable,
            StorageUnavailable,
        ]
    ),
)
async def send_upload(request: Request, token: UploadToken) -> Response:
    """Upload the bytes of a session.

    The body must match the declared size and SHA-256. The URL is the credential and works once.
    """
    resources: Resources = request.app.state.resources
    require_upload_capacity(resources)
    check_parameters(request, {})
    session = await expected_bytes(resources, token)
    too_large = FileTooLarge(
        "The file is larger than declared.", members={"limit_bytes": session.size_bytes}
    )
    _check_content_length(content_length(request), session.size_bytes, too_large)
    if session.created_by_kind == CustomerActor.kind:
        # Creating the session was counted as the upload; this is one more request.
        request.state.allowance = resources.rate_limits.hit_local(
            Limit.CUSTOMER_REQUESTS, session.created_by_id
        )
    async with upload_permit(resources, *_concurrency_limits(session)):
        spooled = resources.spool.create()
        try:
            async for chunk in stream_body(request, session.size_bytes, too_large):
                metrics.UPLOAD_BYTES.inc(len(chunk))
                await spooled.write(chunk)
            await spooled.finish()
            await store_expected(resources, token, spooled)
        finally:
            spooled.discard()
    return Response(status_code=204)


def _concurrency_limits(session: UploadSession) -> Iterator[tuple[Limit, str]]:
    """Yield the limits that keep one URL or one creator from occupying all upload permits."""
    yield Limit.SESSION_CONCURRENT_UPLOADS, str(session.id)
    if session.created_by_kind == CustomerActor.kind:
        yield Limit.CUSTOMER_CONCURRENT_UPLOADS, session.created_by_id
    else:
        creator = f"{session.created_by_kind} {session.created_by_id}"
        yield Limit.CREATOR_CONCURRENT_UPLOADS, creator


def _check_content_length(length: int | None, expected: int, too_large: FileTooLarge) -> None:
    if length is None:
        raise LengthRequired
    if length > expected:
        raise too_large
    if length < expected:
        raise DigestMismatch("The body is shorter than the declared size.")
