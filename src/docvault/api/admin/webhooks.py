"""Webhooks."""

from fastapi import APIRouter, Response

from docvault.api.http.conditional import check_preconditions
from docvault.api.http.idempotency import fingerprint_of, replay_response, to_stored_response
from docvault.api.http.pagination import (
    DEFAULT_LIMIT,
    CursorQuery,
    Cursors,
    IncludeTotalQuery,
    LimitQuery,
    cut_page,
    decode_time_cursor,
)
from docvault.api.http.parameters import WebhookId
from docvault.api.http.responses import json_response, no_content, resource_response
from docvault.api.routing.operation import JsonBody, NoBody, Read, operation
from docvault.api.routing.requests import ApiRequest
from docvault.api.routing.routes import AdminRoute
from docvault.api.shared.pages import page_response
from docvault.domain.audit import AuditAction
from docvault.errors import (
    InvalidCursor,
    NotFound,
    WebhookLimit,
    WebhookUrlNotAllowed,
)
from docvault.presenters.webhooks import present_created_webhook, present_test, present_webhook
from docvault.schemas.webhooks import (
    WebhookCreate,
    WebhookCreated,
    WebhookPage,
    WebhookRead,
    WebhookSecret,
    WebhookTest,
    WebhookUpdate,
)
from docvault.services import webhooks
from docvault.services.webhook_sending import send_test

router = APIRouter(route_class=AdminRoute, prefix="/v1/admin")


@router.get("/webhooks", response_model=WebhookPage, summary="List webhooks")
@operation(Read(AuditAction.WEBHOOK_LIST, errors=(InvalidCursor,), conditions=("If-None-Match",)))
async def admin_list_webhooks(
    request: ApiRequest,
    limit: LimitQuery = DEFAULT_LIMIT,
    cursor: CursorQuery = None,
    include_total: IncludeTotalQuery = False,
) -> Response:
    """List all webhooks, without their secrets."""
    cursors = Cursors.of(request, request.context.keyring)
    rows = await webhooks.list_webhooks(
        request.uow, after=decode_time_cursor(cursors, cursor), limit=limit + 1
    )
    items, next_cursor = cut_page(
        rows, limit, cursors, lambda row: [row.created_at.isoformat(), str(row.id)]
    )
    return await page_response(
        request,
        WebhookPage(items=[present_webhook(row) for row in items], next_cursor=next_cursor),
        include_total,
        lambda: webhooks.count_webhooks(request.uow),
    )


@router.post(
    "/webhooks", response_model=WebhookCreated, status_code=201, summary="Create a webhook"
)
@operation(
    JsonBody(
        AuditAction.WEBHOOK_CREATE,
        returns_location=True,
        errors=(WebhookUrlNotAllowed, WebhookLimit),
    )
)
async def admin_create_webhook(request: ApiRequest, data: WebhookCreate) -> Response:
    """Create a webhook, which receives the events from now on.

    Only this response contains what the receiver needs to verify signatures.
    """
    webhook, secret = await webhooks.create_webhook(
        request.uow, request.resources.destinations, data
    )
    created = present_created_webhook(webhook, secret)
    location = f"{request.url.path}/{webhook.id}"
    return json_response(created, 201, {"Location": location, "Cache-Control": "no-store"})


@router.get("/webhooks/{id}", response_model=WebhookRead, summary="Get a webhook")
@operation(Read(AuditAction.WEBHOOK_READ, errors=(NotFound,), conditions=("If-None-Match",)))
async def admin_read_webhook(request: ApiRequest, webhook_id: WebhookId) -> Response:
    """Get a webhook, and whether its receiver is failing."""
    webhook = await webhooks.get_webhook(request.uow, webhook_id)
    return resource_response(request, present_webhook(webhook))


@router.patch("/webhooks/{id}", response_model=WebhookRead, summary="Update a webhook")
@operation(
    JsonBody(
        AuditAction.WEBHOOK_UPDATE,
        errors=(NotFound, WebhookUrlNotAllowed),
        conditions=("If-Match",),
    )
)
async def admin_update_webhook(
    request: ApiRequest, webhook_id: WebhookId, data: WebhookUpdate
) -> Response:
    """Change a webhook. Disabling it drops what is pending.

    Enabling it again does not send what it has missed; a replay does.
    """
    current = await webhooks.get_webhook(request.uow, webhook_id, lock=True)
    check_preconditions(request, present_webhook(current))
    updated = await webhooks.update_webhook(
        request.uow, request.resources.destinations, current, data
    )
    return resource_response(request, present_webhook(updated))


@router.delete("/webhooks/{id}", status_code=204, summary="Delete a webhook")
@operation(NoBody(AuditAction.WEBHOOK_DELETE, errors=(NotFound,), conditions=("If-Match",)))
async def admin_delete_webhook(request: ApiRequest, webhook_id: WebhookId) -> Response:
    """Delete a webhook with its list of deliveries; nothing more is sent to it."""
    current = await webhooks.get_webhook(request.uow, webhook_id, lock=True)
    check_preconditions(request, present_webhook(current))
    await webhooks.delete_webhook(request.uow, current)
    return no_content()


@router.post("/webhooks/{id}/secret", response_model=WebhookSecret, summary="Rotate the secret")
@operation(NoBody(AuditAction.WEBHOOK_ROTATE, errors=(NotFound,)))
async def admin_rotate_webhook_secret(request: ApiRequest, webhook_id: WebhookId) -> Response:
    """Replace the secret of a webhook; the previous one also signs for 24 hours.

    Only this response contains what the receiver needs to verify signatures.
    """
    current = await webhooks.get_webhook(request.uow, webhook_id, lock=True)
    secret, until = await webhooks.rotate_secret(request.uow, current)
    rotated = WebhookSecret(secret=secret, previous_until=until)
    return json_response(rotated, 200, {"Cache-Control": "no-store"})


@router.post("/webhooks/{id}/test", response_model=WebhookTest, summary="Test a webhook")
@operation(
    NoBody(
        AuditAction.WEBHOOK_TEST,
        errors=(NotFound,),
        idempotent=True,
        in_transaction=False,
    )
)
async def admin_test_webhook(request: ApiRequest, webhook_id: WebhookId) -> Response:
    """Send the message `webhook.test` once, now, and return the outcome."""
    request.fingerprint = fingerprint_of()
    replay = request.claim.replay(request.fingerprint) if request.claim else None
    if replay is not None:
        return replay_response(replay)
    async with request.resources.transaction(request.context) as uow:
        webhook = await webhooks.get_webhook(uow, webhook_id)
    tested = await send_test(request.resources, webhook)
    response = json_response(present_test(tested), 200)
    async with request.resources.transaction(request.context) as uow:
        await request.complete(uow, to_stored_response(request.fingerprint, response))
    return response
