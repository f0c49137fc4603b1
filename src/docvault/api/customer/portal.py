"""What a portal shows first."""

from fastapi import APIRouter, Response

from docvault.api.http.responses import TIME_OF_GATE, list_response
from docvault.api.routing.operation import Read, operation
from docvault.api.routing.requests import DocumentsRequest
from docvault.api.routing.routes import CustomerRoute
from docvault.domain.audit import AuditAction
from docvault.presenters.portal_settings import present_portal
from docvault.schemas.portal_settings import PortalRead
from docvault.services import portal_settings

router = APIRouter(route_class=CustomerRoute, prefix="/v1/customer")


@router.get("/portal", response_model=PortalRead, summary="Get the portal")
@operation(
    Read(
        AuditAction.PORTAL_READ, available_when_portal_disabled=True, conditions=("If-None-Match",)
    )
)
async def customer_read_portal(request: DocumentsRequest) -> Response:
    """Get your name, whether the portal is enabled, its introduction, the gate and counts."""
    row = await portal_settings.read_portal_settings(request.uow)
    shown = present_portal(row, request.customer, request.documents)
    return list_response(request, shown, TIME_OF_GATE)
