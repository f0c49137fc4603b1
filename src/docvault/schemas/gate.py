"""Schema of the gate."""

from typing import Annotated

from pydantic import Field

from docvault.domain.gate import GateDecision
from docvault.schemas.base import OutputModel, UtcTime


class GateRead(OutputModel):
    """Whether the host may give the customer full access, and which documents are missing."""

    decision: Annotated[GateDecision, Field(examples=[GateDecision.BLOCKED])]
    enforced: Annotated[bool, Field(description="Whether the gate is enabled.", examples=[True])]
    missing: Annotated[
        list[str],
        Field(
            description="Keys of the missing required document types, even if not enforced.",
            examples=[["identity-card"]],
        ),
    ]
    evaluated_at: UtcTime
