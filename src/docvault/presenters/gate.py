"""The gate."""

from datetime import UTC, datetime

from docvault.domain.gate import Gate
from docvault.schemas.gate import GateRead


def present_gate(gate: Gate) -> GateRead:
    """Present the gate with the current time."""
    return GateRead(
        decision=gate.decision,
        enforced=gate.enforced,
        missing=list(gate.missing),
        evaluated_at=datetime.now(UTC),
    )
