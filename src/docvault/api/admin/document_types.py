"""Staff define which documents are asked for."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from docvault.api.callers import AdminRoute
from docvault.api.calls import Call
from docvault.api.conditional import check_preconditions, require_if_match
from docvault.api.operations import operation
from docvault.api.pages import document_type_page
from docvault.api.pagination import (
    DEFAULT_LIMIT,
    CursorQuery,
    IncludeTotalQuery,
    LimitQuery,
)
from docvault.api.paths import DocumentTypeKey
from docvault.api.responses import no_content, resource_response
from docvault.api.views import document_type_view
from docvault.errors import (
    DocumentTypeInUse,
    DocumentTypeUnknown,
    DuplicateLabel,
    InvalidCursor,
    KeyConflict,
    LabelsRequired,
    NameConflict,
    PreconditionRequired,
)
from docvault.schemas.audit_events import AuditAction
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
    bool, Query(description="List the archived document types instead of the active ones.")
]


@router.get("/document-types", response_model=DocumentTypePage, summary="List document types")
@operation(AuditAction.DOCUMENT_TYPE_LIST, errors=(InvalidCursor,))
async def admin_list_document_types(
    call: Call,
    archived: ArchivedQuery = False,
    limit: LimitQuery = DEFAULT_LIMIT,
    cursor: CursorQuery = None,
    include_total: IncludeTotalQuery = False,
) -> Response:
    """Return the document types in the order in which customers see them."""
    return await document_type_page(
        call, archived=archived, limit=limit, cursor=cursor, include_total=include_total
    )


@router.post(
    "/document-types",
    response_model=DocumentTypeRead,
    status_code=201,
    summary="Create a document type",
)
@operation(
    AuditAction.DOCUMENT_TYPE_CREATE,
    body="json",
    idempotent=True,
    creates=True,
    errors=(NameConflict, KeyConflict, DuplicateLabel, LabelsRequired),
)
async def admin_create_document_type(call: Call, data: DocumentTypeCreate) -> Response:
    """Ask all customers, present and future, for one more document."""
    created = await document_types.create_document_type(call.work, data)
    view = document_type_view(created, call.resources.settings)
    location = f"{call.url.path}/{created.key}"
    return resource_response(call, view, 201, {"Location": location})


@router.get(
    "/document-types/{key}", response_model=DocumentTypeRead, summary="Read a document type"
)
@operation(
    AuditAction.DOCUMENT_TYPE_READ, errors=(DocumentTypeUnknown,), conditions=("If-None-Match",)
)
async def admin_read_document_type(call: Call, key: DocumentTypeKey) -> Response:
    """Return a document type, archived or not."""
    facts = await document_types.get_document_type(call.work, key)
    return resource_response(call, document_type_view(facts, call.resources.settings))


@router.patch(
    "/document-types/{key}", response_model=DocumentTypeRead, summary="Change a document type"
)
@operation(
    AuditAction.DOCUMENT_TYPE_UPDATE,
    body="json",
    conditions=("If-Match",),
    errors=(
        DocumentTypeUnknown,
        NameConflict,
        DuplicateLabel,
        LabelsRequired,
        PreconditionRequired,
    ),
)
async def admin_update_document_type(
    call: Call, key: DocumentTypeKey, data: DocumentTypeUpdate
) -> Response:
    """Change a document type; states follow at once, stored values stay.

    `fields` gives the whole list: a known `key` updates or renames a field, one without a key
    is new, one that is left out is retired. `{"archived": true}` stops asking for the document.
    """
    require_if_match(call)
    settings = call.resources.settings
    current = await document_types.lock_document_type(call.work, key)
    check_preconditions(call, document_type_view(current, settings))
    updated = await document_types.update_document_type(call.work, key, data)
    return resource_response(call, document_type_view(updated, settings))


@router.delete("/document-types/{key}", status_code=204, summary="Delete a document type")
@operation(
    AuditAction.DOCUMENT_TYPE_DELETE,
    errors=(DocumentTypeUnknown, DocumentTypeInUse),
    conditions=("If-Match",),
)
async def admin_delete_document_type(call: Call, key: DocumentTypeKey) -> Response:
    """Delete a document type for which no file was ever stored; archive any other."""
    current = await document_types.lock_document_type(call.work, key)
    check_preconditions(call, document_type_view(current, call.resources.settings))
    await document_types.delete_document_type(call.work, key)
    return no_content()


@router.put("/document-type-order", status_code=204, summary="Order the document types")
@operation(AuditAction.DOCUMENT_TYPE_REORDER, body="json", max_body_bytes=8 * 1024 * 1024)
async def admin_order_document_types(call: Call, data: DocumentTypeOrder) -> Response:
    """Put all active document types in the given order."""
    await document_types.reorder_document_types(call.work, data.keys)
    return no_content()
