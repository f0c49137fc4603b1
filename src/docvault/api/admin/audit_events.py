"""Staff read who did what."""

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
from docvault.api.views import audit_event_view
from docvault.errors import InvalidCursor
from docvault.schemas.audit_events import AuditAction, AuditEventPage
from docvault.schemas.base import InputTime
from docvault.services.audit_events import AuditQuery, count_audit_events, list_audit_events

router = APIRouter(route_class=AdminRoute, prefix="/v1/admin")

CustomerQuery = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=128,
        description="Only events about this customer, also after an erasure.",
    ),
]
ActorQuery = Annotated[
    str | None, Query(min_length=1, max_length=255, description="Only what this actor did.")
]
ActionQuery = Annotated[AuditAction | None, Query(description="Only this action.")]
SinceQuery = Annotated[InputTime | None, Query(description="From this moment on.")]
UntilQuery = Annotated[InputTime | None, Query(description="Before this moment.")]


@router.get("/audit-events", response_model=AuditEventPage, summary="List audit events")
@operation(AuditAction.AUDIT_EVENT_LIST, errors=(InvalidCursor,))
async def admin_list_audit_events(
    call: Call,
    customer: CustomerQuery = None,
    actor: ActorQuery = None,
    action: ActionQuery = None,
    since: SinceQuery = None,
    until: UntilQuery = None,
    limit: LimitQuery = DEFAULT_LIMIT,
    cursor: CursorQuery = None,
    include_total: IncludeTotalQuery = False,
) -> Response:
    """Return every change, every reading of files and every refusal, newest first."""
    query = AuditQuery(customer, actor, action, since, until)
    cursors = cursors_of(call)
    rows = await list_audit_events(
        call.work, query, before=time_place(cursors, cursor), limit=limit + 1
    )
    items, next_cursor = cut_page(
        rows, limit, cursors, lambda row: [row[0].at.isoformat(), str(row[0].id)]
    )
    return await page_response(
        AuditEventPage(
            items=[audit_event_view(event, detail) for event, detail in items],
            next_cursor=next_cursor,
        ),
        include_total,
        lambda: count_audit_events(call.work, query),
    )
