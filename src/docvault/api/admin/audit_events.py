"""The audit trail."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from docvault.api.http.pagination import (
    DEFAULT_LIMIT,
    CursorQuery,
    Cursors,
    IncludeTotalQuery,
    LimitQuery,
    decode_time_cursor,
)
from docvault.api.routing.operation import AUDITORS, Read, operation
from docvault.api.routing.requests import ApiRequest
from docvault.api.routing.routes import AdminRoute
from docvault.api.shared.pages import page_response
from docvault.domain.audit import AuditAction
from docvault.errors import InvalidCursor
from docvault.presenters.audit_events import present_audit_event
from docvault.schemas.audit_events import AuditEventPage
from docvault.schemas.base import InputTime
from docvault.services.audit_events import AuditQuery, count_audit_events, list_audit_events

router = APIRouter(route_class=AdminRoute, prefix="/v1/admin")

CustomerQuery = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=128,
        description="Only events about this customer, including after their erasure.",
    ),
]
ActorQuery = Annotated[
    str | None, Query(min_length=1, max_length=255, description="Only events caused by this actor.")
]
ActionQuery = Annotated[AuditAction | None, Query(description="Only events of this action.")]
SinceQuery = Annotated[InputTime | None, Query(description="Only events at or after this time.")]
UntilQuery = Annotated[InputTime | None, Query(description="Only events before this time.")]


@router.get("/audit-events", response_model=AuditEventPage, summary="List audit events")
@operation(
    Read(
        AuditAction.AUDIT_EVENT_LIST,
        roles=AUDITORS,
        errors=(InvalidCursor,),
        conditions=("If-None-Match",),
    )
)
async def admin_list_audit_events(
    request: ApiRequest,
    customer: CustomerQuery = None,
    actor: ActorQuery = None,
    action: ActionQuery = None,
    since: SinceQuery = None,
    until: UntilQuery = None,
    limit: LimitQuery = DEFAULT_LIMIT,
    cursor: CursorQuery = None,
    include_total: IncludeTotalQuery = False,
) -> Response:
    """List all changes, file downloads and denied requests, newest first.

    A page may hold fewer events than `limit` if their details are large; follow `next_cursor`.
    """
    query = AuditQuery(customer, actor, action, since, until)
    cursors = Cursors.of(request, request.context.keyring)
    page = await list_audit_events(
        request.uow, query, before=decode_time_cursor(cursors, cursor), limit=limit
    )
    next_cursor = None
    if page.has_more:
        last = page.events[-1]
        next_cursor = cursors.encode([last.at.isoformat(), str(last.id)])
    return await page_response(
        request,
        AuditEventPage(
            items=[present_audit_event(event) for event in page.events],
            next_cursor=next_cursor,
        ),
        include_total,
        lambda: count_audit_events(request.uow, query),
    )
