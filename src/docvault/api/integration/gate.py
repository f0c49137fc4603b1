"""Gate status, for the host platform."""

from fastapi import APIRouter, Response

from docvault.api.routing.operation import Read, operation
from docvault.api.routing.requests import DocumentsRequest
from docvault.api.routing.routes import IntegrationRoute
from docvault.api.shared.documents import read_gate
from docvault.domain.audit import AuditAction
from docvault.domain.scopes import Scope
from docvault.schemas.gate import GateRead

router = APIRouter(route_class=IntegrationRoute, prefix="/v1/integration")


@router.get("/customers/{id}/gate", response_model=GateRead, summary="Get gate status")
@operation(Read(AuditAction.GATE_READ, scope=Scope.GATE_READ, conditions=("If-None-Match",)))
async def integration_read_gate(request: DocumentsRequest) -> Response:
    """Check whether this customer has submitted all required documents.

    Treat anything but `open` as blocked, including errors.
    """
    return read_gate(request)
