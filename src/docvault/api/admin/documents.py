"""The documents of a customer, as staff see and manage them."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from docvault.api.http.downloads import CONTENT_RESPONSES, DispositionQuery, FileQuery
from docvault.api.http.pagination import (
    DEFAULT_DOCUMENTS,
    DEFAULT_LIMIT,
    CursorQuery,
    Cursors,
    DocumentLimitQuery,
    IncludeTotalQuery,
    LimitQuery,
    cut_page,
)
from docvault.api.http.parameters import DocumentTypeKey
from docvault.api.routing.operation import JsonBody, NoBody, Read, Upload, operation
from docvault.api.routing.requests import CustomerRequest, DocumentRequest, DocumentsRequest
from docvault.api.routing.routes import AdminRoute
from docvault.api.shared.copies import copy_document
from docvault.api.shared.documents import (
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
from docvault.api.shared.pages import document_page, page_response
from docvault.api.shared.previews import (
    PREVIEW_ERRORS,
    PREVIEW_RESPONSES,
    PageQuery,
    SizeQuery,
    send_preview,
)
from docvault.domain.audit import AuditAction
from docvault.domain.previews import PreviewSize
from docvault.errors import (
    DocumentQuarantined,
    DocumentTypeNotFound,
    FileNotFound,
    FileTooLarge,
    InvalidCursor,
    MalwareDetected,
    PasswordProtected,
    QuotaExceeded,
    ScannerUnavailable,
    StorageUnavailable,
    TooManyFiles,
    UnsupportedMediaType,
)
from docvault.presenters.documents import present_version
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
    Query(ge=1, le=2**31 - 1, description="The version number; the current version by default."),
]


@router.get("", response_model=AdminDocumentPage, summary="List a customer's documents")
@operation(Read(AuditAction.DOCUMENT_LIST, errors=(InvalidCursor,), conditions=("If-None-Match",)))
async def admin_list_documents(
    request: DocumentsRequest,
    limit: DocumentLimitQuery = DEFAULT_DOCUMENTS,
    cursor: CursorQuery = None,
    include_total: IncludeTotalQuery = False,
) -> Response:
    """List the documents of all active types, and of archived types that hold a file."""
    return await document_page(
        request,
        limit=limit,
        cursor=cursor,
        include_total=include_total,
    )


@router.get("/{key}", response_model=AdminDocumentRead, summary="Get a document")
@operation(Read(AuditAction.DOCUMENT_READ, conditions=("If-None-Match",)))
async def admin_read_document(request: DocumentRequest) -> Response:
    """Get a document. Its `upload_state` is `missing` if nothing was uploaded yet."""
    return read_document(request)


@router.put(
    "/{key}",
    response_model=AdminDocumentRead,
    summary="Upload or replace a document",
    openapi_extra=UPLOAD_BODY,
    responses={
        201: {"model": AdminDocumentRead, "description": "The document had no file before."}
    },
)
@operation(
    Upload(
        AuditAction.DOCUMENT_UPLOAD,
        idempotent=True,
        conditions=("If-Match", "If-None-Match"),
        errors=UPLOAD_ERRORS,
    )
)
async def admin_upload_document(request: DocumentRequest) -> Response:
    """Upload files on behalf of the customer, whatever the upload mode.

    They replace all present ones.
    """
    return await upload_document(request)


@router.patch("/{key}", response_model=AdminDocumentRead, summary="Update field values")
@operation(JsonBody(AuditAction.DOCUMENT_UPDATE, conditions=("If-Match",), errors=UPDATE_ERRORS))
async def admin_update_document(
    request: DocumentRequest, key: DocumentTypeKey, data: DocumentUpdate
) -> Response:
    """Change field values. File, version and upload date stay the same."""
    return await update_document(request, key, data)


@router.delete("/{key}", status_code=204, summary="Delete a document")
@operation(
    NoBody(
        AuditAction.DOCUMENT_DELETE,
        conditions=("If-Match",),
        errors=(DocumentTypeNotFound, FileNotFound),
    )
)
async def admin_delete_document(request: CustomerRequest, key: DocumentTypeKey) -> Response:
    """Delete the files of all versions, their previews and the field values."""
    return await delete_document(request, key)


@router.get(
    "/{key}/content",
    response_class=Response,
    responses=CONTENT_RESPONSES,
    summary="Download a file",
)
@operation(
    Read(
        AuditAction.DOCUMENT_DOWNLOAD, errors=CONTENT_ERRORS, conditions=("If-None-Match", "Range")
    )
)
async def admin_read_content(
    request: DocumentRequest,
    disposition: DispositionQuery = "attachment",
    file: FileQuery = 1,
    version: VersionQuery = None,
) -> Response:
    """Download a file as it was uploaded, from the current or an earlier version."""
    return await send_content(request, version=version, file=file, disposition=disposition)


@router.get(
    "/{key}/preview",
    response_class=Response,
    responses=PREVIEW_RESPONSES,
    summary="Get a preview",
)
@operation(
    Read(
        AuditAction.DOCUMENT_PREVIEW,
        errors=PREVIEW_ERRORS,
        in_transaction=False,
        conditions=("If-None-Match", "Range"),
    )
)
async def admin_read_preview(
    request: CustomerRequest,
    key: DocumentTypeKey,
    size: SizeQuery = PreviewSize.medium,
    file: FileQuery = 1,
    page: PageQuery = 1,
) -> Response:
    """Get a picture of an image, or of a page of a PDF or TIFF."""
    return await send_preview(request, key, file=file, page=page, size=size)


@router.get(
    "/{key}/versions", response_model=DocumentVersionPage, summary="List a document's versions"
)
@operation(Read(AuditAction.DOCUMENT_READ, errors=(InvalidCursor,), conditions=("If-None-Match",)))
async def admin_list_document_versions(
    request: DocumentRequest,
    limit: LimitQuery = DEFAULT_LIMIT,
    cursor: CursorQuery = None,
    include_total: IncludeTotalQuery = False,
) -> Response:
    """List who uploaded which version and when, newest first."""
    document = request.document
    cursors = Cursors.of(request, request.context.keyring)
    before = None if cursor is None else cursors.decode(cursor)[0]
    rows = await documents.list_versions(
        request.uow, request.customer, document, before=before, limit=limit + 1
    )
    items, next_cursor = cut_page(rows, limit, cursors, lambda version: [version.number])
    current = document.version.number if document.version else 0
    return await page_response(
        request,
        DocumentVersionPage(
            items=[present_version(version, current) for version in items], next_cursor=next_cursor
        ),
        include_total,
        lambda: documents.count_versions(request.uow, request.customer, document),
    )


@router.post(
    "/{key}/copy",
    response_model=AdminDocumentRead,
    status_code=201,
    summary="Copy a stored file into a document",
    responses={200: {"model": AdminDocumentRead, "description": "The document had a file before."}},
)
@operation(
    JsonBody(
        AuditAction.DOCUMENT_COPY,
        in_transaction=False,
        idempotent=True,
        conditions=("If-Match", "If-None-Match"),
        errors=(
            FileNotFound,
            TooManyFiles,
            FileTooLarge,
            UnsupportedMediaType,
            PasswordProtected,
            DocumentQuarantined,
            MalwareDetected,
            ScannerUnavailable,
            QuotaExceeded,
            StorageUnavailable,
        ),
    )
)
async def admin_copy_document(
    request: DocumentRequest, key: DocumentTypeKey, data: DocumentCopy
) -> Response:
    """Store a copy of another document of the same customer. The copies are independent."""
    return await copy_document(request, key, data)
