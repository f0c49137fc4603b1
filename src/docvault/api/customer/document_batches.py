"""Several documents in one request (R-056)."""

from fastapi import APIRouter, Response

from docvault.api.routing.operation import Upload, operation
from docvault.api.routing.requests import CustomerRequest
from docvault.api.routing.routes import CustomerRoute
from docvault.api.shared.document_batches import BATCH_BODY, save_document_batch
from docvault.domain.audit import AuditAction
from docvault.errors import TooManyFiles
from docvault.schemas.document_batches import DocumentBatchRead

router = APIRouter(route_class=CustomerRoute, prefix="/v1/customer")


@router.post(
    "/document-batches",
    response_model=DocumentBatchRead,
    status_code=207,
    summary="Save several documents",
    openapi_extra=BATCH_BODY,
)
@operation(Upload(AuditAction.DOCUMENT_UPLOAD, idempotent=True, errors=(TooManyFiles,)))
async def customer_save_document_batch(request: CustomerRequest) -> Response:
    """Save files and field values of several documents, each independently of the others.

    The part `batch` lists the documents and refers to the parts `files` by position. An item
    without files only changes field values. Each file counts as an upload; a batch that exceeds
    the limit is rejected as a whole.
    """
    return await save_document_batch(request)
