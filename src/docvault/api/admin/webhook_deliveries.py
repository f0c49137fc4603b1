"""The deliveries of webhooks."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from docvault.api.http.idempotency import fingerprint_of, replay_response, to_stored_response
from docvault.api.http.pagination import (
    DEFAULT_LIMIT,
    CursorQuery,
    Cursors,
    IncludeTotalQuery,
    LimitQuery,
    cut_page,
)
from docvault.api.http.parameters import DeliveryId, WebhookId
from docvault.api.http.responses import json_response, resource_response
from docvault.api.routing.operation import JsonBody, NoBody, Read, operation
from docvault.api.routing.requests import ApiRequest
from docvault.api.routing.routes import AdminRoute
from docvault.api.shared.pages import page_response
from docvault.domain.audit import AuditAction
from docvault.domain.webhooks import DeliveryFilter, DeliveryState
from docvault.errors import (
    EventNotKept,
    EventsExpired,
    InvalidCursor,
    NotFound,
    WebhookDisabled,
)
from docvault.presenters.webhooks import present_delivery, present_delivery_detail
from docvault.schemas.base import InputTime
from docvault.schemas.webhooks import (
    DeliveryDetailRead,
    DeliveryPage,
    ReplayCreate,
    ReplayRead,
)
from docvault.services import webhook_deliveries

router = APIRouter(route_class=AdminRoute, prefix="/v1/admin/webhooks/{id}")

StateQuery = Annotated[DeliveryState | None, Query(description="Only deliveries in this state.")]
SinceQuery = Annotated[
    InputTime | None, Query(description="Only deliveries made at or after this time.")
]
UntilQuery = Annotated[
    InputTime | None, Query(description="Only deliveries made before this time.")
]


@router.post("/replay", response_model=ReplayRead, status_code=202, summary="Replay events")
@operation(
    JsonBody(
        AuditAction.WEBHOOK_REPLAY,
        idempotent=True,
        errors=(NotFound, WebhookDisabled, InvalidCursor, EventsExpired),
    )
)
async def admin_replay_events(
    request: ApiRequest, webhook_id: WebhookId, data: ReplayCreate
) -> Response:
    """Send a part of the event log to a webhook, at most 100,000 events.

    Events that it was never sent, because it was disabled or did not exist, are included.
    """
    replayed = await webhook_deliveries.replay_events(request.uow, webhook_id, data)
    return json_response(ReplayRead(deliveries=replayed), 202)


@router.get("/deliveries", response_model=DeliveryPage, summary="List deliveries")
@operation(
    Read(
        AuditAction.WEBHOOK_READ,
        errors=(NotFound, InvalidCursor),
        conditions=("If-None-Match",),
    )
)
async def admin_list_deliveries(
    request: ApiRequest,
    webhook_id: WebhookId,
    state: StateQuery = None,
    since: SinceQuery = None,
    until: UntilQuery = None,
    limit: LimitQuery = DEFAULT_LIMIT,
    cursor: CursorQuery = None,
    include_total: IncludeTotalQuery = False,
) -> Response:
    """List the deliveries of the last 30 days, newest event first."""
    wanted = DeliveryFilter(webhook_id, state, since, until)
    cursors = Cursors.of(request, request.context.keyring)
    before = None if cursor is None else cursors.decode(cursor)[0]
    rows = await webhook_deliveries.list_deliveries(
        request.uow, wanted, before=before, limit=limit + 1
    )
    items, next_cursor = cut_page(rows, limit, cursors, lambda delivery: [delivery.position])
    return await page_response(
        request,
        DeliveryPage(items=[present_delivery(row) for row in items], next_cursor=next_cursor),
        include_total,
        lambda: webhook_deliveries.count_deliveries(request.uow, wanted),
    )


@router.get(
    "/deliveries/{delivery_id}", response_model=DeliveryDetailRead, summary="Get a delivery"
)
@operation(Read(AuditAction.WEBHOOK_READ, errors=(NotFound,), conditions=("If-None-Match",)))
async def admin_read_delivery(
    request: ApiRequest, webhook_id: WebhookId, delivery_id: DeliveryId
) -> Response:
    """Get a delivery with its attempts. What receivers respond with is not kept."""
    delivery = await webhook_deliveries.get_delivery(request.uow, webhook_id, delivery_id)
    return resource_response(request, present_delivery_detail(delivery))


@router.post(
    "/deliveries/{delivery_id}/retry",
    response_model=DeliveryDetailRead,
    status_code=202,
    summary="Retry a delivery",
)
@operation(
    NoBody(
        AuditAction.WEBHOOK_REPLAY,
        errors=(NotFound, WebhookDisabled, EventNotKept),
        idempotent=True,
        in_transaction=False,
    )
)
async def admin_retry_delivery(
    request: ApiRequest, webhook_id: WebhookId, delivery_id: DeliveryId
) -> Response:
    """Send a delivery now, whatever its state, with ten attempts as for a new one."""
    request.fingerprint = fingerprint_of()
    replay = request.claim.replay(request.fingerprint) if request.claim else None
    if replay is not None:
        return replay_response(replay)
    async with request.resources.transaction(request.context) as uow:
        delivery = await webhook_deliveries.retry_delivery(uow, webhook_id, delivery_id)
        response = json_response(present_delivery_detail(delivery), 202)
        await request.complete(uow, to_stored_response(request.fingerprint, response))
    return response
