"""Erasing customers with every trace of their documents (R-100 to R-107)."""

from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from uuid import UUID

from docvault.db.tables import new_id
from docvault.domain.audit import AuditAction
from docvault.domain.customers import Customer
from docvault.domain.erasures import Erasure, NewErasure
from docvault.errors import CustomerNotFound, NotFound
from docvault.repositories.jobs import JobName
from docvault.repositories.unit_of_work import UnitOfWork
from docvault.services.blobs import delete_queued_blobs, owner_of
from docvault.services.erasure_ledger import read_record, recorded_customers, write_record
from docvault.services.resources import Resources
from docvault.services.steps import attempt_all


async def erase_customer(uow: UnitOfWork, customer: Customer) -> UUID:
    """Begin an erasure, or find the running one; return its id.

    This transaction deletes rows, values, names, responses stored for replays and the personal
    part of the audit trail. A job then deletes the bytes, and finally the customer's id.
    """
    locked = await uow.customers.lock(customer.id, exclusively=True)
    if locked is None:
        raise CustomerNotFound
    if locked.erasure_id is not None:
        return locked.erasure_id
    pseudonym = uow.context.keyring.pseudonym(customer.external_id)
    erasure = NewErasure(new_id(), customer.id, pseudonym)
    await _begin(uow, erasure, locked.pseudonym)
    await uow.idempotency_keys.delete_naming(locked.external_id)
    return erasure.id


async def _begin(uow: UnitOfWork, erasure: NewErasure, event_pseudonym: str) -> None:
    customer_id = erasure.customer_id
    documents, versions = await uow.erasures.delete_documents(customer_id)
    blobs = await uow.blobs.queue_deletion_of_customer(customer_id)
    await uow.idempotency_keys.delete_of_customer(customer_id)
    await uow.upload_sessions.delete_of_customer(customer_id)
    await uow.audit_events.delete_details(customer_id)
    await uow.erasures.add(erasure, documents=documents, versions=versions, blobs=blobs)
    await uow.jobs.defer(JobName.ERASE_CUSTOMER, erasure_id=str(erasure.id))
    redacted = await uow.events.redact(customer_id, event_pseudonym)
    # In a statement of its own, so that it finds the deliveries of events that just got a position.
    await uow.webhook_deliveries.drop_events(redacted)
    event = uow.context.audit_event(
        AuditAction.CUSTOMER_ERASE, event_data={"erasure": str(erasure.id)}
    )
    await uow.audit_events.add(
        replace(
            event,
            customer_pseudonym=erasure.customer_pseudonym,
            event_pseudonym=event_pseudonym,
        )
    )


async def read_erasure(uow: UnitOfWork, erasure_id: UUID) -> Erasure:
    """Return an erasure; raises `NotFound`."""
    erasure = await uow.erasures.get(erasure_id)
    if erasure is None:
        raise NotFound
    return erasure


async def list_erasures(
    uow: UnitOfWork, *, completed: bool | None, after: tuple[datetime, UUID] | None, limit: int
) -> list[Erasure]:
    """Return up to `limit` erasures, oldest first."""
    return await uow.erasures.list_page(completed=completed, after=after, limit=limit)


async def count_erasures(uow: UnitOfWork, *, completed: bool | None) -> int:
    """Return how many erasures there are."""
    return await uow.erasures.count(completed=completed)


async def finish_erasure(resources: Resources, erasure_id: UUID) -> bool:
    """Delete what is left of a customer; return whether the erasure is complete.

    It stays pending while an upload or the holder of a signed URL may still write bytes; what
    has arrived is deleted each time. The ledger records it first, so that it outlives the
    database (D8). Raises `StorageUnavailable` while the store is down.
    """
    async with resources.transaction(resources.system_context()) as uow:
        erasure = await uow.erasures.get(erasure_id)
    if erasure is None or erasure.completed_at is not None:
        return True
    await write_record(resources, erasure)
    await delete_queued_blobs(resources, customer_id=erasure.customer_id)
    await _empty_folder(resources, erasure.customer_id)
    async with resources.transaction(resources.system_context()) as uow:
        if await uow.blobs.count_of_customer(erasure.customer_id):
            return False
        # A download in progress may have added details in the meantime.
        await uow.audit_events.delete_details(erasure.customer_id)
        await uow.erasures.complete(erasure_id)
    return True


async def _empty_folder(resources: Resources, customer_id: UUID) -> None:
    """Delete bytes whose reservations have not expired yet, and bytes without a row.

    The former can no longer be attached; the latter come from a restored copy of the store.
    """
    async for blob in resources.store.list_folder(str(customer_id)):
        await resources.store.delete(blob.key)


@dataclass(frozen=True, slots=True)
class ErasedCustomers:
    """Internal ids of customers whose erasure is running, or was undone by a restore."""

    pending: set[UUID]
    unapplied: set[UUID]

    def __contains__(self, customer_id: UUID | None) -> bool:
        """Whether nothing of this customer should exist."""
        return customer_id in self.pending or customer_id in self.unapplied


async def erased_customers(resources: Resources) -> ErasedCustomers:
    """Compare the ledger, the database and the store.

    An erasure was undone if only one of ledger and database knows it as completed, or if it is
    completed but bytes exist.
    """
    began, completed = await _read_erasures(resources)
    recorded = await recorded_customers(resources)
    owners = {owner_of(blob.key) async for blob in resources.store.list_blobs()}
    # Read again: erasures begin and end meanwhile.
    running, completed_since = await _read_erasures(resources)
    undone = (recorded - completed_since) | (completed - recorded) | (completed & owners)
    return ErasedCustomers(began | running, undone - began - running)


async def _read_erasures(resources: Resources) -> tuple[set[UUID], set[UUID]]:
    async with resources.transaction(resources.system_context()) as uow:
        return await uow.erasures.customers()


async def reapply_erasures(resources: Resources) -> int:
    """Restart every erasure that a restore has undone; return how many.

    Jobs do the rest, as with any erasure. Running it twice is harmless.
    """
    context = resources.system_context()
    unapplied = (await erased_customers(resources)).unapplied
    for customer_id in unapplied:
        async with resources.transaction(context) as uow:
            erasure_id = await uow.erasures.reopen(customer_id)
            if erasure_id is not None:
                await uow.jobs.defer(JobName.ERASE_CUSTOMER, erasure_id=str(erasure_id))
                continue
            locked = await uow.customers.lock(customer_id, exclusively=True)
            if locked is None or locked.erasure_id is None:
                record = await read_record(resources, customer_id)
                # The database may be older than the customer, and then has no events either.
                known = record.customer_pseudonym if locked is None else locked.pseudonym
                await _begin(uow, record, known)
    return len(unapplied)


async def finish_erasures(resources: Resources) -> None:
    """Continue every pending erasure, in case a job was lost (R-103).

    One that fails does not stop the others.
    """
    async with resources.transaction(resources.system_context()) as uow:
        pending = await uow.erasures.pending_ids()
    steps = (partial(finish_erasure, resources, erasure_id) for erasure_id in pending)
    await attempt_all(*steps, failure="an erasure could not be finished, will be tried again")
