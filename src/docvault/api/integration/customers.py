"""The host platform keeps its customers known here."""

from fastapi import APIRouter, Response

from docvault.api.callers import IntegrationRoute
from docvault.api.calls import Call
from docvault.api.customers import (
    customer_response,
    delete_customer,
    locked_customer,
    replace_customer,
)
from docvault.api.operations import operation
from docvault.api.paths import CustomerIdPath
from docvault.api.problems import problem_of
from docvault.api.responses import json_response
from docvault.auth.scopes import Scope
from docvault.errors import CustomerBeingErased, CustomerUnknown, DocvaultError
from docvault.schemas.audit_events import AuditAction
from docvault.schemas.customers import (
    CustomerBatch,
    CustomerBatchRead,
    CustomerBatchResult,
    CustomerCreate,
    CustomerPut,
    CustomerRead,
    CustomerUpdate,
)
from docvault.services import customers

router = APIRouter(route_class=IntegrationRoute, prefix="/v1/integration")

MAX_BATCH_BYTES = 1024 * 1024


@router.get("/customers/{id}", response_model=CustomerRead, summary="Read a customer")
@operation(AuditAction.CUSTOMER_READ, scope=Scope.CUSTOMERS_READ, conditions=("If-None-Match",))
async def integration_read_customer(call: Call, customer_id: CustomerIdPath) -> Response:
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
    scope=Scope.CUSTOMERS_WRITE,
    body="json",
    customer="any",
    conditions=("If-Match", "If-None-Match"),
    errors=(CustomerBeingErased,),
)
async def integration_put_customer(
    call: Call, customer_id: CustomerIdPath, data: CustomerPut
) -> Response:
    """Store what the host tells about a customer; it replaces all it told before."""
    return await replace_customer(call, customer_id, data)


@router.patch("/customers/{id}", response_model=CustomerRead, summary="Change a customer")
@operation(
    AuditAction.CUSTOMER_UPDATE,
    scope=Scope.CUSTOMERS_WRITE,
    body="json",
    conditions=("If-Match",),
)
async def integration_update_customer(
    call: Call, customer_id: CustomerIdPath, data: CustomerUpdate
) -> Response:
    """Change what is known about a customer."""
    del customer_id
    current = await locked_customer(call)
    return await customer_response(call, await customers.update_customer(call.work, current, data))


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
    scope=Scope.CUSTOMERS_ERASE,
    customer="any",
    conditions=("If-Match",),
    errors=(CustomerUnknown,),
)
async def integration_delete_customer(call: Call, customer_id: CustomerIdPath) -> Response:
    """Erase every trace of a customer's documents; asking again changes nothing."""
    return await delete_customer(call, customer_id, "/v1/integration/erasures")


@router.post(
    "/customer-batches",
    response_model=CustomerBatchRead,
    status_code=207,
    summary="Create or replace many customers",
)
@operation(
    AuditAction.CUSTOMER_UPDATE,
    scope=Scope.CUSTOMERS_WRITE,
    body="json",
    max_body_bytes=MAX_BATCH_BYTES,
    idempotent=True,
)
async def integration_put_customer_batch(call: Call, data: CustomerBatch) -> Response:
    """Store up to 500 customers, each as with PUT; one that is refused stops no other."""
    # In order of id, so that two batches at once do not wait for each other crosswise.
    results = {item.id: await _put(call, item) for item in sorted(data.items, key=lambda c: c.id)}
    return json_response(CustomerBatchRead(items=[results[item.id] for item in data.items]), 207)


async def _put(call: Call, item: CustomerCreate) -> CustomerBatchResult:
    """Store one customer; a refusal has written nothing."""
    try:
        _, created = await customers.put_customer(call.work, item.id, item)
    except DocvaultError as error:
        problem = problem_of(error, call.asker.request_id)
        return CustomerBatchResult(id=item.id, status=error.status, problem=problem)
    return CustomerBatchResult(id=item.id, status=201 if created else 200, problem=None)
