"""Creating and replacing many customers with a fixed number of statements."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from docvault.domain.audit import AuditAction, NewAuditEvent, difference
from docvault.domain.customers import Customer, CustomerData
from docvault.errors import CustomerBeingErased
from docvault.repositories.customers import NewCustomer
from docvault.repositories.unit_of_work import UnitOfWork
from docvault.schemas.customers import CustomerCreate
from docvault.services.customers import ERASED_DURING_REQUEST, to_customer_data


@dataclass(frozen=True, slots=True)
class PutOutcome:
    """The result for one customer, who is unchanged if refused."""

    is_created: bool
    refusal: CustomerBeingErased | None


async def put_customers(uow: UnitOfWork, items: Sequence[CustomerCreate]) -> list[PutOutcome]:
    """Create or replace customers, each as `put_customer` does; return the outcome of each.

    It inserts first and then locks, both in the order of the ids: overlapping batches wait for
    each other in one direction and never deadlock.
    """
    data = {item.id: to_customer_data(item) for item in sorted(items, key=lambda item: item.id)}
    created = await _insert(uow, data)
    existing = await _lock(uow, [id_ for id_ in data if id_ not in created])
    changes = _find_changes(existing, data)
    await uow.customers.update_many({existing[id_].id: data[id_] for id_ in changes})
    events = [
        _create_event(uow, created.get(id_) or existing[id_], changes.get(id_))
        for id_ in data
        if id_ in created or id_ in changes
    ]
    await uow.audit_events.add_many(events)
    customers = created | existing
    return [PutOutcome(item.id in created, _find_refusal(customers.get(item.id))) for item in items]


async def _insert(uow: UnitOfWork, data: Mapping[str, CustomerData]) -> dict[str, Customer]:
    pseudonyms = uow.context.keyring.pseudonyms
    new = [NewCustomer(id_, pseudonyms(id_), wanted) for id_, wanted in data.items()]
    return {customer.external_id: customer for customer in await uow.customers.insert_many(new)}


async def _lock(uow: UnitOfWork, external_ids: Sequence[str]) -> dict[str, Customer]:
    locked = await uow.customers.lock_many(external_ids)
    return {customer.external_id: customer for customer in locked}


def _find_changes(
    existing: Mapping[str, Customer], data: Mapping[str, CustomerData]
) -> dict[str, dict[str, Any]]:
    """Return the differences of the customers that change, by id."""
    differences = {
        id_: difference(asdict(customer.data), asdict(data[id_]))
        for id_, customer in existing.items()
        if customer.erasure_id is None
    }
    return {id_: changes for id_, changes in differences.items() if changes is not None}


def _create_event(
    uow: UnitOfWork, customer: Customer, changes: dict[str, Any] | None
) -> NewAuditEvent:
    if changes is None:
        return uow.context.audit_event(AuditAction.CUSTOMER_CREATE, customer=customer)
    return uow.context.audit_event(
        AuditAction.CUSTOMER_UPDATE,
        customer=customer,
        changes=changes,
        event_data={"changed": sorted(changes)},
    )


def _find_refusal(customer: Customer | None) -> CustomerBeingErased | None:
    if customer is None:
        return CustomerBeingErased(ERASED_DURING_REQUEST)
    return None if customer.erasure_id is None else CustomerBeingErased()
