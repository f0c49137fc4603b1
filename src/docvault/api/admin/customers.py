"""Staff see the state of everyone and keep customers."""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Response

from docvault.api.callers import AdminRoute
from docvault.api.calls import Call
from docvault.api.customers import (
    customer_response,
    delete_customer,
    locked_customer,
    replace_customer,
)
from docvault.api.documents import read_gate
from docvault.api.operations import operation
from docvault.api.pages import cursors_of, page_response
from docvault.api.pagination import (
    DEFAULT_LIMIT,
    CursorQuery,
    IncludeTotalQuery,
    LimitQuery,
    cut_page,
)
from docvault.api.paths import CustomerIdPath
from docvault.api.responses import json_response
from docvault.api.views import customer_view, summary_view
from docvault.errors import (
    CustomerBeingErased,
    CustomerExists,
    CustomerUnknown,
    InvalidCursor,
    UnknownFilterType,
)
from docvault.rules.customers import (
    CustomerFilter,
    CustomerPlace,
    CustomerSort,
)
from docvault.rules.gate import GateDecision
from docvault.schemas.audit_events import AuditAction
from docvault.schemas.customers import (
    CustomerCreate,
    CustomerPage,
    CustomerPut,
    CustomerRead,
    CustomerSummary,
    CustomerUpdate,
)
from docvault.schemas.gate import GateRead
from docvault.services import customers, settings

router = APIRouter(route_class=AdminRoute, prefix="/v1/admin")

MAX_FILTERS = 20
# What a customer's id may hold and a path segment too (RFC 3986); only "|" is left.
SAFE_IN_PATH = "~:@+="

HasDocumentsQuery = Annotated[
    bool | None, Query(description="Only customers with, or without, any document.")
]
UploadedQuery = Annotated[
    list[str],
    Query(max_length=MAX_FILTERS, description="Only customers with a file for this type."),
]
NotUploadedQuery = Annotated[
    list[str],
    Query(max_length=MAX_FILTERS, description="Only customers without a file for this type."),
]
GateQuery = Annotated[
    GateDecision | None, Query(description="Only customers whom the gate lets through, or not.")
]
SearchQuery = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=200,
        description="What the id, the name or the e-mail address begins with, in any case.",
    ),
]
SortQuery = Annotated[CustomerSort, Query(description="The id breaks ties.")]


@router.get("/customers", response_model=CustomerPage, summary="List customers")
@operation(AuditAction.CUSTOMER_LIST, errors=(InvalidCursor, UnknownFilterType))
async def admin_list_customers(
    call: Call,
    has_documents: HasDocumentsQuery = None,
    uploaded: UploadedQuery = [],  # noqa: B006 - FastAPI copies defaults
    not_uploaded: NotUploadedQuery = [],  # noqa: B006 - idem
    gate: GateQuery = None,
    q: SearchQuery = None,
    sort: SortQuery = CustomerSort.CREATED_AT,
    limit: LimitQuery = DEFAULT_LIMIT,
    cursor: CursorQuery = None,
    include_total: IncludeTotalQuery = False,
) -> Response:
    """Return customers; all filters hold together, and with search and paging."""
    portal = await settings.read_portal_settings(call.work)
    filter_ = CustomerFilter(
        has_documents=has_documents,
        uploaded=await customers.filter_types(call.work, "uploaded", uploaded),
        not_uploaded=await customers.filter_types(call.work, "not_uploaded", not_uploaded),
        gate=gate,
        gate_enforced=portal.gate_enabled,
        search=q,
    )
    cursors = cursors_of(call)
    after = None if cursor is None else CustomerPlace(*cursors.decode(cursor))
    rows = await customers.list_customers(call.work, filter_, sort, after=after, limit=limit + 1)
    items, next_cursor = cut_page(rows, limit, cursors, lambda c: [c.sort_value, c.external_id])
    counts = await customers.count_documents(call.work, items)
    views = [customer_view(customer, counts[customer.id]) for customer in items]
    return await page_response(
        CustomerPage(items=views, next_cursor=next_cursor),
        include_total,
        lambda: customers.count_customers(call.work, filter_),
    )


@router.post(
    "/customers", response_model=CustomerRead, status_code=201, summary="Create a customer"
)
@operation(
    AuditAction.CUSTOMER_CREATE,
    body="json",
    idempotent=True,
    creates=True,
    errors=(CustomerExists, CustomerBeingErased),
)
async def admin_create_customer(call: Call, data: CustomerCreate) -> Response:
    """Add a customer under the host's own id; all active document types are asked at once."""
    customer = await customers.create_customer(call.work, data)
    call.concerns = customer.id
    location = f"{call.url.path}/{quote(customer.external_id, safe=SAFE_IN_PATH)}"
    return await customer_response(call, customer, 201, {"Location": location})


@router.get("/customers/{id}", response_model=CustomerRead, summary="Read a customer")
@operation(AuditAction.CUSTOMER_READ, conditions=("If-None-Match",))
async def admin_read_customer(call: Call, customer_id: CustomerIdPath) -> Response:
    """Return a customer and how far their documents are."""
    del customer_id
    return await customer_response(call, call.customer)


@router.put(
    "/customers/{id}",
    response_model=CustomerRead,
    summary="Create or replace a customer",
    responses={201: {"model": CustomerRead, "description": "The customer is new."}},
)
@operation(
    AuditAction.CUSTOMER_UPDATE,
    body="json",
    customer="any",
    conditions=("If-Match", "If-None-Match"),
    errors=(CustomerBeingErased,),
)
async def admin_put_customer(
    call: Call, customer_id: CustomerIdPath, data: CustomerPut
) -> Response:
    """Store what the host tells about a customer; it replaces all it told before."""
    return await replace_customer(call, customer_id, data)


@router.patch("/customers/{id}", response_model=CustomerRead, summary="Change a customer")
@operation(AuditAction.CUSTOMER_UPDATE, body="json", conditions=("If-Match",))
async def admin_update_customer(
    call: Call, customer_id: CustomerIdPath, data: CustomerUpdate
) -> Response:
    """Change what is known about a customer."""
    del customer_id
    current = await locked_customer(call)
    updated = await customers.update_customer(call.work, current, data)
    return await customer_response(call, updated)


@router.delete(
    "/customers/{id}",
    status_code=202,
    response_class=Response,
    summary="Erase a customer",
    responses={
        202: {
            "description": "The erasure runs; `Location` tells where to watch it.",
            "headers": {"Location": {"description": "The erasure.", "schema": {"type": "string"}}},
        }
    },
)
@operation(
    AuditAction.CUSTOMER_ERASE,
    customer="any",
    conditions=("If-Match",),
    errors=(CustomerUnknown,),
)
async def admin_delete_customer(call: Call, customer_id: CustomerIdPath) -> Response:
    """Erase every trace of a customer's documents; asking again changes nothing."""
    return await delete_customer(call, customer_id, "/v1/admin/erasures")


@router.get(
    "/customers/{id}/summary",
    response_model=CustomerSummary,
    summary="Read a customer's summary",
)
@operation(AuditAction.DOCUMENT_LIST, slots="all")
async def admin_read_customer_summary(call: Call, customer_id: CustomerIdPath) -> Response:
    """Return for each document whether it is uploaded, with totals and the gate."""
    del customer_id
    summary = summary_view(call.customer, call.slots, enforced=call.switches.gate_enabled)
    return json_response(summary)


@router.get("/customers/{id}/gate", response_model=GateRead, summary="Ask the gate")
@operation(AuditAction.GATE_READ, slots="all")
async def admin_read_gate(call: Call, customer_id: CustomerIdPath) -> Response:
    """Return whether the host may give this customer full access."""
    del customer_id
    return read_gate(call)
