"""Document types, their fields, and the keys and labels of both."""

import re
import secrets
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from docvault.errors import DuplicateLabel

KEY_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
MAX_KEY_LENGTH = 63
MAX_LABEL_LENGTH = 100

_NOT_KEY = re.compile(r"[^a-z0-9]+")


class UploadMode(StrEnum):
    """Who must or may upload a document."""

    OPTIONAL = "optional"
    REQUIRED = "required"
    ADMIN_ONLY = "admin_only"


class PasswordPolicy(StrEnum):
    """What happens to files that cannot be read without a password."""

    ACCEPT = "accept"
    REFUSE = "refuse"


# The codes of the original module, accepted on input.
LEGACY_UPLOAD_MODES = {0: UploadMode.OPTIONAL, 1: UploadMode.REQUIRED, 2: UploadMode.ADMIN_ONLY}


@dataclass(frozen=True, slots=True)
class DocumentField:
    """One text field; values are stored under `key`."""

    key: str
    label: str
    required: bool


@dataclass(frozen=True, slots=True, order=True)
class DocumentTypeCursor:
    """The position of a document type in the list; a page starts after it."""

    position: int
    id: UUID


@dataclass(frozen=True, slots=True)
class DocumentType:
    """A document type. `fields` are the active ones, also while they are not collected."""

    id: UUID
    key: str
    name: str
    upload_mode: UploadMode
    collects_fields: bool
    fields: tuple[DocumentField, ...]
    instructions: str | None
    accepted_media_types: tuple[str, ...] | None
    max_size_bytes: int | None
    max_files: int
    password_protected: PasswordPolicy
    position: int
    archived: bool
    created_at: datetime
    updated_at: datetime

    @property
    def cursor(self) -> DocumentTypeCursor:
        """Its position in the list."""
        return DocumentTypeCursor(self.position, self.id)

    @property
    def asked_fields(self) -> tuple[DocumentField, ...]:
        """The fields that are shown and requested: none while `collects_fields` is off (R-019)."""
        return self.fields if self.collects_fields else ()


def fold(text: str) -> str:
    """Return the form in which names and labels are compared: trimmed, normalised, caseless."""
    return unicodedata.normalize("NFKC", text.strip()).casefold()


def slug(name: str, existing: Collection[str], *, prefix: str) -> str:
    """Return an unused key for a name: its ASCII slug, suffixed with `-2` and so on if it exists.

    A name without any ASCII letter or digit becomes the prefix and eight random characters.
    """
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    stem = _NOT_KEY.sub("-", ascii_name).strip("-")[:MAX_KEY_LENGTH].rstrip("-")
    stem = stem or f"{prefix}-{secrets.token_hex(4)}"
    key, number = stem, 1
    while key in existing:
        number += 1
        ending = f"-{number}"
        key = stem[: MAX_KEY_LENGTH - len(ending)].rstrip("-") + ending
    return key


def parse_field_labels(text: str) -> list[str]:
    """Return the labels of the comma-separated form: trimmed, empties dropped, in order (R-018).

    Raises `DuplicateLabel`.
    """
    labels = [label for part in text.split(",") if (label := part.strip())]
    seen: set[str] = set()
    for label in labels:
        if fold(label) in seen:
            raise DuplicateLabel(f"Duplicate label {label!r}.", pointer="/field_labels")
        seen.add(fold(label))
    return labels
