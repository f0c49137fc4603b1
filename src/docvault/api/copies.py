"""Copying a stored file into another slot."""

from fastapi import Response

from docvault.api.calls import Call
from docvault.api.documents import check_slot
from docvault.api.idempotency_keys import stored
from docvault.api.responses import resource_response
from docvault.api.views import admin_document_view
from docvault.rules.slots import Slot
from docvault.schemas.documents import DocumentCopy
from docvault.services.copies import Copying, copy_files
from docvault.services.work import Work


async def copy_document(call: Call, key: str, data: DocumentCopy) -> Response:
    """Fill a slot with copies of stored bytes; 201 when it was empty, else 200."""

    async def respond(work: Work, slot: Slot, created: bool) -> Response:
        view = admin_document_view(call, slot)
        response = resource_response(call.request, view, 201 if created else 200)
        await call.complete(work, stored(call.fingerprint, response))
        return response

    return await copy_files(
        call.resources,
        call.asker,
        Copying(call.customer, key, data.source),
        precondition=lambda slot: check_slot(call, slot, admin_document_view),
        respond=respond,
    )
