"""What state a slot is in. The SQL in `repositories/verdicts.py` says the same; a property
test holds them together.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from docvault.rules.slots import FieldFacts, Slot, UploadMode

# A value of only these counts as not filled in.
BLANKS = " \t\r\n"


class UploadState(StrEnum):
    """Whether a current file exists: the pair the original module knows (A-16)."""

    MISSING = "missing"
    UPLOADED = "uploaded"


class Status(StrEnum):
    """What still has to be done about a document."""

    MISSING = "missing"
    INCOMPLETE = "incomplete"
    ACCEPTED = "accepted"


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts over the active document types; `required_missing` is what the gate waits for."""

    uploaded: int
    missing: int
    required_missing: int


def upload_state(slot: Slot) -> UploadState:
    """Return whether the slot holds a file, whoever uploaded it (A-04)."""
    return UploadState.MISSING if slot.version is None else UploadState.UPLOADED


def status(slot: Slot) -> Status:
    """Return the status: incomplete when a required field lacks a value (A-10)."""
    if slot.version is None:
        return Status.MISSING
    if lacks_values(slot.type.asked_fields, slot.field_values):
        return Status.INCOMPLETE
    return Status.ACCEPTED


def lacks_values(fields: Iterable[FieldFacts], values: Mapping[str, str]) -> bool:
    """Return whether a required field has no value, or only blanks."""
    return any(field.required and not values.get(field.key, "").strip(BLANKS) for field in fields)


def is_due(slot: Slot) -> bool:
    """Return whether a customer still owes this document (R-031)."""
    return slot.type.upload_mode is UploadMode.REQUIRED and status(slot) is not Status.ACCEPTED


def totals(slots: Iterable[Slot]) -> Totals:
    """Count the states of the active types among the slots."""
    active = [slot for slot in slots if not slot.type.archived]
    uploaded = sum(upload_state(slot) is UploadState.UPLOADED for slot in active)
    return Totals(uploaded, len(active) - uploaded, sum(is_due(slot) for slot in active))
