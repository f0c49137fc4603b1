"""Third parties see which documents are asked for."""

from fastapi import APIRouter, Response

from docvault.api.callers import IntegrationRoute
from docvault.api.calls import Call
from docvault.api.operations import operation
from docvault.api.pages import document_type_page
from docvault.api.pagination import DEFAULT_LIMIT, CursorQuery, IncludeTotalQuery, LimitQuery
from docvault.auth.scopes import Scope
from docvault.errors import InvalidCursor
from docvault.schemas.audit_events import AuditAction
from docvault.schemas.document_types import DocumentTypePage

router = APIRouter(route_class=IntegrationRoute, prefix="/v1/integration")


@router.get("/document-types", response_model=DocumentTypePage, summary="List document types")
@operation(AuditAction.DOCUMENT_TYPE_LIST, scope=Scope.TYPES_READ, errors=(InvalidCursor,))
async def integration_list_document_types(
    call: Call,
    limit: LimitQuery = DEFAULT_LIMIT,
    cursor: CursorQuery = None,
    include_total: IncludeTotalQuery = False,
) -> Response:
    """Return the active document types in their order."""
    return await document_type_page(
        call, archived=False, limit=limit, cursor=cursor, include_total=include_total
    )
