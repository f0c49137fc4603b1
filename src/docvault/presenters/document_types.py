"""Document types."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from docvault.domain.accepted_files import allowed_media_types, max_file_bytes
from docvault.domain.document_types import DocumentField, DocumentType
from docvault.schemas.document_types import (
    DocumentTypeFieldRead,
    DocumentTypeRead,
    RequestedDocumentType,
)
from docvault.settings import Settings


def present_document_type(document_type: DocumentType, settings: Settings) -> DocumentTypeRead:
    """Present a document type for staff and integrations, with all its active fields."""
    return DocumentTypeRead(
        **_common_members(document_type, max_file_bytes(document_type, settings)),
        fields=_present_fields(document_type.fields),
        collects_fields=document_type.collects_fields,
        position=document_type.position,
        archived=document_type.archived,
        created_at=document_type.created_at,
        updated_at=document_type.updated_at,
    )


def present_requested_type(
    document_type: DocumentType, settings: Settings
) -> RequestedDocumentType:
    """Present the type of a document, with only the fields that are requested now."""
    return _present_requested_type(document_type, max_file_bytes(document_type, settings))


# The types are the same in every list of documents; see `to_document_type`.
@lru_cache(maxsize=1024)
def _present_requested_type(
    document_type: DocumentType, max_size_bytes: int
) -> RequestedDocumentType:
    return RequestedDocumentType(
        **_common_members(document_type, max_size_bytes),
        fields=_present_fields(document_type.asked_fields),
    )


def _common_members(document_type: DocumentType, max_size_bytes: int) -> dict[str, Any]:
    return {
        "key": document_type.key,
        "name": document_type.name,
        "upload_mode": document_type.upload_mode,
        "instructions": document_type.instructions,
        "accepted_media_types": list(allowed_media_types(document_type)),
        "max_size_bytes": max_size_bytes,
        "max_files": document_type.max_files,
        "password_protected": document_type.password_protected,
    }


def _present_fields(fields: Sequence[DocumentField]) -> list[DocumentTypeFieldRead]:
    return [
        DocumentTypeFieldRead(key=f.key, label=f.label, kind="text", required=f.required)
        for f in fields
    ]
