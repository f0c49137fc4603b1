"""Copying stored files into another document of the customer."""

from fastapi import Response

from docvault.api.routing.requests import DocumentRequest
from docvault.api.shared.documents import save_target, saved_response
from docvault.schemas.documents import DocumentCopy
from docvault.services.copies import copy_files


async def copy_document(request: DocumentRequest, key: str, data: DocumentCopy) -> Response:
    """Copy stored files into a document."""
    target = save_target(request, key)
    return saved_response(await copy_files(request.resources, request.context, target, data.source))
