"""Erasures that the host platform requested."""

from fastapi import APIRouter, Response

from docvault.api.http.parameters import ErasureId
from docvault.api.http.responses import resource_response
from docvault.api.routing.operation import Read, operation
from docvault.api.routing.requests import ApiRequest
from docvault.api.routing.routes import IntegrationRoute
from docvault.domain.audit import AuditAction
from docvault.domain.scopes import Scope
from docvault.errors import NotFound
from docvault.presenters.erasures import present_erasure
from docvault.schemas.erasures import ErasureRead
from docvault.services import erasures

router = APIRouter(route_class=IntegrationRoute, prefix="/v1/integration")


@router.get("/erasures/{id}", response_model=ErasureRead, summary="Get an erasure")
@operation(
    Read(
        AuditAction.ERASURE_READ,
        scope=Scope.CUSTOMERS_ERASE,
        errors=(NotFound,),
        conditions=("If-None-Match",),
    )
)
async def integration_read_erasure(request: ApiRequest, erasure_id: ErasureId) -> Response:
    """Get the progress of an erasure."""
    erasure = await erasures.read_erasure(request.uow, erasure_id)
    return resource_response(request, present_erasure(erasure))
