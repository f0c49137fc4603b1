"""A customer's front end asks the gate."""

from fastapi import APIRouter, Response

from docvault.api.callers import CustomerRoute
from docvault.api.calls import CurrentCall
from docvault.api.operations import operation
from docvault.api.responses import json_response
from docvault.api.views import gate_view
from docvault.schemas.audit_events import AuditAction
from docvault.schemas.gate import GateRead
from docvault.services.gate import read_gate

router = APIRouter(route_class=CustomerRoute, prefix="/v1/customer")


@router.get("/gate", response_model=GateRead, summary="Ask the gate")
@operation(AuditAction.GATE_READ, works_without_section=True)
async def customer_read_gate(call: CurrentCall) -> Response:
    """Return whether this customer has delivered everything required."""
    return json_response(gate_view(await read_gate(call.work, call.customer, call.switches)))
