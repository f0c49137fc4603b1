"""Facts about document types and about what fills a customer's slots.

Repositories produce these, the rules judge them, schemas show them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from docvault.rules.scans import ScanState


class UploadMode(StrEnum):
    """Who must or may upload (R-013)."""

    OPTIONAL = "optional"
    REQUIRED = "required"
    ADMIN_ONLY = "admin_only"


# The codes of the original module, accepted on input.
LEGACY_UPLOAD_MODES = {0: UploadMode.OPTIONAL, 1: UploadMode.REQUIRED, 2: UploadMode.ADMIN_ONLY}


@dataclass(frozen=True, slots=True)
class FieldFacts:
    """One text field; values are stored under `key`."""

    key: str
    label: str
    required: bool


@dataclass(frozen=True, slots=True, order=True)
class TypePosition:
    """The place of a document type in their order; a page starts after one."""

    position: int
    id: UUID


@dataclass(frozen=True, slots=True)
class TypeFacts:
    """A document type. `fields` are the active ones, also while they are not collected."""

    id: UUID
    key: str
    name: str
    upload_mode: UploadMode
    collects_fields: bool
    fields: tuple[FieldFacts, ...]
    instructions: str | None
    accepted_media_types: tuple[str, ...] | None
    max_size_bytes: int | None
    max_files: int
    position: int
    archived: bool
    created_at: datetime
    updated_at: datetime

    @property
    def place(self) -> TypePosition:
        """Its place among the others."""
        return TypePosition(self.position, self.id)

    @property
    def asked_fields(self) -> tuple[FieldFacts, ...]:
        """The fields that are shown and asked: none while the switch is off (R-019)."""
        return self.fields if self.collects_fields else ()


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One stored file. `size_bytes` and `sha256` are of the bytes as received."""

    id: UUID
    number: int
    filename: str
    media_type: str
    size_bytes: int
    sha256: str
    has_active_content: bool
    scan: ScanState
    preview_failed: bool
    blob_key: str


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """One submission and its files."""

    id: UUID
    number: int
    uploaded_at: datetime
    uploaded_by_kind: str
    uploaded_by_id: str
    field_values: Mapping[str, str]
    files: tuple[FileFacts, ...]


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of one customer for one document type, filled or not."""

    type: TypeFacts
    version: VersionFacts | None
    field_values: Mapping[str, str]
    # Numbers only grow: an emptied slot remembers the last one it gave out.
    last_version: int = 0

    @property
    def shown_values(self) -> dict[str, str]:
        """The values of the fields that are asked now; others are kept but not shown (A-13)."""
        keys = [field.key for field in self.type.asked_fields]
        return {key: self.field_values[key] for key in keys if key in self.field_values}
