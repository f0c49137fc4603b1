"""The gate on the wire."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from docvault.rules.gate import Gate, GateDecision
from docvault.schemas.base import OutputModel, UtcTime


class GateRead(OutputModel):
    """Whether the host may give this customer full access, and what is still due."""

    decision: GateDecision
    enforced: Annotated[bool, Field(description="Whether uploading is mandatory at present.")]
    missing: Annotated[
        list[str],
        Field(
            description="Keys of the required document types that are due, enforced or not.",
            examples=[["identity-card"]],
        ),
    ]
    evaluated_at: UtcTime


def gate_read(gate: Gate, evaluated_at: datetime) -> GateRead:
    """Return a gate as it goes over the wire."""
    return GateRead(
        decision=gate.decision,
        enforced=gate.enforced,
        missing=list(gate.missing),
        evaluated_at=evaluated_at,
    )
