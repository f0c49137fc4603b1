"""Stored files and previews by content URLs. The URL is the credential."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from docvault.api.http.downloads import CONTENT_RESPONSES, Disposition
from docvault.api.http.problems import error_responses
from docvault.api.routing.requests import DocumentRequest
from docvault.api.shared.documents import send_content
from docvault.api.shared.previews import send_preview
from docvault.context import RequestContext
from docvault.domain.actors import Actor, ApiKeyActor, CustomerActor
from docvault.domain.content_urls import ContentPurpose
from docvault.domain.rate_limits import Limit
from docvault.errors import (
    CustomerNotFound,
    DatabaseUnavailable,
    DocumentQuarantined,
    DocumentTypeNotFound,
    FileNotFound,
    HeaderTooLarge,
    InvalidContentUrl,
    MalformedRequest,
    NoPreview,
    PageNotFound,
    PreconditionFailed,
    RangeNotSatisfiable,
    RateLimited,
    ServiceUnavailable,
    StorageUnavailable,
    ValidationFailed,
)
from docvault.services.content_urls import GrantedFile, find_granted, open_grant
from docvault.services.resources import Resources

router = APIRouter()

ContentToken = Annotated[str, Path(description="The last segment of a content URL.")]
# The file is gone, or its viewer may no longer read it.
_GONE = (CustomerNotFound, DocumentTypeNotFound, FileNotFound, DocumentQuarantined)
_LIMITS = {
    CustomerActor.kind: Limit.CUSTOMER_REQUESTS,
    ApiKeyActor.kind: Limit.API_KEY_REQUESTS,
}


@router.get(
    "/content/{token}",
    response_class=Response,
    summary="Get a file by its content URL",
    operation_id="read_signed_content",
    responses={
        **error_responses(
            [
                MalformedRequest,
                HeaderTooLarge,
                InvalidContentUrl,
                NoPreview,
                PageNotFound,
                PreconditionFailed,
                RangeNotSatisfiable,
                RateLimited,
                ValidationFailed,
                DatabaseUnavailable,
                ServiceUnavailable,
                StorageUnavailable,
            ]
        ),
        **CONTENT_RESPONSES,
    },
    openapi_extra={"security": []},
)
async def read_signed_content(request: Request, token: ContentToken) -> Response:
    """Get the file or preview that the URL was created for, within sixty seconds.

    A URL that was altered or has expired, or whose viewer may no longer read the file, is 403.
    """
    resources: Resources = request.app.state.resources
    if request.scope["query_string"]:
        raise InvalidContentUrl
    grant = open_grant(resources.keyring, token)
    limit = _LIMITS.get(grant.viewer_kind)
    if limit is not None:
        resources.rate_limits.hit_local(limit, grant.viewer_id)
    try:
        async with resources.autocommit(resources.system_context()) as uow:
            granted = await find_granted(uow, grant)
            viewed = _request_of(request, resources, granted)
            number = granted.file.number
            if grant.purpose is not ContentPurpose.preview:
                is_inline = grant.purpose is ContentPurpose.inline
                disposition: Disposition = "inline" if is_inline else "attachment"
                return await send_content(
                    viewed.bind(uow), version=None, file=number, disposition=disposition
                )
        return await send_preview(viewed, grant.key, file=number, page=grant.page, size=grant.size)
    except _GONE:
        raise InvalidContentUrl from None


def _request_of(request: Request, resources: Resources, granted: GrantedFile) -> DocumentRequest:
    """Return the request as one of the viewer about the document."""
    actor: Actor = granted.viewer
    context = RequestContext(actor, request.state.request_id, resources.keyring, resources.settings)
    viewed = DocumentRequest(request, context)
    viewed.load(granted.found)
    viewed.is_embedded = True
    # For the access log.
    request.state.request = viewed
    return viewed
