"""Staff watch erasures."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from docvault.api.callers import AdminRoute
from docvault.api.calls import Call
from docvault.api.operations import operation
from docvault.api.pages import cursors_of, page_response, time_place
from docvault.api.pagination import (
    DEFAULT_LIMIT,
    CursorQuery,
    IncludeTotalQuery,
    LimitQuery,
    cut_page,
)
from docvault.api.paths import ErasureId
from docvault.api.responses import resource_response
from docvault.api.views import erasure_view
from docvault.errors import InvalidCursor, NotFound
from docvault.schemas.audit_events import AuditAction
from docvault.schemas.erasures import ErasurePage, ErasureRead, ErasureState
from docvault.services import erasures

router = APIRouter(route_class=AdminRoute, prefix="/v1/admin")

StateQuery = Annotated[ErasureState | None, Query(description="Only pending or completed ones.")]


@router.get("/erasures", response_model=ErasurePage, summary="List erasures")
@operation(AuditAction.ERASURE_LIST, errors=(InvalidCursor,))
async def admin_list_erasures(
    call: Call,
    state: StateQuery = None,
    limit: LimitQuery = DEFAULT_LIMIT,
    cursor: CursorQuery = None,
    include_total: IncludeTotalQuery = False,
) -> Response:
    """Return erasures, oldest first; a pending one still has stored files to delete."""
    completed = None if state is None else state == "completed"
    cursors = cursors_of(call)
    rows = await erasures.list_erasures(
        call.work, completed=completed, after=time_place(cursors, cursor), limit=limit + 1
    )
    items, next_cursor = cut_page(
        rows, limit, cursors, lambda e: [e.requested_at.isoformat(), str(e.id)]
    )
    return await page_response(
        ErasurePage(items=[erasure_view(row) for row in items], next_cursor=next_cursor),
        include_total,
        lambda: erasures.count_erasures(call.work, completed=completed),
    )


@router.get("/erasures/{id}", response_model=ErasureRead, summary="Read an erasure")
@operation(AuditAction.ERASURE_READ, errors=(NotFound,), conditions=("If-None-Match",))
async def admin_read_erasure(call: Call, erasure_id: ErasureId) -> Response:
    """Return how far an erasure is."""
    erasure = await erasures.read_erasure(call.work, erasure_id)
    return resource_response(call, erasure_view(erasure))
