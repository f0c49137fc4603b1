"""Documents of customers, their versions and files."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from docvault.domain.document_types import DocumentType
from docvault.domain.scans import ScanState


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One stored file. `size_bytes` and `sha256` describe the bytes as received.

    `has_attachments` and `needs_password` are None if unknown: the file hides the former, or was
    stored by a version that did not look.
    """

    id: UUID
    number: int
    filename: str
    media_type: str
    size_bytes: int
    sha256: str
    has_active_content: bool
    has_attachments: bool | None
    needs_password: bool | None
    # None if unknown, or if a file of this type has no pages.
    pages: int | None
    scan: ScanState
    preview_failed: bool
    blob_key: str


@dataclass(frozen=True, slots=True)
class DocumentVersion:
    """One submission and its files."""

    id: UUID
    number: int
    uploaded_at: datetime
    uploaded_by_kind: str
    uploaded_by_id: str
    field_values: Mapping[str, str]
    files: tuple[StoredFile, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """What one customer has submitted for one document type; `version` is None while missing."""

    type: DocumentType
    version: DocumentVersion | None
    field_values: Mapping[str, str]
    # Version numbers only grow, also across deletions.
    last_version: int = 0

    @property
    def shown_values(self) -> dict[str, str]:
        """The values of the fields that are requested now; others are kept but not shown (A-13)."""
        keys = [field.key for field in self.type.asked_fields]
        return {key: self.field_values[key] for key in keys if key in self.field_values}
