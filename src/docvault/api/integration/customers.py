"""Customers, as the host platform keeps them in sync."""

from fastapi import APIRouter, Response

from docvault.api.http.pagination import (
    DEFAULT_LIMIT,
    CursorQuery,
    IncludeTotalQuery,
    LimitQuery,
)
from docvault.api.http.parameters import CustomerIdPath
from docvault.api.http.responses import json_response
from docvault.api.routing.operation import JsonBody, NoBody, Read, operation
from docvault.api.routing.requests import ApiRequest, CustomerRequest
from docvault.api.routing.routes import IntegrationRoute
from docvault.api.shared.customer_pages import (
    GateQuery,
    HasDocumentsQuery,
    NameSearchQuery,
    NotUploadedQuery,
    SortQuery,
    TagQuery,
    UploadedQuery,
    customer_page,
)
from docvault.api.shared.customers import (
    customer_response,
    delete_customer,
    lock_customer,
    replace_customer,
)
from docvault.domain.audit import AuditAction
from docvault.domain.customers import CustomerSort
from docvault.domain.permissions import require_scope
from docvault.domain.scopes import Scope
from docvault.errors import (
    CustomerBeingErased,
    CustomerNotFound,
    DocvaultError,
    InvalidCursor,
    UnknownFilterType,
)
from docvault.presenters.problems import present_problem
from docvault.schemas.customers import (
    CustomerBatch,
    CustomerBatchRead,
    CustomerBatchResult,
    CustomerCreate,
    CustomerPage,
    CustomerPut,
    CustomerRead,
    CustomerUpdate,
)
from docvault.services import customers
from docvault.services.customer_batches import PutOutcome, put_customers
from docvault.services.customers import CustomerQuery

router = APIRouter(route_class=IntegrationRoute, prefix="/v1/integration")

MAX_BATCH_BYTES = 1024 * 1024
# What a single item can fail with.
ITEM_ERRORS: tuple[type[DocvaultError], ...] = (CustomerBeingErased,)


@router.get("/customers", response_model=CustomerPage, summary="List customers")
@operation(
    Read(
        AuditAction.CUSTOMER_LIST,
        scope=Scope.CUSTOMERS_READ,
        errors=(InvalidCursor, UnknownFilterType),
        conditions=("If-None-Match",),
    )
)
async def integration_list_customers(
    request: ApiRequest,
    has_documents: HasDocumentsQuery = None,
    uploaded: UploadedQuery = [],  # noqa: B006 - FastAPI copies defaults
    not_uploaded: NotUploadedQuery = [],  # noqa: B006 - FastAPI copies defaults
    gate: GateQuery = None,
    tag: TagQuery = [],  # noqa: B006 - FastAPI copies defaults
    q: NameSearchQuery = None,
    sort: SortQuery = CustomerSort.CREATED_AT,
    limit: LimitQuery = DEFAULT_LIMIT,
    cursor: CursorQuery = None,
    include_total: IncludeTotalQuery = False,
) -> Response:
    """List customers. Filters and search are combined with AND.

    `uploaded` and `not_uploaded` also need `documents:read`, and `gate` needs `gate:read`.
    """
    if uploaded or not_uploaded:
        require_scope(request.context.actor, Scope.DOCUMENTS_READ)
    if gate is not None:
        require_scope(request.context.actor, Scope.GATE_READ)
    query = CustomerQuery(
        has_documents, uploaded, not_uploaded, gate, q, searches_email=False, tags=tag
    )
    return await customer_page(
        request, query, sort, limit=limit, cursor=cursor, include_total=include_total
    )


@router.get("/customers/{id}", response_model=CustomerRead, summary="Get a customer")
@operation(
    Read(AuditAction.CUSTOMER_READ, scope=Scope.CUSTOMERS_READ, conditions=("If-None-Match",))
)
async def integration_read_customer(request: CustomerRequest) -> Response:
    """Get a customer, with counts of their documents."""
    return await customer_response(request, request.customer)


@router.put(
    "/customers/{id}",
    response_model=CustomerRead,
    summary="Create or replace a customer",
    responses={201: {"model": CustomerRead, "description": "The customer was created."}},
)
@operation(
    JsonBody(
        AuditAction.CUSTOMER_UPDATE,
        scope=Scope.CUSTOMERS_WRITE,
        conditions=("If-Match", "If-None-Match"),
        errors=(CustomerBeingErased,),
    )
)
async def integration_put_customer(
    request: ApiRequest, customer_id: CustomerIdPath, data: CustomerPut
) -> Response:
    """Create a customer, or replace all data of an existing one.

    What the body leaves out is cleared: name and e-mail address become null, tags empty. To keep
    it, use PATCH.
    """
    return await replace_customer(request, customer_id, data)


@router.patch("/customers/{id}", response_model=CustomerRead, summary="Update a customer")
@operation(
    JsonBody(AuditAction.CUSTOMER_UPDATE, scope=Scope.CUSTOMERS_WRITE, conditions=("If-Match",))
)
async def integration_update_customer(request: CustomerRequest, data: CustomerUpdate) -> Response:
    """Change the given members of a customer and keep the others."""
    current = await lock_customer(request)
    return await customer_response(
        request, await customers.update_customer(request.uow, current, data)
    )


@router.delete(
    "/customers/{id}",
    status_code=202,
    response_class=Response,
    summary="Erase a customer",
    responses={
        202: {
            "description": "The erasure has started. `Location` is its resource.",
            "headers": {"Location": {"description": "The erasure.", "schema": {"type": "string"}}},
        }
    },
)
@operation(
    NoBody(
        AuditAction.CUSTOMER_ERASE,
        scope=Scope.CUSTOMERS_ERASE,
        conditions=("If-Match",),
        errors=(CustomerNotFound,),
    )
)
async def integration_delete_customer(request: ApiRequest, customer_id: CustomerIdPath) -> Response:
    """Start erasing all data of a customer; idempotent while the erasure runs."""
    return await delete_customer(request, customer_id, "/v1/integration/erasures")


@router.post(
    "/customer-batches",
    response_model=CustomerBatchRead,
    status_code=207,
    summary="Create or replace many customers",
)
@operation(
    JsonBody(
        AuditAction.CUSTOMER_UPDATE,
        scope=Scope.CUSTOMERS_WRITE,
        max_body_bytes=MAX_BATCH_BYTES,
        idempotent=True,
    )
)
async def integration_put_customer_batch(request: ApiRequest, data: CustomerBatch) -> Response:
    """Create or replace up to 500 customers. Each item succeeds or fails independently."""
    outcomes = await put_customers(request.uow, data.items)
    results = [
        _present_outcome(request, item, outcome)
        for item, outcome in zip(data.items, outcomes, strict=True)
    ]
    return json_response(CustomerBatchRead(items=results), 207)


def _present_outcome(
    request: ApiRequest, item: CustomerCreate, outcome: PutOutcome
) -> CustomerBatchResult:
    refusal = outcome.refusal
    if refusal is not None:
        problem = present_problem(refusal, request.context.request_id)
        return CustomerBatchResult(id=item.id, status=refusal.status, problem=problem)
    return CustomerBatchResult(id=item.id, status=201 if outcome.is_created else 200, problem=None)
