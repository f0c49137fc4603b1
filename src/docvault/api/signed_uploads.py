"""Where the bytes of upload sessions go when the store has no clients of its own.

The URL is the credential: it is checked before a byte of the body is read.
"""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from docvault import metrics
from docvault.api.bodies import announced_bytes, stream_body
from docvault.api.parameters import check_parameters
from docvault.api.problems import error_responses
from docvault.api.uploads import require_free_slot, upload_slot
from docvault.auth.principals import CustomerCaller
from docvault.errors import (
    DatabaseUnavailable,
    DigestMismatch,
    FileTooLarge,
    HeaderTooLarge,
    LengthRequired,
    MalformedRequest,
    MediaTypeNotAllowed,
    NotFound,
    Overloaded,
    PreconditionFailed,
    RateLimited,
    RequestTimeout,
    StorageUnavailable,
    UploadExpired,
    ValidationFailed,
)
from docvault.rules.rate_limits import Limit
from docvault.services.resources import Resources
from docvault.services.upload_sessions import expected_bytes, store_expected

router = APIRouter()

UploadToken = Annotated[str, Path(description="From the answer that opened the upload.")]


@router.put(
    "/uploads/{token}",
    status_code=204,
    summary="Send the bytes of an upload",
    operation_id="send_upload",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
        }
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
            MediaTypeNotAllowed,
            RateLimited,
            ValidationFailed,
            DigestMismatch,
            DatabaseUnavailable,
            Overloaded,
            StorageUnavailable,
        ]
    ),
)
async def send_upload(request: Request, token: UploadToken) -> Response:
    """Take exactly the announced bytes, once. The URL is opaque and of a session's own."""
    resources: Resources = request.app.state.resources
    require_free_slot(resources)
    check_parameters(request, {})
    session = await expected_bytes(resources, token)
    too_large = FileTooLarge(members={"limit_bytes": session.size_bytes})
    _check_announced(announced_bytes(request), session.size_bytes, too_large)
    customer = session.created_by_id if session.created_by_kind == CustomerCaller.kind else None
    if customer is not None:
        # Opening the session was the upload; this is one more request.
        resources.rate_limits.count_here(Limit.CUSTOMER_REQUESTS, customer)
    async with upload_slot(resources, customer):
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


def _check_announced(announced: int | None, expected: int, too_large: FileTooLarge) -> None:
    if announced is None:
        raise LengthRequired
    if announced > expected:
        raise too_large
    if announced < expected:
        raise DigestMismatch("The body is shorter than the file that was announced.")
