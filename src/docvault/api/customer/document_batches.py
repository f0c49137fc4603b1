"""Customers save several documents at once (R-056)."""

from fastapi import APIRouter, Response

from docvault.api.callers import CustomerRoute
from docvault.api.calls import Call
from docvault.api.document_batches import BATCH_BODY, save_batch
from docvault.api.operations import operation
from docvault.errors import PortalSectionDisabled, TooManyFiles
from docvault.schemas.audit_events import AuditAction
from docvault.schemas.document_batches import DocumentBatchRead

router = APIRouter(route_class=CustomerRoute, prefix="/v1/customer")


@router.post(
    "/document-batches",
    response_model=DocumentBatchRead,
    status_code=207,
    summary="Save several documents",
    openapi_extra=BATCH_BODY,
)
@operation(
    AuditAction.DOCUMENT_UPLOAD,
    body="upload",
    idempotent=True,
    errors=(PortalSectionDisabled, TooManyFiles),
)
async def customer_save_document_batch(call: Call) -> Response:
    """Save files and field values of several documents; each is saved or refused by itself.

    The first part, `items`, says which of the parts that follow belong to which document. An
    item without files changes field values only.
    """
    return await save_batch(call)
