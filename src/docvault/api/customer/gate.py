"""The customer's own gate status."""

from fastapi import APIRouter, Response

from docvault.api.routing.operation import Read, operation
from docvault.api.routing.requests import DocumentsRequest
from docvault.api.routing.routes import CustomerRoute
from docvault.api.shared.documents import read_gate
from docvault.domain.audit import AuditAction
from docvault.schemas.gate import GateRead

router = APIRouter(route_class=CustomerRoute, prefix="/v1/customer")


@router.get("/gate", response_model=GateRead, summary="Get gate status")
@operation(
    Read(AuditAction.GATE_READ, available_when_portal_disabled=True, conditions=("If-None-Match",))
)
async def customer_read_gate(request: DocumentsRequest) -> Response:
    """Check whether this customer has submitted all required documents."""
    return read_gate(request)
