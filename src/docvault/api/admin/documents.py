"""Staff see, download, replace and correct the documents of a customer."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from docvault.api.callers import AdminRoute
from docvault.api.calls import Call
from docvault.api.content import CONTENT_RESPONSES, DispositionQuery, FileQuery
from docvault.api.copies import copy_document
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
from docvault.api.pages import cursors_of, document_page, page_response
from docvault.api.pagination import (
    DEFAULT_DOCUMENTS,
    DEFAULT_LIMIT,
    CursorQuery,
    DocumentLimitQuery,
    IncludeTotalQuery,
    LimitQuery,
    cut_page,
)
from docvault.api.paths import CustomerIdPath, DocumentTypeKey
from docvault.api.previews import PREVIEW_ERRORS, PREVIEW_RESPONSES, SizeQuery, send_preview
from docvault.api.views import admin_document_view, version_view
from docvault.errors import (
    DocumentQuarantined,
    DocumentTypeUnknown,
    FileTooLarge,
    InvalidCursor,
    MalwareDetected,
    MediaTypeNotAllowed,
    NoFile,
    QuotaExceeded,
    ScannerUnavailable,
    StorageUnavailable,
    TooManyFiles,
)
from docvault.rules.previews import PreviewSize
from docvault.schemas.audit_events import AuditAction
from docvault.schemas.documents import (
    AdminDocumentPage,
    AdminDocumentRead,
    DocumentCopy,
    DocumentUpdate,
    DocumentVersionPage,
)
from docvault.services import documents

router = APIRouter(route_class=AdminRoute, prefix="/v1/admin/customers/{id}/documents")

VersionQuery = Annotated[
    int | None,
    Query(ge=1, le=2**31 - 1, description="Which version; by default the current one."),
]


@router.get("", response_model=AdminDocumentPage, summary="List a customer's documents")
@operation(AuditAction.DOCUMENT_LIST, slots="all", errors=(InvalidCursor,))
async def admin_list_documents(
    call: Call,
    customer_id: CustomerIdPath,
    limit: DocumentLimitQuery = DEFAULT_DOCUMENTS,
    cursor: CursorQuery = None,
    include_total: IncludeTotalQuery = False,
) -> Response:
    """Return every active document type with its state, and archived ones that hold a file."""
    del customer_id
    return await document_page(
        call,
        AdminDocumentPage,
        admin_document_view,
        limit=limit,
        cursor=cursor,
        include_total=include_total,
    )


@router.get("/{key}", response_model=AdminDocumentRead, summary="Read a document")
@operation(
    AuditAction.DOCUMENT_READ,
    slots="one",
    errors=(DocumentTypeUnknown,),
    conditions=("If-None-Match",),
)
async def admin_read_document(
    call: Call, customer_id: CustomerIdPath, key: DocumentTypeKey
) -> Response:
    """Return one document, filled or not."""
    del customer_id, key
    return read_document(call, admin_document_view)


@router.put(
    "/{key}",
    response_model=AdminDocumentRead,
    summary="Upload or replace a document",
    openapi_extra=UPLOAD_BODY,
    responses={201: {"model": AdminDocumentRead, "description": "The slot was empty."}},
)
@operation(
    AuditAction.DOCUMENT_UPLOAD,
    body="upload",
    slots="one",
    writes_document=True,
    idempotent=True,
    conditions=("If-Match", "If-None-Match"),
    errors=UPLOAD_ERRORS,
)
async def admin_upload_document(
    call: Call, customer_id: CustomerIdPath, key: DocumentTypeKey
) -> Response:
    """Store a file on behalf of the customer, of whatever upload mode."""
    del customer_id, key
    return await upload_document(call, admin_document_view)


@router.patch("/{key}", response_model=AdminDocumentRead, summary="Correct field values")
@operation(
    AuditAction.DOCUMENT_UPDATE,
    body="json",
    slots="one",
    writes_document=True,
    conditions=("If-Match",),
    errors=UPDATE_ERRORS,
)
async def admin_update_document(
    call: Call, customer_id: CustomerIdPath, key: DocumentTypeKey, data: DocumentUpdate
) -> Response:
    """Change field values; file, version and upload date stay as they are."""
    del customer_id
    return await update_document(call, key, data, admin_document_view)


@router.delete("/{key}", status_code=204, summary="Delete a document")
@operation(
    AuditAction.DOCUMENT_DELETE, conditions=("If-Match",), errors=(DocumentTypeUnknown, NoFile)
)
async def admin_delete_document(
    call: Call, customer_id: CustomerIdPath, key: DocumentTypeKey
) -> Response:
    """Remove the files of all versions, their previews and the field values."""
    del customer_id
    return await delete_document(call, key, admin_document_view)


@router.get(
    "/{key}/content",
    response_class=Response,
    responses=CONTENT_RESPONSES,
    summary="Download a file",
)
@operation(
    AuditAction.DOCUMENT_DOWNLOAD,
    slots="one",
    errors=CONTENT_ERRORS,
    conditions=("If-None-Match", "Range"),
)
async def admin_read_content(
    call: Call,
    customer_id: CustomerIdPath,
    key: DocumentTypeKey,
    disposition: DispositionQuery = "attachment",
    file: FileQuery = 1,
    version: VersionQuery = None,
) -> Response:
    """Send the bytes as they were uploaded, of the current version or another that is kept."""
    del customer_id, key
    return await send_content(call, version=version, file=file, disposition=disposition)


@router.get(
    "/{key}/preview",
    response_class=Response,
    responses=PREVIEW_RESPONSES,
    summary="See a preview",
)
@operation(
    AuditAction.DOCUMENT_PREVIEW,
    errors=PREVIEW_ERRORS,
    in_transaction=False,
    conditions=("If-None-Match", "Range"),
)
async def admin_read_preview(
    call: Call,
    customer_id: CustomerIdPath,
    key: DocumentTypeKey,
    size: SizeQuery = PreviewSize.medium,
    file: FileQuery = 1,
) -> Response:
    """Send a picture of an image or of a PDF's first page."""
    del customer_id
    return await send_preview(call, key, file=file, size=size)


@router.get(
    "/{key}/versions", response_model=DocumentVersionPage, summary="List a document's versions"
)
@operation(AuditAction.DOCUMENT_READ, slots="one", errors=(DocumentTypeUnknown, InvalidCursor))
async def admin_list_document_versions(
    call: Call,
    customer_id: CustomerIdPath,
    key: DocumentTypeKey,
    limit: LimitQuery = DEFAULT_LIMIT,
    cursor: CursorQuery = None,
    include_total: IncludeTotalQuery = False,
) -> Response:
    """Return what was uploaded when and by whom, newest first."""
    del customer_id, key
    slot = call.slot
    cursors = cursors_of(call)
    before = None if cursor is None else cursors.decode(cursor)[0]
    rows = await documents.list_versions(
        call.work, call.customer, slot, before=before, limit=limit + 1
    )
    items, next_cursor = cut_page(rows, limit, cursors, lambda version: [version.number])
    current = slot.version.number if slot.version else 0
    return await page_response(
        DocumentVersionPage(
            items=[version_view(version, current) for version in items], next_cursor=next_cursor
        ),
        include_total,
        lambda: documents.count_versions(call.work, call.customer, slot),
    )


@router.post(
    "/{key}/copy",
    response_model=AdminDocumentRead,
    status_code=201,
    summary="Copy a stored file into a document",
    responses={200: {"model": AdminDocumentRead, "description": "The slot was filled before."}},
)
@operation(
    AuditAction.DOCUMENT_COPY,
    body="json",
    in_transaction=False,
    idempotent=True,
    conditions=("If-Match", "If-None-Match"),
    errors=(
        DocumentTypeUnknown,
        NoFile,
        TooManyFiles,
        FileTooLarge,
        MediaTypeNotAllowed,
        DocumentQuarantined,
        MalwareDetected,
        ScannerUnavailable,
        QuotaExceeded,
        StorageUnavailable,
    ),
)
async def admin_copy_document(
    call: Call, customer_id: CustomerIdPath, key: DocumentTypeKey, data: DocumentCopy
) -> Response:
    """Fill a document with the bytes of another one of the same customer; both live on alone."""
    del customer_id
    return await copy_document(call, key, data)
