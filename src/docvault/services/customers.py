"""Use cases of customers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from uuid import UUID

from docvault.domain.audit import AuditAction, difference
from docvault.domain.customer_documents import CustomerDocuments, DocumentSelection
from docvault.domain.customers import (
    Customer,
    CustomerCursor,
    CustomerData,
    CustomerFilter,
    CustomerProgress,
    CustomerSort,
)
from docvault.domain.gate import GateDecision
from docvault.errors import (
    CustomerBeingErased,
    CustomerExists,
    CustomerNotFound,
    ErrorDetail,
    UnknownFilterType,
)
from docvault.repositories.unit_of_work import UnitOfWork
from docvault.schemas.customers import CustomerCreate, CustomerPut, CustomerUpdate

ERASED_DURING_REQUEST = "The customer was erased during the request. Retry it."


async def find_customer_documents(
    uow: UnitOfWork, external_id: str, choice: DocumentSelection, *, to_write: bool
) -> CustomerDocuments:
    """Return a customer with the selected documents; raises `CustomerNotFound`.

    A customer that is being erased is unknown to readers; writers get `CustomerBeingErased`.
    """
    customer_documents = await uow.customer_documents.find(external_id, choice)
    if customer_documents is None:
        raise CustomerNotFound
    if customer_documents.customer.erasure_id is not None:
        raise CustomerBeingErased if to_write else CustomerNotFound
    return customer_documents


@dataclass(frozen=True, slots=True)
class CustomerQuery:
    """The filters of a list of customers; document types are named by key."""

    has_documents: bool | None = None
    uploaded: Sequence[str] = ()
    not_uploaded: Sequence[str] = ()
    gate: GateDecision | None = None
    search: str | None = None
    searches_email: bool = True
    tags: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class CustomerListing:
    """One page of customers with the progress of each, and the total if it was requested."""

    customers: Sequence[Customer]
    progress: Mapping[UUID, CustomerProgress]
    has_more: bool
    total: int | None


async def list_customers(
    uow: UnitOfWork,
    query: CustomerQuery,
    sort: CustomerSort,
    *,
    after: CustomerCursor | None,
    limit: int,
    include_total: bool,
) -> CustomerListing:
    """Return up to `limit` customers that match all filters; raises `UnknownFilterType`."""
    portal = await uow.portal_settings.portal()
    filter_ = CustomerFilter(
        has_documents=query.has_documents,
        uploaded=await _find_types(uow, "uploaded", query.uploaded),
        not_uploaded=await _find_types(uow, "not_uploaded", query.not_uploaded),
        gate=query.gate,
        gate_enforced=portal.gate_enabled,
        search=query.search,
        searches_email=query.searches_email,
        tags=tuple(dict.fromkeys(query.tags)),
    )
    # One more than requested shows whether another page follows.
    found = await uow.customers.list_page(filter_, sort, after, limit + 1)
    customers = found[:limit]
    return CustomerListing(
        customers,
        await find_progress(uow, customers),
        has_more=len(found) > limit,
        total=await uow.customers.count(filter_) if include_total else None,
    )


async def find_progress(
    uow: UnitOfWork, customers: Sequence[Customer]
) -> dict[UUID, CustomerProgress]:
    """Return the progress of each customer's documents, in one query (R-097)."""
    return await uow.customers.progress([customer.id for customer in customers])


async def create_customer(uow: UnitOfWork, data: CustomerCreate) -> Customer:
    """Create a customer; all active document types are requested from now on (R-003)."""
    customer = await _insert(uow, data.id, data)
    if customer is not None:
        return customer
    existing = await uow.customers.find(data.id)
    if existing is not None and existing.erasure_id is not None:
        raise CustomerBeingErased
    raise CustomerExists(pointer="/id")


async def put_customer(
    uow: UnitOfWork, external_id: str, data: CustomerPut
) -> tuple[Customer, bool]:
    """Create or replace a customer; return it and whether it was created."""
    customer = await _insert(uow, external_id, data)
    if customer is not None:
        return customer, True
    existing = await lock_if_known(uow, external_id)
    if existing is None:
        raise CustomerBeingErased(ERASED_DURING_REQUEST)
    return await _update(uow, existing, to_customer_data(data)), False


def to_customer_data(data: CustomerPut) -> CustomerData:
    """Return the complete data of a request."""
    return CustomerData(data.name, data.email, tuple(data.tags))


async def update_customer(uow: UnitOfWork, customer: Customer, data: CustomerUpdate) -> Customer:
    """Change the data of a customer whose row is locked."""
    current = asdict(customer.data)
    patch = {name: getattr(data, name) for name in data.model_fields_set}
    if "tags" in patch:
        patch["tags"] = tuple(patch["tags"] or ())
    return await _update(uow, customer, CustomerData(**(current | patch)))


async def lock_customer(
    uow: UnitOfWork, customer_id: UUID, *, exclusively: bool = False
) -> Customer:
    """Return a customer that cannot be erased before the transaction ends (R-106).

    Raises `CustomerNotFound` or `CustomerBeingErased`.
    """
    customer = await uow.customers.lock(customer_id, exclusively=exclusively)
    if customer is None:
        raise CustomerNotFound
    if customer.erasure_id is not None:
        raise CustomerBeingErased
    return customer


async def find_any_customer(uow: UnitOfWork, external_id: str) -> Customer:
    """Return a customer, even one being erased; raises `CustomerNotFound`."""
    customer = await uow.customers.find(external_id)
    if customer is None:
        raise CustomerNotFound
    return customer


async def lock_if_known(uow: UnitOfWork, external_id: str) -> Customer | None:
    """Lock a customer until the transaction ends; None if it does not exist."""
    customer = await uow.customers.find(external_id)
    if customer is None:
        return None
    try:
        return await lock_customer(uow, customer.id, exclusively=True)
    except CustomerNotFound:
        # The erasure was completed between the two statements.
        return None


async def _insert(uow: UnitOfWork, external_id: str, data: CustomerPut) -> Customer | None:
    erased_at = await uow.customers.erased_at(uow.context.keyring.pseudonyms(external_id))
    customer = await uow.customers.insert(external_id, to_customer_data(data), erased_at)
    if customer is not None:
        await uow.audit(AuditAction.CUSTOMER_CREATE, customer=customer)
    return customer


async def _update(uow: UnitOfWork, customer: Customer, data: CustomerData) -> Customer:
    changes = difference(asdict(customer.data), asdict(data))
    if changes is None:
        return customer
    updated = await uow.customers.update(customer.id, data)
    await uow.audit(
        AuditAction.CUSTOMER_UPDATE,
        customer=updated,
        changes=changes,
        event_data={"changed": sorted(changes)},
    )
    return updated


async def _find_types(uow: UnitOfWork, parameter: str, keys: Sequence[str]) -> tuple[UUID, ...]:
    """Return the ids of the document types in a filter; raises `UnknownFilterType`."""
    found = await uow.document_types.get_many(keys)
    unknown = [key for key in keys if key not in found]
    if unknown:
        detail = "Unknown document type."
        raise UnknownFilterType(
            errors=[ErrorDetail(UnknownFilterType.code, detail, parameter=parameter)]
        )
    return tuple(found[key].id for key in dict.fromkeys(keys))
