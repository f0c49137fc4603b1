"""What every audience does with documents; each shows them in its own way."""

from collections.abc import Callable
from typing import Any

from fastapi import Response
from pydantic import BaseModel

from docvault.api.calls import Call
from docvault.api.conditional import check_preconditions, field_value
from docvault.api.content import (
    Disposition,
    content_response,
    requested_range,
    stored_file,
    unchanged,
)
from docvault.api.idempotency_keys import replayed, stored
from docvault.api.responses import json_response, no_content, resource_response
from docvault.api.uploads import received_submission
from docvault.api.views import gate_view
from docvault.errors import (
    AdminOnlyDocument,
    CorruptFile,
    DocumentQuarantined,
    DocumentTypeUnknown,
    DocvaultError,
    EmptyFile,
    FieldsNotEnabled,
    FileRequired,
    MalwareDetected,
    MediaTypeNotAllowed,
    NoFile,
    PreconditionFailed,
    RangeNotSatisfiable,
    ScannerUnavailable,
    StorageUnavailable,
    TooManyFiles,
    UnknownField,
)
from docvault.rules.gate import evaluate_gate
from docvault.rules.slots import Slot
from docvault.schemas.audit_events import AuditAction
from docvault.schemas.documents import DocumentUpdate
from docvault.services import attachments, documents, uploads

View = Callable[[Call, Slot], BaseModel]

CONTENT_ERRORS: tuple[type[DocvaultError], ...] = (
    DocumentTypeUnknown,
    NoFile,
    DocumentQuarantined,
    PreconditionFailed,
    RangeNotSatisfiable,
    StorageUnavailable,
)
UPDATE_ERRORS: tuple[type[DocvaultError], ...] = (
    DocumentTypeUnknown,
    FieldsNotEnabled,
    UnknownField,
)
UPLOAD_ERRORS: tuple[type[DocvaultError], ...] = (
    *UPDATE_ERRORS,
    FileRequired,
    EmptyFile,
    TooManyFiles,
    CorruptFile,
    MediaTypeNotAllowed,
    MalwareDetected,
    ScannerUnavailable,
)
CUSTOMER_ERRORS: tuple[type[DocvaultError], ...] = (AdminOnlyDocument,)

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


def read_document(call: Call, view: View) -> Response:
    """Return one document, filled or not."""
    return resource_response(call, view(call, call.slot))


def read_gate(call: Call) -> Response:
    """Return the verdict on the documents as they are now (R-079)."""
    gate = evaluate_gate(call.slots, enforced=call.switches.gate_enabled)
    return json_response(gate_view(gate))


async def upload_document(call: Call, view: View) -> Response:
    """Fill or replace a document; 201 when the slot was empty, else 200 (R-042, R-055)."""
    async with received_submission(call, call.slot.type) as submission:
        replay = call.claim.replay(call.fingerprint) if call.claim else None
        if replay is not None:
            return replayed(replay)

        return await uploads.store_submission(
            call.resources,
            call.asker,
            call.customer,
            call.slot,
            submission,
            precondition=lambda current: check_slot(call, current, view),
            respond=document_reply(call, view),
        )


def document_reply(call: Call, view: View) -> attachments.Respond[Response]:
    """Return what answers with the filled document: 201 when it was empty, else 200."""

    def respond(slot: Slot, created: bool) -> attachments.Reply[Response]:
        response = resource_response(call, view(call, slot), 201 if created else 200)
        return attachments.Reply(response, call.completion(stored(call.fingerprint, response)))

    return respond


async def update_document(call: Call, key: str, data: DocumentUpdate, view: View) -> Response:
    """Correct field values (R-045)."""
    slot = await documents.lock_slot(call.work, call.customer, key)
    check_slot(call, slot, view)
    updated = await documents.update_field_values(call.work, call.customer, slot, data.field_values)
    return resource_response(call, view(call, updated))


async def delete_document(call: Call, key: str, view: View) -> Response:
    """Empty a document."""
    slot = await documents.lock_slot(call.work, call.customer, key)
    check_slot(call, slot, view)
    await documents.delete_document(call.work, call.customer, slot)
    return no_content()


async def send_content(
    call: Call, *, version: int | None, file: int, disposition: Disposition
) -> Response:
    """Send the bytes of a stored file; every sending is in the audit trail (D26)."""
    found, facts = await documents.find_file(
        call.work, call.customer, call.slot, version=version, file=file
    )
    content = stored_file(facts, disposition)
    cached = unchanged(call, content)
    if cached is not None:
        return cached
    byte_range = requested_range(call, content)
    if not call.state.is_head:
        await call.work.record(
            AuditAction.DOCUMENT_DOWNLOAD,
            customer=call.customer,
            document_type=call.slot.type.key,
            version=found.number,
        )
    return content_response(call.resources, content, byte_range, is_head=call.state.is_head)


def check_slot(call: Call, slot: Slot, view: View) -> None:
    """Check the preconditions of a change. An empty slot has an ETag, but holds nothing.

    `If-None-Match: *` means: only if the slot is empty; `If-Match: *`: only if it is not.
    """
    if slot.version is None and _is_star(call, "if-match"):
        raise PreconditionFailed
    if slot.version is None and _is_star(call, "if-none-match"):
        return
    check_preconditions(call, view(call, slot))


def _is_star(call: Call, header: str) -> bool:
    return (field_value(call, header) or "").strip() == "*"
