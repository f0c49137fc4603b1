"""Lists that more than one audience has."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from fastapi import Response
from pydantic import BaseModel

from docvault.api.calls import Call
from docvault.api.pagination import Cursors, cut_page
from docvault.api.responses import json_response
from docvault.api.views import document_type_view
from docvault.rules.slots import Slot, TypePosition
from docvault.schemas.base import Page
from docvault.schemas.document_types import DocumentTypePage
from docvault.services import document_types

View = TypeVar("View", bound=BaseModel)


async def document_type_page(
    call: Call, *, archived: bool, limit: int, cursor: str | None, include_total: bool
) -> Response:
    """Return one page of document types."""
    cursors = cursors_of(call)
    rows = await document_types.list_document_types(
        call.work, archived=archived, after=_type_position(cursors, cursor), limit=limit + 1
    )
    items, next_cursor = cut_page(rows, limit, cursors, lambda t: [t.position, str(t.id)])
    views = [document_type_view(facts, call.resources.settings) for facts in items]
    return await page_response(
        DocumentTypePage(items=views, next_cursor=next_cursor),
        include_total,
        lambda: document_types.count_document_types(call.work, archived=archived),
    )


async def document_page(
    call: Call,
    page: type[Page[View]],
    view: Callable[[Call, Slot], View],
    *,
    limit: int,
    cursor: str | None,
    include_total: bool,
) -> Response:
    """Return one page of the documents of the call's customer, all of which were looked up."""
    cursors = cursors_of(call)
    after = _type_position(cursors, cursor)
    rows = [slot for slot in call.slots if after is None or slot.type.place > after]
    items, next_cursor = cut_page(
        rows, limit, cursors, lambda slot: [slot.type.position, str(slot.type.id)]
    )

    async def count() -> int:
        return len(call.slots)

    views = [view(call, slot) for slot in items]
    return await page_response(page(items=views, next_cursor=next_cursor), include_total, count)


async def page_response(
    page: Page[View], include_total: bool, count: Callable[[], Awaitable[int]]
) -> Response:
    """Return a page, with the total when it was asked for."""
    if include_total:
        page = page.model_copy(update={"total": await count()})
    return json_response(page)


def cursors_of(call: Call) -> Cursors:
    """Return the cursors of the list that is asked for."""
    return Cursors.of(call, call.resources.keyring)


def time_place(cursors: Cursors, cursor: str | None) -> tuple[datetime, UUID] | None:
    """Return where a page of things in order of time starts."""
    if cursor is None:
        return None
    at, row_id = cursors.decode(cursor)
    return datetime.fromisoformat(at), UUID(row_id)


def _type_position(cursors: Cursors, cursor: str | None) -> TypePosition | None:
    if cursor is None:
        return None
    position, type_id = cursors.decode(cursor)
    return TypePosition(position, UUID(type_id))
