"""Settings of the customer portal."""

from fastapi import APIRouter, Response

from docvault.api.http.conditional import check_preconditions, require_if_match
from docvault.api.http.responses import resource_response
from docvault.api.routing.operation import JsonBody, Read, operation
from docvault.api.routing.requests import ApiRequest
from docvault.api.routing.routes import AdminRoute
from docvault.domain.audit import AuditAction
from docvault.errors import GateRequiresSection, PreconditionRequired
from docvault.presenters.portal_settings import present_portal_settings
from docvault.schemas.portal_settings import PortalSettingsRead, PortalSettingsUpdate
from docvault.services import portal_settings

router = APIRouter(route_class=AdminRoute, prefix="/v1/admin")


@router.get("/settings/portal", response_model=PortalSettingsRead, summary="Get portal settings")
@operation(Read(AuditAction.PORTAL_SETTINGS_READ, conditions=("If-None-Match",)))
async def admin_read_portal_settings(request: ApiRequest) -> Response:
    """Get the settings of the customer portal."""
    row = await portal_settings.read_portal_settings(request.uow)
    return resource_response(request, present_portal_settings(row))


@router.patch(
    "/settings/portal", response_model=PortalSettingsRead, summary="Update portal settings"
)
@operation(
    JsonBody(
        AuditAction.PORTAL_SETTINGS_UPDATE,
        # 20,000 characters of introduction, each up to twelve bytes of JSON escapes.
        max_body_bytes=256 * 1024,
        conditions=("If-Match",),
        errors=(GateRequiresSection, PreconditionRequired),
    )
)
async def admin_update_portal_settings(request: ApiRequest, data: PortalSettingsUpdate) -> Response:
    """Change the settings of the customer portal, effective immediately."""
    require_if_match(request)
    current = await portal_settings.lock_portal_settings(request.uow)
    check_preconditions(request, present_portal_settings(current))
    updated = await portal_settings.update_portal_settings(request.uow, data)
    return resource_response(request, present_portal_settings(updated))
