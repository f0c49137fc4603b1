"""Third parties add documents and ask for their state."""

from fastapi import APIRouter, Response

from docvault.api.callers import IntegrationRoute
from docvault.api.calls import Call
from docvault.api.content import CONTENT_RESPONSES, DispositionQuery, FileQuery
from docvault.api.documents import (
    CONTENT_ERRORS,
    UPDATE_ERRORS,
    UPLOAD_BODY,
    UPLOAD_ERRORS,
    read_document,
    send_content,
    update_document,
    upload_document,
)
from docvault.api.operations import operation
from docvault.api.pages import document_page
from docvault.api.pagination import (
    DEFAULT_DOCUMENTS,
    CursorQuery,
    DocumentLimitQuery,
    IncludeTotalQuery,
)
from docvault.api.paths import CustomerIdPath, DocumentTypeKey
from docvault.api.views import document_view
from docvault.auth.scopes import Scope
from docvault.errors import DocumentTypeUnknown, InvalidCursor
from docvault.schemas.audit_events import AuditAction
from docvault.schemas.documents import DocumentPage, DocumentRead, DocumentUpdate

router = APIRouter(route_class=IntegrationRoute, prefix="/v1/integration/customers/{id}/documents")


@router.get("", response_model=DocumentPage, summary="List a customer's documents")
@operation(
    AuditAction.DOCUMENT_LIST, slots="all", scope=Scope.DOCUMENTS_READ, errors=(InvalidCursor,)
)
async def integration_list_documents(
    call: Call,
    customer_id: CustomerIdPath,
    limit: DocumentLimitQuery = DEFAULT_DOCUMENTS,
    cursor: CursorQuery = None,
    include_total: IncludeTotalQuery = False,
) -> Response:
    """Return state and details of every active document type, missing ones included."""
    del customer_id
    return await document_page(
        call,
        DocumentPage,
        document_view,
        limit=limit,
        cursor=cursor,
        include_total=include_total,
    )


@router.get("/{key}", response_model=DocumentRead, summary="Read a document")
@operation(
    AuditAction.DOCUMENT_READ,
    slots="one",
    scope=Scope.DOCUMENTS_READ,
    errors=(DocumentTypeUnknown,),
    conditions=("If-None-Match",),
)
async def integration_read_document(
    call: Call, customer_id: CustomerIdPath, key: DocumentTypeKey
) -> Response:
    """Return one document, filled or not."""
    del customer_id, key
    return read_document(call, document_view)


@router.put(
    "/{key}",
    response_model=DocumentRead,
    summary="Add or replace a document",
    openapi_extra=UPLOAD_BODY,
    responses={201: {"model": DocumentRead, "description": "The slot was empty."}},
)
@operation(
    AuditAction.DOCUMENT_UPLOAD,
    scope=Scope.DOCUMENTS_WRITE,
    body="upload",
    slots="one",
    writes_document=True,
    idempotent=True,
    conditions=("If-Match", "If-None-Match"),
    errors=UPLOAD_ERRORS,
)
async def integration_upload_document(
    call: Call, customer_id: CustomerIdPath, key: DocumentTypeKey
) -> Response:
    """Store a file for a customer; admin-only types need `documents:write_admin_only` too."""
    del customer_id, key
    return await upload_document(call, document_view)


@router.patch("/{key}", response_model=DocumentRead, summary="Correct field values")
@operation(
    AuditAction.DOCUMENT_UPDATE,
    scope=Scope.DOCUMENTS_WRITE,
    body="json",
    slots="one",
    writes_document=True,
    conditions=("If-Match",),
    errors=UPDATE_ERRORS,
)
async def integration_update_document(
    call: Call, customer_id: CustomerIdPath, key: DocumentTypeKey, data: DocumentUpdate
) -> Response:
    """Change field values; file, version and upload date stay as they are."""
    del customer_id
    return await update_document(call, key, data, document_view)


@router.get(
    "/{key}/content",
    response_class=Response,
    responses=CONTENT_RESPONSES,
    summary="Download a file",
)
@operation(
    AuditAction.DOCUMENT_DOWNLOAD,
    slots="one",
    scope=Scope.CONTENT_READ,
    errors=CONTENT_ERRORS,
    conditions=("If-None-Match", "Range"),
)
async def integration_read_content(
    call: Call,
    customer_id: CustomerIdPath,
    key: DocumentTypeKey,
    disposition: DispositionQuery = "attachment",
    file: FileQuery = 1,
) -> Response:
    """Send the bytes as they were uploaded."""
    del customer_id, key
    return await send_content(call, version=None, file=file, disposition=disposition)
