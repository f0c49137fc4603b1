"""Customers see what is asked, upload, look at what they sent, fill in the data."""

from fastapi import APIRouter, Response

from docvault.api.callers import CustomerRoute
from docvault.api.calls import Call
from docvault.api.content import CONTENT_RESPONSES, DispositionQuery, FileQuery
from docvault.api.documents import (
    CONTENT_ERRORS,
    UPDATE_ERRORS,
    UPLOAD_BODY,
    UPLOAD_ERRORS,
    delete_document,
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
from docvault.api.paths import DocumentTypeKey
from docvault.api.previews import PREVIEW_ERRORS, PREVIEW_RESPONSES, SizeQuery, send_preview
from docvault.api.views import document_view
from docvault.errors import (
    AdminOnlyDocument,
    DeleteNotAllowed,
    DocumentTypeUnknown,
    FileRequired,
    InvalidCursor,
    NoFile,
    PortalSectionDisabled,
)
from docvault.rules.previews import PreviewSize
from docvault.schemas.audit_events import AuditAction
from docvault.schemas.documents import DocumentPage, DocumentRead, DocumentUpdate

router = APIRouter(route_class=CustomerRoute, prefix="/v1/customer/documents")


@router.get("", response_model=DocumentPage, summary="List my documents")
@operation(AuditAction.DOCUMENT_LIST, slots="all", errors=(PortalSectionDisabled, InvalidCursor))
async def customer_list_documents(
    call: Call,
    limit: DocumentLimitQuery = DEFAULT_DOCUMENTS,
    cursor: CursorQuery = None,
    include_total: IncludeTotalQuery = False,
) -> Response:
    """Return everything that is asked, with its state, what was sent and what can be sent."""
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
    errors=(PortalSectionDisabled, DocumentTypeUnknown),
    conditions=("If-None-Match",),
)
async def customer_read_document(call: Call, key: DocumentTypeKey) -> Response:
    """Return one document, filled or not."""
    del key
    return read_document(call, document_view)


@router.put(
    "/{key}",
    response_model=DocumentRead,
    summary="Upload or replace a document",
    openapi_extra=UPLOAD_BODY,
    responses={201: {"model": DocumentRead, "description": "The slot was empty."}},
)
@operation(
    AuditAction.DOCUMENT_UPLOAD,
    body="upload",
    slots="one",
    writes_document=True,
    idempotent=True,
    conditions=("If-Match", "If-None-Match"),
    errors=(PortalSectionDisabled, AdminOnlyDocument, *UPLOAD_ERRORS),
)
async def customer_upload_document(call: Call, key: DocumentTypeKey) -> Response:
    """Send a file, and field values with it."""
    del key
    return await upload_document(call, document_view)


@router.patch("/{key}", response_model=DocumentRead, summary="Fill in field values")
@operation(
    AuditAction.DOCUMENT_UPDATE,
    body="json",
    slots="one",
    writes_document=True,
    conditions=("If-Match",),
    errors=(PortalSectionDisabled, AdminOnlyDocument, FileRequired, *UPDATE_ERRORS),
)
async def customer_update_document(
    call: Call, key: DocumentTypeKey, data: DocumentUpdate
) -> Response:
    """Change field values without sending the file again."""
    return await update_document(call, key, data, document_view)


@router.delete("/{key}", status_code=204, summary="Delete a document")
@operation(
    AuditAction.DOCUMENT_DELETE,
    conditions=("If-Match",),
    errors=(PortalSectionDisabled, DeleteNotAllowed, DocumentTypeUnknown, NoFile),
)
async def customer_delete_document(call: Call, key: DocumentTypeKey) -> Response:
    """Delete an optional document, where the portal settings allow it."""
    return await delete_document(call, key, document_view)


@router.get(
    "/{key}/content",
    response_class=Response,
    responses=CONTENT_RESPONSES,
    summary="Download a file",
)
@operation(
    AuditAction.DOCUMENT_DOWNLOAD,
    slots="one",
    errors=(PortalSectionDisabled, *CONTENT_ERRORS),
    conditions=("If-None-Match", "Range"),
)
async def customer_read_content(
    call: Call,
    key: DocumentTypeKey,
    disposition: DispositionQuery = "attachment",
    file: FileQuery = 1,
) -> Response:
    """Send the bytes as they were uploaded."""
    del key
    return await send_content(call, version=None, file=file, disposition=disposition)


@router.get(
    "/{key}/preview",
    response_class=Response,
    responses=PREVIEW_RESPONSES,
    summary="See a preview",
)
@operation(
    AuditAction.DOCUMENT_PREVIEW,
    errors=(PortalSectionDisabled, *PREVIEW_ERRORS),
    in_transaction=False,
    conditions=("If-None-Match", "Range"),
)
async def customer_read_preview(
    call: Call,
    key: DocumentTypeKey,
    size: SizeQuery = PreviewSize.medium,
    file: FileQuery = 1,
) -> Response:
    """Send a picture of an image or of a PDF's first page."""
    return await send_preview(call, key, file=file, size=size)
