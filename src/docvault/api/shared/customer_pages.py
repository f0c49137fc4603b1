"""The list of customers, which staff and third parties share."""

from typing import Annotated

from fastapi import Query, Response

from docvault.api.http.pagination import Cursors
from docvault.api.http.responses import list_response
from docvault.api.routing.requests import ApiRequest
from docvault.api.shared.pages import with_total
from docvault.domain.customers import CustomerCursor, CustomerSort
from docvault.domain.gate import GateDecision
from docvault.presenters.customers import present_customer
from docvault.schemas.customers import CustomerPage
from docvault.services import customers
from docvault.services.customers import CustomerQuery

MAX_FILTERS = 20

HasDocumentsQuery = Annotated[
    bool | None,
    Query(description="Only customers with (`true`) or without (`false`) any document."),
]
UploadedQuery = Annotated[
    list[str],
    Query(max_length=MAX_FILTERS, description="Only customers with a file for this document type."),
]
NotUploadedQuery = Annotated[
    list[str],
    Query(
        max_length=MAX_FILTERS, description="Only customers without a file for this document type."
    ),
]
GateQuery = Annotated[
    GateDecision | None, Query(description="Only customers with this gate status.")
]
SearchQuery = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=200,
        description="What the id, the e-mail address or any word of the name begins with, "
        "case-insensitive. Several words must follow each other in the name.",
    ),
]
NameSearchQuery = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=200,
        description="What the id or any word of the name begins with, case-insensitive. Several "
        "words must follow each other in the name.",
    ),
]
TagQuery = Annotated[
    list[str],
    Query(max_length=MAX_FILTERS, description="Only customers with this tag, exactly as written."),
]
SortQuery = Annotated[CustomerSort, Query(description="The sort order; ties are broken by id.")]


async def customer_page(
    request: ApiRequest,
    query: CustomerQuery,
    sort: CustomerSort,
    *,
    limit: int,
    cursor: str | None,
    include_total: bool,
) -> Response:
    """Return one page of the customers that match all filters."""
    cursors = Cursors.of(request, request.context.keyring)
    listing = await customers.list_customers(
        request.uow,
        query,
        sort,
        after=None if cursor is None else CustomerCursor(*cursors.decode(cursor)),
        limit=limit,
        include_total=include_total,
    )
    next_cursor = None
    if listing.has_more:
        last = listing.customers[-1]
        next_cursor = cursors.encode([last.sort_value, last.external_id])
    page = CustomerPage(
        items=[present_customer(one, listing.progress[one.id]) for one in listing.customers],
        next_cursor=next_cursor,
    )
    return list_response(request, with_total(page, listing.total))
