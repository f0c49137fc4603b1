"""Creating content URLs, in the same way for all three APIs."""

from fastapi import APIRouter, Response

from docvault.api.http.parameters import DocumentTypeKey
from docvault.api.http.responses import json_response
from docvault.api.routing.operation import JsonBody, operation
from docvault.api.routing.requests import CustomerRequest
from docvault.api.routing.route import GuardedRoute
from docvault.domain.actors import CustomerActor
from docvault.domain.audit import AuditAction
from docvault.domain.scopes import Scope
from docvault.errors import (
    DocumentQuarantined,
    DocumentTypeNotFound,
    FileNotFound,
    NoPreview,
    PageNotFound,
)
from docvault.presenters.content_urls import present_content_url
from docvault.schemas.content_urls import ContentUrlCreate, ContentUrlRead
from docvault.services.content_urls import grant_content, seal_grant


async def create_content_url(
    request: CustomerRequest, key: str, data: ContentUrlCreate
) -> Response:
    """Return a URL of a file that the caller may read."""
    is_customer = isinstance(request.context.actor, CustomerActor)
    issued_at = request.state.claims.issued_at if is_customer else 0
    grant = await grant_content(request.uow, request.customer, key, data, issued_at)
    url = f"{request.service_url}/content/{seal_grant(request.context.keyring, grant)}"
    # The URL is a credential.
    return json_response(present_content_url(grant, url), 201, {"Cache-Control": "no-store"})


def content_url_router(
    route_class: type[GuardedRoute], document_path: str, *, scope: Scope | None = None
) -> APIRouter:
    """Return the endpoint of one API, below the path of a document."""
    router = APIRouter(route_class=route_class, prefix=document_path)

    @router.post(
        "/content-urls",
        response_model=ContentUrlRead,
        status_code=201,
        summary="Create a content URL",
        operation_id=f"{route_class.api.name}_create_content_url",
    )
    @operation(
        JsonBody(
            AuditAction.CONTENT_URL_CREATE,
            scope=scope,
            errors=(
                DocumentTypeNotFound,
                FileNotFound,
                DocumentQuarantined,
                NoPreview,
                PageNotFound,
            ),
        )
    )
    async def create(
        request: CustomerRequest, key: DocumentTypeKey, data: ContentUrlCreate
    ) -> Response:
        """Create a URL that shows one file for sixty seconds, without a credential.

        It is for `<img>`, `<iframe>` and links, which cannot send a token. The URL stops working at
        once when the file is replaced or deleted, or the caller loses the right to read it.
        """
        return await create_content_url(request, key, data)

    return router
