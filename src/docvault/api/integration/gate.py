"""The host asks whether a customer may go on."""

from fastapi import APIRouter, Response

from docvault.api.callers import IntegrationRoute
from docvault.api.calls import Call
from docvault.api.documents import read_gate
from docvault.api.operations import operation
from docvault.api.paths import CustomerIdPath
from docvault.auth.scopes import Scope
from docvault.schemas.audit_events import AuditAction
from docvault.schemas.gate import GateRead

router = APIRouter(route_class=IntegrationRoute, prefix="/v1/integration")


@router.get("/customers/{id}/gate", response_model=GateRead, summary="Ask the gate")
@operation(AuditAction.GATE_READ, scope=Scope.GATE_READ, slots="all")
async def integration_read_gate(call: Call, customer_id: CustomerIdPath) -> Response:
    """Return whether this customer has delivered everything required.

    Treat anything but `open` as blocked, an error too.
    """
    del customer_id
    return read_gate(call)
