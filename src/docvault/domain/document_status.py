"""The status of a document.

`repositories/sql/fragments/requested_types.sql` implements the same rules in SQL; a property test
compares the two.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from docvault.domain.document_types import DocumentField, UploadMode
from docvault.domain.documents import Document

# A value of only these characters counts as empty.
BLANKS = " \t\r\n"


class UploadState(StrEnum):
    """Whether a document has a file."""

    MISSING = "missing"
    UPLOADED = "uploaded"


class Status(StrEnum):
    """Whether a document has a file and all required field values."""

    MISSING = "missing"
    INCOMPLETE = "incomplete"
    ACCEPTED = "accepted"


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts over the active document types; `required_missing` is what the gate waits for."""

    uploaded: int
    missing: int
    required_missing: int


def upload_state(document: Document) -> UploadState:
    """Return whether the document has a file, whoever uploaded it (A-04)."""
    return UploadState.MISSING if document.version is None else UploadState.UPLOADED


def status(document: Document) -> Status:
    """Return the status: `incomplete` if a required field has no value (A-10)."""
    if document.version is None:
        return Status.MISSING
    if lacks_values(document.type.asked_fields, document.field_values):
        return Status.INCOMPLETE
    return Status.ACCEPTED


def lacks_values(fields: Iterable[DocumentField], values: Mapping[str, str]) -> bool:
    """Return whether a required field has no value, or a blank one."""
    return any(field.required and not values.get(field.key, "").strip(BLANKS) for field in fields)


def is_due(document: Document) -> bool:
    """Return whether a customer still owes this document (R-031)."""
    return (
        document.type.upload_mode is UploadMode.REQUIRED and status(document) is not Status.ACCEPTED
    )


def totals(documents: Iterable[Document]) -> Totals:
    """Count the states of documents of active types."""
    active = [document for document in documents if not document.type.archived]
    uploaded = sum(upload_state(document) is UploadState.UPLOADED for document in active)
    return Totals(uploaded, len(active) - uploaded, sum(is_due(document) for document in active))
