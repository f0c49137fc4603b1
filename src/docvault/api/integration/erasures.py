"""The host watches the erasures it asked for."""

from fastapi import APIRouter, Response

from docvault.api.callers import IntegrationRoute
from docvault.api.calls import Call
from docvault.api.operations import operation
from docvault.api.paths import ErasureId
from docvault.api.responses import resource_response
from docvault.api.views import erasure_view
from docvault.auth.scopes import Scope
from docvault.errors import NotFound
from docvault.schemas.audit_events import AuditAction
from docvault.schemas.erasures import ErasureRead
from docvault.services import erasures

router = APIRouter(route_class=IntegrationRoute, prefix="/v1/integration")


@router.get("/erasures/{id}", response_model=ErasureRead, summary="Read an erasure")
@operation(
    AuditAction.ERASURE_READ,
    scope=Scope.CUSTOMERS_ERASE,
    errors=(NotFound,),
    conditions=("If-None-Match",),
)
async def integration_read_erasure(call: Call, erasure_id: ErasureId) -> Response:
    """Return how far an erasure is."""
    erasure = await erasures.read_erasure(call.work, erasure_id)
    return resource_response(call, erasure_view(erasure))
