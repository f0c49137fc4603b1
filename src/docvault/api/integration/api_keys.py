"""The API key of the caller."""

from fastapi import APIRouter, Response

from docvault.api.http.responses import list_response
from docvault.api.routing.operation import Read, operation
from docvault.api.routing.requests import ApiRequest
from docvault.api.routing.routes import IntegrationRoute
from docvault.domain.audit import AuditAction
from docvault.presenters.api_keys import present_own_api_key
from docvault.schemas.api_keys import OwnApiKeyRead
from docvault.services import api_keys

router = APIRouter(route_class=IntegrationRoute, prefix="/v1/integration")


@router.get("/key", response_model=OwnApiKeyRead, summary="Get your API key")
@operation(Read(AuditAction.API_KEY_READ, allows_every_key=True, conditions=("If-None-Match",)))
async def integration_read_key(request: ApiRequest) -> Response:
    """Get the name, scopes, expiry and limits of the key that the request carries.

    Needs no scope: use it to test a connection.
    """
    key = await api_keys.get_own_api_key(request.uow)
    return list_response(request, present_own_api_key(key, request.resources.settings))
