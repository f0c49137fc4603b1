"""Document types, read-only."""

from fastapi import APIRouter, Response

from docvault.api.http.pagination import DEFAULT_LIMIT, CursorQuery, IncludeTotalQuery, LimitQuery
from docvault.api.routing.operation import Read, operation
from docvault.api.routing.requests import ApiRequest
from docvault.api.routing.routes import IntegrationRoute
from docvault.api.shared.pages import document_type_page
from docvault.domain.audit import AuditAction
from docvault.domain.scopes import Scope
from docvault.errors import InvalidCursor
from docvault.schemas.document_types import DocumentTypePage

router = APIRouter(route_class=IntegrationRoute, prefix="/v1/integration")


@router.get("/document-types", response_model=DocumentTypePage, summary="List document types")
@operation(
    Read(
        AuditAction.DOCUMENT_TYPE_LIST,
        scope=Scope.TYPES_READ,
        errors=(InvalidCursor,),
        conditions=("If-None-Match",),
    )
)
async def integration_list_document_types(
    request: ApiRequest,
    limit: LimitQuery = DEFAULT_LIMIT,
    cursor: CursorQuery = None,
    include_total: IncludeTotalQuery = False,
) -> Response:
    """List the active document types in their order."""
    return await document_type_page(
        request, archived=False, limit=limit, cursor=cursor, include_total=include_total
    )
