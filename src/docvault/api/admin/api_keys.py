"""API keys of third-party systems."""

from fastapi import APIRouter, Response

from docvault.api.http.conditional import check_preconditions
from docvault.api.http.pagination import (
    DEFAULT_LIMIT,
    CursorQuery,
    Cursors,
    IncludeTotalQuery,
    LimitQuery,
    cut_page,
    decode_time_cursor,
)
from docvault.api.http.parameters import ApiKeyId
from docvault.api.http.responses import json_response, no_content, resource_response
from docvault.api.routing.operation import JsonBody, NoBody, Read, operation
from docvault.api.routing.requests import ApiRequest
from docvault.api.routing.routes import AdminRoute
from docvault.api.shared.pages import page_response
from docvault.domain.audit import AuditAction
from docvault.errors import InvalidCursor, NotFound
from docvault.presenters.api_keys import present_api_key, present_created_api_key
from docvault.schemas.api_keys import (
    ApiKeyCreate,
    ApiKeyCreated,
    ApiKeyPage,
    ApiKeyRead,
    ApiKeyUpdate,
)
from docvault.services import api_keys

router = APIRouter(route_class=AdminRoute, prefix="/v1/admin")


@router.get("/api-keys", response_model=ApiKeyPage, summary="List API keys")
@operation(Read(AuditAction.API_KEY_LIST, errors=(InvalidCursor,), conditions=("If-None-Match",)))
async def admin_list_api_keys(
    request: ApiRequest,
    limit: LimitQuery = DEFAULT_LIMIT,
    cursor: CursorQuery = None,
    include_total: IncludeTotalQuery = False,
) -> Response:
    """List all API keys, including revoked ones, without their secrets."""
    cursors = Cursors.of(request, request.context.keyring)
    rows = await api_keys.list_api_keys(
        request.uow, after=decode_time_cursor(cursors, cursor), limit=limit + 1
    )
    items, next_cursor = cut_page(
        rows, limit, cursors, lambda row: [row.created_at.isoformat(), str(row.id)]
    )
    return await page_response(
        request,
        ApiKeyPage(items=[present_api_key(row) for row in items], next_cursor=next_cursor),
        include_total,
        lambda: api_keys.count_api_keys(request.uow),
    )


@router.post(
    "/api-keys", response_model=ApiKeyCreated, status_code=201, summary="Create an API key"
)
@operation(JsonBody(AuditAction.API_KEY_CREATE, returns_location=True))
async def admin_create_api_key(request: ApiRequest, data: ApiKeyCreate) -> Response:
    """Create an API key. Only this response contains the key itself."""
    row, key = await api_keys.create_api_key(request.uow, data)
    created = present_created_api_key(row, key)
    location = f"{request.url.path}/{row.id}"
    return json_response(created, 201, {"Location": location, "Cache-Control": "no-store"})


@router.get("/api-keys/{id}", response_model=ApiKeyRead, summary="Get an API key")
@operation(Read(AuditAction.API_KEY_READ, errors=(NotFound,), conditions=("If-None-Match",)))
async def admin_read_api_key(request: ApiRequest, key_id: ApiKeyId) -> Response:
    """Get an API key, revoked or not."""
    row = await api_keys.get_api_key(request.uow, key_id)
    return resource_response(request, present_api_key(row))


@router.patch("/api-keys/{id}", response_model=ApiKeyRead, summary="Update an API key")
@operation(JsonBody(AuditAction.API_KEY_UPDATE, errors=(NotFound,), conditions=("If-Match",)))
async def admin_update_api_key(
    request: ApiRequest, key_id: ApiKeyId, data: ApiKeyUpdate
) -> Response:
    """Change the name, scopes or expiry of an API key, effective with its next request."""
    current = await api_keys.get_api_key(request.uow, key_id, lock=True)
    check_preconditions(request, present_api_key(current))
    return resource_response(
        request, present_api_key(await api_keys.update_api_key(request.uow, key_id, data))
    )


@router.delete("/api-keys/{id}", status_code=204, summary="Revoke an API key")
@operation(NoBody(AuditAction.API_KEY_REVOKE, errors=(NotFound,), conditions=("If-Match",)))
async def admin_revoke_api_key(request: ApiRequest, key_id: ApiKeyId) -> Response:
    """Revoke an API key immediately. It can still be read, with the time of revocation."""
    current = await api_keys.get_api_key(request.uow, key_id, lock=True)
    check_preconditions(request, present_api_key(current))
    await api_keys.revoke_api_key(request.uow, key_id)
    return no_content()
