"""Staff send large files past the service."""

from fastapi import APIRouter, Response

from docvault.api.callers import AdminRoute
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
from docvault.api.views import admin_document_view
from docvault.schemas.audit_events import AuditAction
from docvault.schemas.documents import AdminDocumentRead
from docvault.schemas.upload_sessions import UploadCreate, UploadCreated, UploadRead

router = APIRouter(
    route_class=AdminRoute, prefix="/v1/admin/customers/{id}/documents/{key}/uploads"
)


@router.post("", response_model=UploadCreated, status_code=201, summary="Announce a file")
@operation(
    AuditAction.UPLOAD_CREATE,
    body="json",
    in_transaction=False,
    idempotent=True,
    creates=True,
    errors=OPEN_ERRORS,
)
async def admin_create_upload(
    call: Call, customer_id: CustomerIdPath, key: DocumentTypeKey, data: UploadCreate
) -> Response:
    """Say what will be sent; the answer is a signed URL that takes exactly these bytes."""
    del customer_id
    return await open_upload(call, key, data)


@router.get("/{upload_id}", response_model=UploadRead, summary="Read an upload")
@operation(
    AuditAction.UPLOAD_READ,
    errors=SESSION_ERRORS,
    conditions=("If-None-Match",),
)
async def admin_read_upload(
    call: Call, customer_id: CustomerIdPath, key: DocumentTypeKey, upload_id: UploadId
) -> Response:
    """Return where an upload of your own stands."""
    del customer_id
    return await read_upload(call, key, upload_id)


@router.delete("/{upload_id}", status_code=204, summary="Give an upload up")
@operation(
    AuditAction.UPLOAD_DELETE,
    errors=SESSION_ERRORS,
)
async def admin_delete_upload(
    call: Call, customer_id: CustomerIdPath, key: DocumentTypeKey, upload_id: UploadId
) -> Response:
    """Forget an upload of your own; a document it became stays."""
    del customer_id
    return await delete_upload(call, key, upload_id)


@router.post(
    "/{upload_id}/complete",
    response_model=AdminDocumentRead,
    status_code=201,
    summary="Complete an upload",
    responses={200: {"model": AdminDocumentRead, "description": "The slot was filled before."}},
)
@operation(
    AuditAction.DOCUMENT_UPLOAD,
    in_transaction=False,
    idempotent=True,
    conditions=("If-Match", "If-None-Match"),
    errors=COMPLETE_ERRORS,
)
async def admin_complete_upload(
    call: Call, customer_id: CustomerIdPath, key: DocumentTypeKey, upload_id: UploadId
) -> Response:
    """Make the bytes that were sent the document; again, it answers with the document."""
    del customer_id
    return await complete_upload(call, key, upload_id, admin_document_view)
