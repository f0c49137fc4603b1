"""Staff give third-party systems their keys."""

from fastapi import APIRouter, Response

from docvault.api.callers import AdminRoute
from docvault.api.calls import Call
from docvault.api.conditional import check_preconditions
from docvault.api.operations import operation
from docvault.api.pages import cursors_of, page_response, time_place
from docvault.api.pagination import (
    DEFAULT_LIMIT,
    CursorQuery,
    IncludeTotalQuery,
    LimitQuery,
    cut_page,
)
from docvault.api.paths import ApiKeyId
from docvault.api.responses import json_response, no_content, resource_response
from docvault.api.views import api_key_members, api_key_view
from docvault.errors import InvalidCursor, NotFound
from docvault.schemas.api_keys import (
    ApiKeyCreate,
    ApiKeyCreated,
    ApiKeyPage,
    ApiKeyRead,
    ApiKeyUpdate,
)
from docvault.schemas.audit_events import AuditAction
from docvault.services import api_keys

router = APIRouter(route_class=AdminRoute, prefix="/v1/admin")


@router.get("/api-keys", response_model=ApiKeyPage, summary="List API keys")
@operation(AuditAction.API_KEY_LIST, errors=(InvalidCursor,))
async def admin_list_api_keys(
    call: Call,
    limit: LimitQuery = DEFAULT_LIMIT,
    cursor: CursorQuery = None,
    include_total: IncludeTotalQuery = False,
) -> Response:
    """Return all keys, revoked ones included, without their secrets."""
    cursors = cursors_of(call)
    rows = await api_keys.list_api_keys(
        call.work, after=time_place(cursors, cursor), limit=limit + 1
    )
    items, next_cursor = cut_page(
        rows, limit, cursors, lambda row: [row.created_at.isoformat(), str(row.id)]
    )
    return await page_response(
        ApiKeyPage(items=[api_key_view(row) for row in items], next_cursor=next_cursor),
        include_total,
        lambda: api_keys.count_api_keys(call.work),
    )


@router.post(
    "/api-keys", response_model=ApiKeyCreated, status_code=201, summary="Create an API key"
)
@operation(AuditAction.API_KEY_CREATE, body="json", creates=True)
async def admin_create_api_key(call: Call, data: ApiKeyCreate) -> Response:
    """Make a key; the answer shows it, nothing ever shows it again."""
    row, key = await api_keys.create_api_key(call.work, data)
    created = ApiKeyCreated(**api_key_members(row), key=key)
    location = f"{call.url.path}/{row.id}"
    return json_response(created, 201, {"Location": location, "Cache-Control": "no-store"})


@router.get("/api-keys/{id}", response_model=ApiKeyRead, summary="Read an API key")
@operation(AuditAction.API_KEY_READ, errors=(NotFound,), conditions=("If-None-Match",))
async def admin_read_api_key(call: Call, key_id: ApiKeyId) -> Response:
    """Return a key, revoked or not."""
    row = await api_keys.get_api_key(call.work, key_id)
    return resource_response(call, api_key_view(row))


@router.patch("/api-keys/{id}", response_model=ApiKeyRead, summary="Change an API key")
@operation(AuditAction.API_KEY_UPDATE, body="json", errors=(NotFound,), conditions=("If-Match",))
async def admin_update_api_key(call: Call, key_id: ApiKeyId, data: ApiKeyUpdate) -> Response:
    """Rename a key or change what it may do or until when; it holds from the next request."""
    current = await api_keys.get_api_key(call.work, key_id, lock=True)
    check_preconditions(call, api_key_view(current))
    return resource_response(
        call, api_key_view(await api_keys.update_api_key(call.work, key_id, data))
    )


@router.delete("/api-keys/{id}", status_code=204, summary="Revoke an API key")
@operation(AuditAction.API_KEY_REVOKE, errors=(NotFound,), conditions=("If-Match",))
async def admin_revoke_api_key(call: Call, key_id: ApiKeyId) -> Response:
    """End a key at once; it can still be read, with the time of its end."""
    current = await api_keys.get_api_key(call.work, key_id, lock=True)
    check_preconditions(call, api_key_view(current))
    await api_keys.revoke_api_key(call.work, key_id)
    return no_content()
