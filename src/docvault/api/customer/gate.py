"""A customer's front end asks the gate."""

from fastapi import APIRouter, Response

from docvault.api.callers import CustomerRoute
from docvault.api.calls import Call
from docvault.api.documents import read_gate
from docvault.api.operations import operation
from docvault.schemas.audit_events import AuditAction
from docvault.schemas.gate import GateRead

router = APIRouter(route_class=CustomerRoute, prefix="/v1/customer")


@router.get("/gate", response_model=GateRead, summary="Ask the gate")
@operation(AuditAction.GATE_READ, slots="all", works_without_section=True)
async def customer_read_gate(call: Call) -> Response:
    """Return whether this customer has delivered everything required."""
    return read_gate(call)
