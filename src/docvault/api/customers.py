"""What staff and third parties alike do with customers."""

from collections.abc import Mapping

from fastapi import Response

from docvault.api.calls import Call
from docvault.api.conditional import check_preconditions
from docvault.api.responses import resource_response
from docvault.api.views import customer_view
from docvault.rules.customers import CustomerFacts
from docvault.schemas.customers import CustomerPut, CustomerRead
from docvault.services import customers, erasures


async def view_of_customer(call: Call, customer: CustomerFacts) -> CustomerRead:
    """Return a customer with the counts of this moment."""
    counts = await customers.count_documents(call.work, [customer])
    return customer_view(customer, counts[customer.id])


async def customer_response(
    call: Call,
    customer: CustomerFacts,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a customer as an answer."""
    return resource_response(call, await view_of_customer(call, customer), status, headers)


async def locked_customer(call: Call) -> CustomerFacts:
    """Return the call's customer as it is now, under the preconditions of the request."""
    current = await customers.lock_customer(call.work.unit, call.customer.id, exclusively=True)
    check_preconditions(call, await view_of_customer(call, current))
    return current


async def replace_customer(call: Call, external_id: str, data: CustomerPut) -> Response:
    """Create or replace a customer, under the preconditions of the request."""
    existing = await customers.lock_if_known(call.work, external_id)
    check_preconditions(call, None if existing is None else await view_of_customer(call, existing))
    customer, created = await customers.put_customer(call.work, external_id, data)
    return await customer_response(call, customer, 201 if created else 200)


async def delete_customer(call: Call, external_id: str, erasures_path: str) -> Response:
    """Begin to erase a customer, or point at the erasure that runs."""
    customer = await customers.find_any_customer(call.work.unit, external_id)
    if customer.erasure_id is None:
        check_preconditions(call, await view_of_customer(call, customer))
    erasure_id = await erasures.erase_customer(call.work, customer)
    return Response(status_code=202, headers={"Location": f"{erasures_path}/{erasure_id}"})
