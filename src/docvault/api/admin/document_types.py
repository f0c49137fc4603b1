"""Document types."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from docvault.api.http.conditional import check_preconditions, require_if_match
from docvault.api.http.pagination import DEFAULT_LIMIT, CursorQuery, IncludeTotalQuery, LimitQuery
from docvault.api.http.parameters import DocumentTypeKey
from docvault.api.http.responses import no_content, resource_response
from docvault.api.routing.operation import JsonBody, NoBody, Read, operation
from docvault.api.routing.requests import ApiRequest
from docvault.api.routing.routes import AdminRoute
from docvault.api.shared.pages import document_type_page
from docvault.domain.audit import AuditAction
from docvault.errors import (
    DocumentTypeInUse,
    DocumentTypeNotFound,
    DuplicateLabel,
    FieldsRequired,
    InvalidCursor,
    KeyConflict,
    NameConflict,
    PreconditionRequired,
)
from docvault.presenters.document_types import present_document_type
from docvault.schemas.document_types import (
    DocumentTypeCreate,
    DocumentTypeOrder,
    DocumentTypePage,
    DocumentTypeRead,
    DocumentTypeUpdate,
)
from docvault.services import document_types

router = APIRouter(route_class=AdminRoute, prefix="/v1/admin")

ArchivedQuery = Annotated[
    bool, Query(description="List archived document types instead of active ones.")
]


@router.get("/document-types", response_model=DocumentTypePage, summary="List document types")
@operation(
    Read(AuditAction.DOCUMENT_TYPE_LIST, errors=(InvalidCursor,), conditions=("If-None-Match",))
)
async def admin_list_document_types(
    request: ApiRequest,
    archived: ArchivedQuery = False,
    limit: LimitQuery = DEFAULT_LIMIT,
    cursor: CursorQuery = None,
    include_total: IncludeTotalQuery = False,
) -> Response:
    """List the document types in the order in which customers see them."""
    return await document_type_page(
        request, archived=archived, limit=limit, cursor=cursor, include_total=include_total
    )


@router.post(
    "/document-types",
    response_model=DocumentTypeRead,
    status_code=201,
    summary="Create a document type",
)
@operation(
    JsonBody(
        AuditAction.DOCUMENT_TYPE_CREATE,
        idempotent=True,
        returns_location=True,
        errors=(NameConflict, KeyConflict, DuplicateLabel, FieldsRequired),
    )
)
async def admin_create_document_type(request: ApiRequest, data: DocumentTypeCreate) -> Response:
    """Create a document type. It is requested from all customers, present and future."""
    created = await document_types.create_document_type(request.uow, data)
    view = present_document_type(created, request.resources.settings)
    location = f"{request.url.path}/{created.key}"
    return resource_response(request, view, 201, {"Location": location})


@router.get("/document-types/{key}", response_model=DocumentTypeRead, summary="Get a document type")
@operation(
    Read(
        AuditAction.DOCUMENT_TYPE_READ,
        errors=(DocumentTypeNotFound,),
        conditions=("If-None-Match",),
    )
)
async def admin_read_document_type(request: ApiRequest, key: DocumentTypeKey) -> Response:
    """Get a document type, archived or not."""
    facts = await document_types.get_document_type(request.uow, key)
    return resource_response(request, present_document_type(facts, request.resources.settings))


@router.patch(
    "/document-types/{key}", response_model=DocumentTypeRead, summary="Update a document type"
)
@operation(
    JsonBody(
        AuditAction.DOCUMENT_TYPE_UPDATE,
        conditions=("If-Match",),
        errors=(
            DocumentTypeNotFound,
            NameConflict,
            DuplicateLabel,
            FieldsRequired,
            PreconditionRequired,
        ),
    )
)
async def admin_update_document_type(
    request: ApiRequest, key: DocumentTypeKey, data: DocumentTypeUpdate
) -> Response:
    """Update a document type. Document states follow at once; stored field values are kept.

    `fields` replaces the whole list: an item with a known `key` updates or renames that field, an
    item without a key adds a field, and a field that is left out is retired. `{"archived": true}`
    stops requesting the document.
    """
    require_if_match(request)
    settings = request.resources.settings
    current = await document_types.lock_document_type(request.uow, key)
    check_preconditions(request, present_document_type(current, settings))
    updated = await document_types.update_document_type(request.uow, key, data)
    return resource_response(request, present_document_type(updated, settings))


@router.delete("/document-types/{key}", status_code=204, summary="Delete a document type")
@operation(
    NoBody(
        AuditAction.DOCUMENT_TYPE_DELETE,
        errors=(DocumentTypeNotFound, DocumentTypeInUse),
        conditions=("If-Match",),
    )
)
async def admin_delete_document_type(request: ApiRequest, key: DocumentTypeKey) -> Response:
    """Delete a document type that never had a file; archive any other instead."""
    current = await document_types.lock_document_type(request.uow, key)
    check_preconditions(request, present_document_type(current, request.resources.settings))
    await document_types.delete_document_type(request.uow, key)
    return no_content()


@router.put("/document-type-order", status_code=204, summary="Reorder document types")
@operation(JsonBody(AuditAction.DOCUMENT_TYPE_REORDER, max_body_bytes=8 * 1024 * 1024))
async def admin_order_document_types(request: ApiRequest, data: DocumentTypeOrder) -> Response:
    """Set the order of all active document types."""
    await document_types.reorder_document_types(request.uow, data.keys)
    return no_content()
