"""What staff and integrations can both do with customers."""

from collections.abc import Mapping

from fastapi import Response

from docvault.api.http.conditional import check_preconditions
from docvault.api.http.responses import resource_response
from docvault.api.routing.requests import ApiRequest, CustomerRequest
from docvault.domain.customers import Customer
from docvault.presenters.customers import present_customer
from docvault.schemas.customers import CustomerPut, CustomerRead
from docvault.services import customers, erasures


async def _present(request: ApiRequest, customer: Customer) -> CustomerRead:
    """Present a customer with the current progress of the documents."""
    progress = await customers.find_progress(request.uow, [customer])
    return present_customer(customer, progress[customer.id])


async def customer_response(
    request: ApiRequest,
    customer: Customer,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return a customer with its ETag."""
    return resource_response(request, await _present(request, customer), status, headers)


async def lock_customer(request: CustomerRequest) -> Customer:
    """Lock the customer of the request, and check the preconditions of the request."""
    current = await customers.lock_customer(request.uow, request.customer.id, exclusively=True)
    check_preconditions(request, await _present(request, current))
    return current


async def replace_customer(request: ApiRequest, external_id: str, data: CustomerPut) -> Response:
    """Create or replace a customer if the preconditions of the request hold."""
    existing = await customers.lock_if_known(request.uow, external_id)
    check_preconditions(request, None if existing is None else await _present(request, existing))
    customer, created = await customers.put_customer(request.uow, external_id, data)
    return await customer_response(request, customer, 201 if created else 200)


async def delete_customer(request: ApiRequest, external_id: str, erasures_path: str) -> Response:
    """Begin to erase a customer, or return the running erasure."""
    customer = await customers.find_any_customer(request.uow, external_id)
    if customer.erasure_id is None:
        check_preconditions(request, await _present(request, customer))
    erasure_id = await erasures.erase_customer(request.uow, customer)
    return Response(status_code=202, headers={"Location": f"{erasures_path}/{erasure_id}"})
