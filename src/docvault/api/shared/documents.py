"""What all three APIs do with documents."""

from typing import Any

from fastapi import Response

from docvault.api.http.conditional import read_preconditions
from docvault.api.http.downloads import (
    Disposition,
    content_response,
    describe_content,
    is_sent_here,
    limit_concurrent_downloads,
    parse_requested_range,
    respond_if_not_modified,
)
from docvault.api.http.idempotency import replay_response
from docvault.api.http.responses import (
    GATE_TIME,
    list_response,
    no_content,
    represented_response,
    resource_response,
)
from docvault.api.http.uploads import receive_submission
from docvault.api.routing.requests import CustomerRequest, DocumentRequest, DocumentsRequest
from docvault.domain.gate import evaluate_gate
from docvault.errors import (
    CorruptFile,
    DocumentQuarantined,
    DocumentTypeNotFound,
    DocvaultError,
    EmptyFile,
    FieldsNotEnabled,
    FileNotFound,
    FileRequired,
    MalwareDetected,
    PasswordProtected,
    PreconditionFailed,
    QuotaExceeded,
    RangeNotSatisfiable,
    ScannerUnavailable,
    StorageUnavailable,
    TooManyFiles,
    UnknownField,
    UnsupportedMediaType,
    WrongExtension,
)
from docvault.presenters.documents import present_document
from docvault.presenters.gate import present_gate
from docvault.schemas.documents import DocumentUpdate
from docvault.services import documents
from docvault.services.saved_documents import SavedDocument, SaveTarget
from docvault.services.uploads import Submission, save_submission

CONTENT_ERRORS: tuple[type[DocvaultError], ...] = (
    DocumentTypeNotFound,
    FileNotFound,
    DocumentQuarantined,
    PreconditionFailed,
    RangeNotSatisfiable,
    StorageUnavailable,
)
UPDATE_ERRORS: tuple[type[DocvaultError], ...] = (
    DocumentTypeNotFound,
    FieldsNotEnabled,
    UnknownField,
    QuotaExceeded,
)
UPLOAD_ERRORS: tuple[type[DocvaultError], ...] = (
    *UPDATE_ERRORS,
    FileRequired,
    EmptyFile,
    TooManyFiles,
    CorruptFile,
    UnsupportedMediaType,
    WrongExtension,
    PasswordProtected,
    MalwareDetected,
    ScannerUnavailable,
)
UPLOAD_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {"$ref": "#/components/schemas/DocumentUpload"},
                "encoding": {"field_values": {"contentType": "application/json"}},
            }
        },
    }
}


def read_document(request: DocumentRequest) -> Response:
    """Return a document as the caller may see it."""
    return resource_response(request, present_document(request.document, request.context))


def read_gate(request: DocumentsRequest) -> Response:
    """Return the gate for the documents as they are now (R-079)."""
    gate = evaluate_gate(request.documents, enforced=request.portal.gate_enabled)
    return list_response(request, present_gate(gate), GATE_TIME)


async def upload_document(request: DocumentRequest) -> Response:
    """Upload or replace a document (R-042, R-055)."""
    async with receive_submission(request) as submission:
        return await save_upload(request, submission)


async def save_upload(request: DocumentRequest, submission: Submission) -> Response:
    """Save what was received, or replay the response to the same request."""
    replay = request.claim.replay(request.fingerprint) if request.claim else None
    if replay is not None:
        return replay_response(replay)
    document = request.document
    target = save_target(request, document.type.key)
    return saved_response(
        await save_submission(request.resources, request.context, target, document, submission)
    )


def save_target(request: CustomerRequest, key: str) -> SaveTarget:
    """Return the document to save to, with the preconditions and the key of the request."""
    return SaveTarget(request.customer, key, read_preconditions(request), request.claim)


def saved_response(saved: SavedDocument) -> Response:
    """Return a saved document: 201 if its first or one more file was added, else 200."""
    return represented_response(saved.representation, saved.status)


async def update_document(request: DocumentRequest, key: str, data: DocumentUpdate) -> Response:
    """Correct field values (R-045)."""
    target = save_target(request, key)
    updated, _ = await documents.update_field_values(request.uow, target, data.field_values)
    return resource_response(request, present_document(updated, request.context))


async def delete_document(request: CustomerRequest, key: str) -> Response:
    """Delete every version of a document."""
    await documents.delete_document(request.uow, save_target(request, key))
    return no_content()


async def send_content(
    request: DocumentRequest, *, version: int | None, file: int, disposition: Disposition
) -> Response:
    """Send the bytes of a stored file."""
    document = request.document
    found, stored = await documents.find_file(
        request.uow, request.customer, document, version=version, file=file
    )
    content = describe_content(stored, disposition, is_embeddable=request.is_embedded)
    cached = respond_if_not_modified(request, content)
    if cached is not None:
        return cached
    byte_range = parse_requested_range(request, content)
    if not request.state.is_head:
        if is_sent_here(request.resources.settings):
            limit_concurrent_downloads(request, content, byte_range)
        if not request.is_audited:
            await documents.audit_download(request.uow, request.customer, document, found, stored)
    return content_response(request.resources, content, byte_range, is_head=request.state.is_head)
