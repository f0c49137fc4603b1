"""The gate: whether the host may give this customer full access (R-070 to R-079)."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from docvault.domain.document_status import is_due
from docvault.domain.documents import Document


class GateDecision(StrEnum):
    """Whether the customer gets full access; the host enforces it."""

    OPEN = "open"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class Gate:
    """A decision, and the keys of the required types that are missing, enforced or not."""

    decision: GateDecision
    enforced: bool
    missing: tuple[str, ...]


def evaluate_gate(documents: Iterable[Document], *, enforced: bool) -> Gate:
    """Decide from all documents of a customer; without required types it is open (R-078)."""
    missing = tuple(
        document.type.key
        for document in documents
        if not document.type.archived and is_due(document)
    )
    blocked = enforced and bool(missing)
    return Gate(GateDecision.BLOCKED if blocked else GateDecision.OPEN, enforced, missing)
