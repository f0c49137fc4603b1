"""Lists that more than one API has."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Response

from docvault.api.http.pagination import Cursors, cut_page, decode_document_type_cursor
from docvault.api.http.responses import list_response
from docvault.api.routing.requests import ApiRequest, DocumentsRequest
from docvault.presenters.document_types import present_document_type
from docvault.presenters.documents import present_document_page
from docvault.schemas.base import Page
from docvault.schemas.document_types import DocumentTypePage
from docvault.services import document_types


async def document_type_page(
    request: ApiRequest, *, archived: bool, limit: int, cursor: str | None, include_total: bool
) -> Response:
    """Return one page of document types."""
    cursors = Cursors.of(request, request.context.keyring)
    rows = await document_types.list_document_types(
        request.uow,
        archived=archived,
        after=decode_document_type_cursor(cursors, cursor),
        limit=limit + 1,
    )
    items, next_cursor = cut_page(rows, limit, cursors, lambda t: [t.position, str(t.id)])
    presented = [present_document_type(item, request.resources.settings) for item in items]
    return await page_response(
        request,
        DocumentTypePage(items=presented, next_cursor=next_cursor),
        include_total,
        lambda: document_types.count_document_types(request.uow, archived=archived),
    )


async def document_page(
    request: DocumentsRequest, *, limit: int, cursor: str | None, include_total: bool
) -> Response:
    """Return one page of the customer's documents, all of which the guard has loaded."""
    cursors = Cursors.of(request, request.context.keyring)
    after = decode_document_type_cursor(cursors, cursor)
    rows = [
        document for document in request.documents if after is None or document.type.cursor > after
    ]
    items, next_cursor = cut_page(
        rows, limit, cursors, lambda document: [document.type.position, str(document.type.id)]
    )

    async def count() -> int:
        return len(request.documents)

    page = present_document_page(items, request.context, next_cursor)
    return await page_response(request, page, include_total, count)


async def page_response(
    request: ApiRequest,
    page: Page[Any],
    include_total: bool,
    count: Callable[[], Awaitable[int]],
) -> Response:
    """Return a page, with the total if it was requested."""
    return list_response(request, with_total(page, await count() if include_total else None))


def with_total(page: Page[Any], total: int | None) -> Page[Any]:
    """Return the page with its total, without the member if it was not requested."""
    return page if total is None else page.model_copy(update={"total": total})
