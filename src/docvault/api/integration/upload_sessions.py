"""Third parties send large files past the service."""

from fastapi import APIRouter, Response

from docvault.api.callers import IntegrationRoute
from docvault.api.calls import Call
from docvault.api.operations import operation
from docvault.api.paths import CustomerIdPath, DocumentTypeKey, UploadId
from docvault.api.upload_sessions import (
    COMPLETE_ERRORS,
    OPEN_ERRORS,
    SESSION_ERRORS,
    complete_upload,
    delete_upload,
    open_upload,
    read_upload,
)
from docvault.api.views import document_view
from docvault.auth.scopes import Scope
from docvault.schemas.audit_events import AuditAction
from docvault.schemas.documents import DocumentRead
from docvault.schemas.upload_sessions import UploadCreate, UploadCreated, UploadRead

router = APIRouter(
    route_class=IntegrationRoute, prefix="/v1/integration/customers/{id}/documents/{key}/uploads"
)


@router.post("", response_model=UploadCreated, status_code=201, summary="Announce a file")
@operation(
    AuditAction.UPLOAD_CREATE,
    scope=Scope.DOCUMENTS_WRITE,
    body="json",
    in_transaction=False,
    idempotent=True,
    creates=True,
    errors=OPEN_ERRORS,
)
async def integration_create_upload(
    call: Call, customer_id: CustomerIdPath, key: DocumentTypeKey, data: UploadCreate
) -> Response:
    """Say what will be sent; the answer is a signed URL that takes exactly these bytes."""
    del customer_id
    return await open_upload(call, key, data)


@router.get("/{upload_id}", response_model=UploadRead, summary="Read an upload")
@operation(
    AuditAction.UPLOAD_READ,
    scope=Scope.DOCUMENTS_WRITE,
    errors=SESSION_ERRORS,
    conditions=("If-None-Match",),
)
async def integration_read_upload(
    call: Call, customer_id: CustomerIdPath, key: DocumentTypeKey, upload_id: UploadId
) -> Response:
    """Return where an upload of your own stands."""
    del customer_id
    return await read_upload(call, key, upload_id)


@router.delete("/{upload_id}", status_code=204, summary="Give an upload up")
@operation(
    AuditAction.UPLOAD_DELETE,
    scope=Scope.DOCUMENTS_WRITE,
    errors=SESSION_ERRORS,
)
async def integration_delete_upload(
    call: Call, customer_id: CustomerIdPath, key: DocumentTypeKey, upload_id: UploadId
) -> Response:
    """Forget an upload of your own; a document it became stays."""
    del customer_id
    return await delete_upload(call, key, upload_id)


@router.post(
    "/{upload_id}/complete",
    response_model=DocumentRead,
    status_code=201,
    summary="Complete an upload",
    responses={200: {"model": DocumentRead, "description": "The slot was filled before."}},
)
@operation(
    AuditAction.DOCUMENT_UPLOAD,
    scope=Scope.DOCUMENTS_WRITE,
    in_transaction=False,
    idempotent=True,
    conditions=("If-Match", "If-None-Match"),
    errors=COMPLETE_ERRORS,
)
async def integration_complete_upload(
    call: Call, customer_id: CustomerIdPath, key: DocumentTypeKey, upload_id: UploadId
) -> Response:
    """Make the bytes that were sent the document; again, it answers with the document."""
    del customer_id
    return await complete_upload(call, key, upload_id, document_view)
