"""Documents that third-party systems read and upload."""

from fastapi import APIRouter, Response

from docvault.api.http.downloads import CONTENT_RESPONSES, DispositionQuery, FileQuery
from docvault.api.http.pagination import (
    DEFAULT_DOCUMENTS,
    CursorQuery,
    DocumentLimitQuery,
    IncludeTotalQuery,
)
from docvault.api.http.parameters import DocumentTypeKey
from docvault.api.routing.operation import JsonBody, Read, Upload, operation
from docvault.api.routing.requests import DocumentRequest, DocumentsRequest
from docvault.api.routing.routes import IntegrationRoute
from docvault.api.shared.documents import (
    CONTENT_ERRORS,
    UPDATE_ERRORS,
    UPLOAD_BODY,
    UPLOAD_ERRORS,
    read_document,
    send_content,
    update_document,
    upload_document,
)
from docvault.api.shared.pages import document_page
from docvault.domain.audit import AuditAction
from docvault.domain.scopes import Scope
from docvault.errors import InvalidCursor
from docvault.schemas.documents import DocumentPage, DocumentRead, DocumentUpdate

router = APIRouter(route_class=IntegrationRoute, prefix="/v1/integration/customers/{id}/documents")


@router.get("", response_model=DocumentPage, summary="List a customer's documents")
@operation(
    Read(
        AuditAction.DOCUMENT_LIST,
        scope=Scope.DOCUMENTS_READ,
        errors=(InvalidCursor,),
        conditions=("If-None-Match",),
    )
)
async def integration_list_documents(
    request: DocumentsRequest,
    limit: DocumentLimitQuery = DEFAULT_DOCUMENTS,
    cursor: CursorQuery = None,
    include_total: IncludeTotalQuery = False,
) -> Response:
    """List the documents of all active types, uploaded or not."""
    return await document_page(
        request,
        limit=limit,
        cursor=cursor,
        include_total=include_total,
    )


@router.get("/{key}", response_model=DocumentRead, summary="Get a document")
@operation(
    Read(AuditAction.DOCUMENT_READ, scope=Scope.DOCUMENTS_READ, conditions=("If-None-Match",))
)
async def integration_read_document(request: DocumentRequest) -> Response:
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
        scope=Scope.DOCUMENTS_WRITE,
        idempotent=True,
        conditions=("If-Match", "If-None-Match"),
        errors=UPLOAD_ERRORS,
    )
)
async def integration_upload_document(request: DocumentRequest) -> Response:
    """Upload files for a customer, which replace all present ones.

    Admin-only types also need `documents:write_admin_only`.
    """
    return await upload_document(request)


@router.patch("/{key}", response_model=DocumentRead, summary="Update field values")
@operation(
    JsonBody(
        AuditAction.DOCUMENT_UPDATE,
        scope=Scope.DOCUMENTS_WRITE,
        conditions=("If-Match",),
        errors=UPDATE_ERRORS,
    )
)
async def integration_update_document(
    request: DocumentRequest, key: DocumentTypeKey, data: DocumentUpdate
) -> Response:
    """Change field values. File, version and upload date stay the same."""
    return await update_document(request, key, data)


@router.get(
    "/{key}/content",
    response_class=Response,
    responses=CONTENT_RESPONSES,
    summary="Download a file",
)
@operation(
    Read(
        AuditAction.DOCUMENT_DOWNLOAD,
        scope=Scope.CONTENT_READ,
        errors=CONTENT_ERRORS,
        conditions=("If-None-Match", "Range"),
    )
)
async def integration_read_content(
    request: DocumentRequest,
    disposition: DispositionQuery = "attachment",
    file: FileQuery = 1,
) -> Response:
    """Download a file as it was uploaded."""
    return await send_content(request, version=None, file=file, disposition=disposition)
