"""Erasures, as staff see them."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from docvault.api.http.pagination import (
    DEFAULT_LIMIT,
    CursorQuery,
    Cursors,
    IncludeTotalQuery,
    LimitQuery,
    cut_page,
    decode_time_cursor,
)
from docvault.api.http.parameters import ErasureId
from docvault.api.http.responses import resource_response
from docvault.api.routing.operation import Read, operation
from docvault.api.routing.requests import ApiRequest
from docvault.api.routing.routes import AdminRoute
from docvault.api.shared.pages import page_response
from docvault.domain.audit import AuditAction
from docvault.errors import InvalidCursor, NotFound
from docvault.presenters.erasures import present_erasure
from docvault.schemas.erasures import ErasurePage, ErasureRead, ErasureState
from docvault.services import erasures

router = APIRouter(route_class=AdminRoute, prefix="/v1/admin")

StateQuery = Annotated[ErasureState | None, Query(description="Only erasures in this state.")]


@router.get("/erasures", response_model=ErasurePage, summary="List erasures")
@operation(Read(AuditAction.ERASURE_LIST, errors=(InvalidCursor,), conditions=("If-None-Match",)))
async def admin_list_erasures(
    request: ApiRequest,
    state: StateQuery = None,
    limit: LimitQuery = DEFAULT_LIMIT,
    cursor: CursorQuery = None,
    include_total: IncludeTotalQuery = False,
) -> Response:
    """List erasures, oldest first. A pending erasure still has stored files to delete."""
    completed = None if state is None else state == "completed"
    cursors = Cursors.of(request, request.context.keyring)
    rows = await erasures.list_erasures(
        request.uow,
        completed=completed,
        after=decode_time_cursor(cursors, cursor),
        limit=limit + 1,
    )
    items, next_cursor = cut_page(
        rows, limit, cursors, lambda e: [e.requested_at.isoformat(), str(e.id)]
    )
    return await page_response(
        request,
        ErasurePage(items=[present_erasure(row) for row in items], next_cursor=next_cursor),
        include_total,
        lambda: erasures.count_erasures(request.uow, completed=completed),
    )


@router.get("/erasures/{id}", response_model=ErasureRead, summary="Get an erasure")
@operation(Read(AuditAction.ERASURE_READ, errors=(NotFound,), conditions=("If-None-Match",)))
async def admin_read_erasure(request: ApiRequest, erasure_id: ErasureId) -> Response:
    """Get the progress of an erasure."""
    erasure = await erasures.read_erasure(request.uow, erasure_id)
    return resource_response(request, present_erasure(erasure))
