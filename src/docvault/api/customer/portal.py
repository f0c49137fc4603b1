"""A customer's front end asks what to show."""

from fastapi import APIRouter, Response

from docvault.api.callers import CustomerRoute
from docvault.api.calls import Call
from docvault.api.operations import operation
from docvault.api.responses import json_response
from docvault.api.views import portal_view
from docvault.schemas.audit_events import AuditAction
from docvault.schemas.settings import PortalRead
from docvault.services import settings

router = APIRouter(route_class=CustomerRoute, prefix="/v1/customer")


@router.get("/portal", response_model=PortalRead, summary="Read the portal")
@operation(AuditAction.PORTAL_READ, slots="all", works_without_section=True)
async def customer_read_portal(call: Call) -> Response:
    """Return whether the section is on, its introduction, the gate and the counts."""
    row = await settings.read_portal_settings(call.work)
    return json_response(portal_view(row, call.slots))
