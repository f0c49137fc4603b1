"""Customers, as staff see and manage them."""

from urllib.parse import quote

from fastapi import APIRouter, Response

from docvault.api.http.pagination import (
    DEFAULT_LIMIT,
    CursorQuery,
    IncludeTotalQuery,
    LimitQuery,
)
from docvault.api.http.parameters import CustomerIdPath
from docvault.api.http.responses import TIME_OF_GATE, list_response
from docvault.api.routing.operation import JsonBody, NoBody, Read, operation
from docvault.api.routing.requests import ApiRequest, CustomerRequest, DocumentsRequest
from docvault.api.routing.routes import AdminRoute
from docvault.api.shared.customer_pages import (
    GateQuery,
    HasDocumentsQuery,
    NotUploadedQuery,
    SearchQuery,
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
from docvault.api.shared.documents import read_gate
from docvault.domain.audit import AuditAction
from docvault.domain.customers import CustomerSort
from docvault.errors import (
    CustomerBeingErased,
    CustomerExists,
    CustomerNotFound,
    InvalidCursor,
    UnknownFilterType,
)
from docvault.presenters.customers import present_summary
from docvault.schemas.customers import (
    CustomerCreate,
    CustomerPage,
    CustomerPut,
    CustomerRead,
    CustomerSummary,
    CustomerUpdate,
)
from docvault.schemas.gate import GateRead
from docvault.services import customers
from docvault.services.customers import CustomerQuery

router = APIRouter(route_class=AdminRoute, prefix="/v1/admin")

# Characters of customer ids that need no encoding in a path segment (RFC 3986): all but "|".
SAFE_IN_PATH = "~:@+="


@router.get("/customers", response_model=CustomerPage, summary="List customers")
@operation(
    Read(
        AuditAction.CUSTOMER_LIST,
        errors=(InvalidCursor, UnknownFilterType),
        conditions=("If-None-Match",),
    )
)
async def admin_list_customers(
    request: ApiRequest,
    has_documents: HasDocumentsQuery = None,
    uploaded: UploadedQuery = [],  # noqa: B006 - FastAPI copies defaults
    not_uploaded: NotUploadedQuery = [],  # noqa: B006 - FastAPI copies defaults
    gate: GateQuery = None,
    tag: TagQuery = [],  # noqa: B006 - FastAPI copies defaults
    q: SearchQuery = None,
    sort: SortQuery = CustomerSort.CREATED_AT,
    limit: LimitQuery = DEFAULT_LIMIT,
    cursor: CursorQuery = None,
    include_total: IncludeTotalQuery = False,
) -> Response:
    """List customers. Filters and search are combined with AND."""
    query = CustomerQuery(has_documents, uploaded, not_uploaded, gate, q, tags=tag)
    return await customer_page(
        request, query, sort, limit=limit, cursor=cursor, include_total=include_total
    )


@router.post(
    "/customers", response_model=CustomerRead, status_code=201, summary="Create a customer"
)
@operation(
    JsonBody(
        AuditAction.CUSTOMER_CREATE,
        idempotent=True,
        returns_location=True,
        errors=(CustomerExists, CustomerBeingErased),
    )
)
async def admin_create_customer(request: ApiRequest, data: CustomerCreate) -> Response:
    """Create a customer under the host platform's own id.

    All active document types are requested from the new customer.
    """
    customer = await customers.create_customer(request.uow, data)
    request.subject = customer
    location = f"{request.url.path}/{quote(customer.external_id, safe=SAFE_IN_PATH)}"
    return await customer_response(request, customer, 201, {"Location": location})


@router.get("/customers/{id}", response_model=CustomerRead, summary="Get a customer")
@operation(Read(AuditAction.CUSTOMER_READ, conditions=("If-None-Match",)))
async def admin_read_customer(request: CustomerRequest) -> Response:
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
        conditions=("If-Match", "If-None-Match"),
        errors=(CustomerBeingErased,),
    )
)
async def admin_put_customer(
    request: ApiRequest, customer_id: CustomerIdPath, data: CustomerPut
) -> Response:
    """Create a customer, or replace all data of an existing one.

    What the body leaves out is cleared: name and e-mail address become null, tags empty. To keep
    it, use PATCH.
    """
    return await replace_customer(request, customer_id, data)


@router.patch("/customers/{id}", response_model=CustomerRead, summary="Update a customer")
@operation(JsonBody(AuditAction.CUSTOMER_UPDATE, conditions=("If-Match",)))
async def admin_update_customer(request: CustomerRequest, data: CustomerUpdate) -> Response:
    """Change the given members of a customer and keep the others."""
    current = await lock_customer(request)
    updated = await customers.update_customer(request.uow, current, data)
    return await customer_response(request, updated)


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
@operation(NoBody(AuditAction.CUSTOMER_ERASE, conditions=("If-Match",), errors=(CustomerNotFound,)))
async def admin_delete_customer(request: ApiRequest, customer_id: CustomerIdPath) -> Response:
    """Start erasing all data of a customer; idempotent while the erasure runs."""
    return await delete_customer(request, customer_id, "/v1/admin/erasures")


@router.get(
    "/customers/{id}/summary",
    response_model=CustomerSummary,
    summary="Get a customer's summary",
)
@operation(Read(AuditAction.DOCUMENT_LIST, conditions=("If-None-Match",)))
async def admin_read_customer_summary(request: DocumentsRequest) -> Response:
    """Get the upload state of each document, with totals and the gate status."""
    summary = present_summary(
        request.customer, request.documents, gate_enforced=request.portal.gate_enabled
    )
    return list_response(request, summary, TIME_OF_GATE)


@router.get("/customers/{id}/gate", response_model=GateRead, summary="Get gate status")
@operation(Read(AuditAction.GATE_READ, conditions=("If-None-Match",)))
async def admin_read_gate(request: DocumentsRequest) -> Response:
    """Check whether the host platform may give this customer full access."""
    return read_gate(request)
