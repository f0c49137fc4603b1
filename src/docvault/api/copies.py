"""Copying a stored file into another slot."""

from fastapi import Response

from docvault.api.calls import Call
from docvault.api.documents import check_slot, document_reply
from docvault.api.views import admin_document_view
from docvault.schemas.documents import DocumentCopy
from docvault.services.copies import Copying, copy_files


async def copy_document(call: Call, key: str, data: DocumentCopy) -> Response:
    """Fill a slot with copies of stored bytes; 201 when it was empty, else 200."""
    return await copy_files(
        call.resources,
        call.asker,
        Copying(call.customer, key, data.source),
        precondition=lambda slot: check_slot(call, slot, admin_document_view),
        respond=document_reply(call, admin_document_view),
    )
