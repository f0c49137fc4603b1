"""The customer's own documents."""

from fastapi import APIRouter, Response

from docvault.api.http.downloads import CONTENT_RESPONSES, DispositionQuery, FileQuery
from docvault.api.http.pagination import (
    DEFAULT_DOCUMENTS,
    CursorQuery,
    DocumentLimitQuery,
    IncludeTotalQuery,
)
from docvault.api.http.parameters import DocumentTypeKey
from docvault.api.routing.operation import JsonBody, NoBody, Read, Upload, operation
from docvault.api.routing.requests import CustomerRequest, DocumentRequest, DocumentsRequest
from docvault.api.routing.routes import CustomerRoute
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
from docvault.api.shared.pages import document_page
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
    DeleteNotAllowed,
    DocumentTypeNotFound,
    FileNotFound,
    FileRequired,
    InvalidCursor,
)
from docvault.schemas.documents import DocumentPage, DocumentRead, DocumentUpdate

router = APIRouter(route_class=CustomerRoute, prefix="/v1/customer/documents")


@router.get("", response_model=DocumentPage, summary="List my documents")
@operation(Read(AuditAction.DOCUMENT_LIST, errors=(InvalidCursor,), conditions=("If-None-Match",)))
async def customer_list_documents(
    request: DocumentsRequest,
    limit: DocumentLimitQuery = DEFAULT_DOCUMENTS,
    cursor: CursorQuery = None,
    include_total: IncludeTotalQuery = False,
) -> Response:
    """List all requested documents, with their state, what was uploaded and what is accepted."""
    return await document_page(
        request,
        limit=limit,
        cursor=cursor,
        include_total=include_total,
    )


@router.get("/{key}", response_model=DocumentRead, summary="Get a document")
@operation(Read(AuditAction.DOCUMENT_READ, conditions=("If-None-Match",)))
async def customer_read_document(request: DocumentRequest) -> Response:
    """Get a document. Its `upload_state` is `missing` if nothing was uploaded yet."""
    return read_document(request)


@router.put(
    "/{key}",
    response_model=DocumentRead,
    summary="Upload or replace a document",
    openapi_extra=UPLOAD_BODY,
    responses={201: {"model": DocumentRead, "description": "The document had no file before."}},
)
@operation(
    Upload(
        AuditAction.DOCUMENT_UPLOAD,
        idempotent=True,
        conditions=("If-Match", "If-None-Match"),
        errors=UPLOAD_ERRORS,
    )
)
async def customer_upload_document(request: DocumentRequest) -> Response:
    """Upload files, which replace all present ones, optionally with field values."""
    return await upload_document(request)


@router.patch("/{key}", response_model=DocumentRead, summary="Update field values")
@operation(
    JsonBody(
        AuditAction.DOCUMENT_UPDATE, conditions=("If-Match",), errors=(FileRequired, *UPDATE_ERRORS)
    )
)
async def customer_update_document(
    request: DocumentRequest, key: DocumentTypeKey, data: DocumentUpdate
) -> Response:
    """Change field values without uploading the file again."""
    return await update_document(request, key, data)


@router.delete("/{key}", status_code=204, summary="Delete a document")
@operation(
    NoBody(
        AuditAction.DOCUMENT_DELETE,
        conditions=("If-Match",),
        errors=(DeleteNotAllowed, DocumentTypeNotFound, FileNotFound),
    )
)
async def customer_delete_document(request: CustomerRequest, key: DocumentTypeKey) -> Response:
    """Delete an optional document, if the portal settings allow it."""
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
async def customer_read_content(
    request: DocumentRequest,
    disposition: DispositionQuery = "attachment",
    file: FileQuery = 1,
) -> Response:
    """Download a file as it was uploaded."""
    return await send_content(request, version=None, file=file, disposition=disposition)


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
async def customer_read_preview(
    request: CustomerRequest,
    key: DocumentTypeKey,
    size: SizeQuery = PreviewSize.medium,
    file: FileQuery = 1,
    page: PageQuery = 1,
) -> Response:
    """Get a picture of an image, or of a page of a PDF or TIFF."""
    return await send_preview(request, key, file=file, page=page, size=size)
