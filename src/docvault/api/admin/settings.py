"""Staff set up the customers' personal area."""

from fastapi import APIRouter, Response

from docvault.api.callers import AdminRoute
from docvault.api.calls import Call
from docvault.api.conditional import check_preconditions, require_if_match
from docvault.api.operations import operation
from docvault.api.responses import resource_response
from docvault.api.views import portal_settings_view
from docvault.errors import GateRequiresSection, PreconditionRequired
from docvault.schemas.audit_events import AuditAction
from docvault.schemas.settings import PortalSettingsRead, PortalSettingsUpdate
from docvault.services import settings

router = APIRouter(route_class=AdminRoute, prefix="/v1/admin")


@router.get("/settings/portal", response_model=PortalSettingsRead, summary="Read portal settings")
@operation(AuditAction.PORTAL_SETTINGS_READ, conditions=("If-None-Match",))
async def admin_read_portal_settings(call: Call) -> Response:
    """Return the settings of the customers' personal area."""
    row = await settings.read_portal_settings(call.work)
    return resource_response(call, portal_settings_view(row))


@router.patch(
    "/settings/portal", response_model=PortalSettingsRead, summary="Change portal settings"
)
@operation(
    AuditAction.PORTAL_SETTINGS_UPDATE,
    body="json",
    # 20,000 characters of introduction, each up to twelve bytes of JSON escapes.
    max_body_bytes=256 * 1024,
    conditions=("If-Match",),
    errors=(GateRequiresSection, PreconditionRequired),
)
async def admin_update_portal_settings(call: Call, data: PortalSettingsUpdate) -> Response:
    """Change the settings; both switches can change at once, customers see it immediately."""
    require_if_match(call)
    current = await settings.lock_portal_settings(call.work)
    check_preconditions(call, portal_settings_view(current))
    updated = await settings.update_portal_settings(call.work, data)
    return resource_response(call, portal_settings_view(updated))
