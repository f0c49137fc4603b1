"""The gate: whether the host may give this customer full access (R-070 to R-079)."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from docvault.rules.slots import Slot
from docvault.rules.states import is_due


class GateDecision(StrEnum):
    """What the host is told; it enforces (A-06)."""

    OPEN = "open"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class Gate:
    """A decision and the keys of the required types that are due, also when not enforced."""

    decision: GateDecision
    enforced: bool
    missing: tuple[str, ...]


def evaluate_gate(slots: Iterable[Slot], *, enforced: bool) -> Gate:
    """Decide from the slots of one customer; no required type means open (R-078)."""
    missing = tuple(slot.type.key for slot in slots if not slot.type.archived and is_due(slot))
    blocked = enforced and bool(missing)
    return Gate(GateDecision.BLOCKED if blocked else GateDecision.OPEN, enforced, missing)
