"""Use cases of customers."""

from collections.abc import Sequence
from dataclasses import asdict
from uuid import UUID

from docvault.errors import (
    CustomerBeingErased,
    CustomerExists,
    CustomerUnknown,
    ErrorDetail,
    UnknownFilterType,
)
from docvault.repositories.unit import Unit
from docvault.rules.customers import (
    CustomerCounts,
    CustomerData,
    CustomerFacts,
    CustomerFilter,
    CustomerPlace,
    CustomerSort,
)
from docvault.rules.dossiers import Dossier, SlotChoice
from docvault.schemas.audit_events import AuditAction
from docvault.schemas.customers import CustomerCreate, CustomerPut, CustomerUpdate
from docvault.services.work import Work, difference


async def find_dossier(
    unit: Unit, external_id: str, choice: SlotChoice, *, to_write: bool
) -> Dossier:
    """Return a customer and what is asked about it; raises `CustomerUnknown`.

    One that is being erased is unknown to readers and `CustomerBeingErased` to writers.
    """
    dossier = await unit.dossiers.find(external_id, choice)
    if dossier is None:
        raise CustomerUnknown
    if dossier.customer.erasure_id is not None:
        raise CustomerBeingErased if to_write else CustomerUnknown
    return dossier


async def list_customers(
    work: Work,
    filter_: CustomerFilter,
    sort: CustomerSort,
    *,
    after: CustomerPlace | None,
    limit: int,
) -> list[CustomerFacts]:
    """Return up to `limit` customers that the filter lets through."""
    return await work.unit.customers.list_page(filter_, sort, after, limit)


async def count_customers(work: Work, filter_: CustomerFilter) -> int:
    """Return how many customers the filter lets through."""
    return await work.unit.customers.count(filter_)


async def count_documents(
    work: Work, customers: Sequence[CustomerFacts]
) -> dict[UUID, CustomerCounts]:
    """Return the counts of each of the customers, in one query (R-097)."""
    return await work.unit.customers.counts([customer.id for customer in customers])


async def create_customer(work: Work, data: CustomerCreate) -> CustomerFacts:
    """Add a customer, who is asked for all active types from now on (R-003)."""
    customer = await _insert(work, data.id, data)
    if customer is not None:
        return customer
    existing = await work.unit.customers.find(data.id)
    if existing is not None and existing.erasure_id is not None:
        raise CustomerBeingErased
    raise CustomerExists(pointer="/id")


async def put_customer(
    work: Work, external_id: str, data: CustomerPut
) -> tuple[CustomerFacts, bool]:
    """Create or replace a customer; return it and whether it is new."""
    customer = await _insert(work, external_id, data)
    if customer is not None:
        return customer, True
    existing = await lock_if_known(work, external_id)
    if existing is None:
        raise CustomerBeingErased("The customer has just been erased; try again.")
    return await _update(work, existing, _data(data)), False


async def update_customer(
    work: Work, customer: CustomerFacts, data: CustomerUpdate
) -> CustomerFacts:
    """Change what the host told about a customer, whose row is locked."""
    current = asdict(customer.data)
    patch = {name: getattr(data, name) for name in data.model_fields_set}
    if "tags" in patch:
        patch["tags"] = tuple(patch["tags"] or ())
    return await _update(work, customer, CustomerData(**(current | patch)))


async def lock_customer(
    unit: Unit, customer_id: UUID, *, exclusively: bool = False
) -> CustomerFacts:
    """Return a customer who is not erased before the transaction ends; else raise (R-106)."""
    customer = await unit.customers.lock(customer_id, exclusively=exclusively)
    if customer is None:
        raise CustomerUnknown
    if customer.erasure_id is not None:
        raise CustomerBeingErased
    return customer


async def find_any_customer(unit: Unit, external_id: str) -> CustomerFacts:
    """Return a customer, also one that is being erased; raises `CustomerUnknown`."""
    customer = await unit.customers.find(external_id)
    if customer is None:
        raise CustomerUnknown
    return customer


async def lock_if_known(work: Work, external_id: str) -> CustomerFacts | None:
    """Return a customer that nobody else changes until the transaction ends, None if unknown."""
    customer = await work.unit.customers.find(external_id)
    if customer is None:
        return None
    try:
        return await lock_customer(work.unit, customer.id, exclusively=True)
    except CustomerUnknown:
        # Their erasure was completed between the two statements.
        return None


async def filter_types(work: Work, parameter: str, keys: list[str]) -> tuple[UUID, ...]:
    """Return the ids of the types a filter names; raises `UnknownFilterType` (R-095)."""
    found = await work.unit.document_types.get_many(keys)
    unknown = [key for key in keys if key not in found]
    if unknown:
        detail = "There is no such document type."
        raise UnknownFilterType(
            errors=[ErrorDetail(UnknownFilterType.code, detail, parameter=parameter)]
        )
    return tuple(found[key].id for key in dict.fromkeys(keys))


async def _insert(work: Work, external_id: str, data: CustomerPut) -> CustomerFacts | None:
    erased_at = await work.unit.customers.erased_at(work.keyring.pseudonym(external_id))
    customer = await work.unit.customers.insert(external_id, _data(data), erased_at)
    if customer is not None:
        await work.record(AuditAction.CUSTOMER_CREATE, customer=customer)
    return customer


async def _update(work: Work, customer: CustomerFacts, data: CustomerData) -> CustomerFacts:
    changes = difference(asdict(customer.data), asdict(data))
    if changes is None:
        return customer
    updated = await work.unit.customers.update(customer.id, data)
    await work.record(AuditAction.CUSTOMER_UPDATE, customer=updated, changes=changes)
    return updated


def _data(data: CustomerPut) -> CustomerData:
    return CustomerData(data.name, data.email, tuple(data.tags))
