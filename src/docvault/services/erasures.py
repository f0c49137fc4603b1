"""Erasing a customer: every trace of their documents goes (R-100 to R-107)."""

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from docvault.auth.principals import Access
from docvault.errors import CustomerUnknown, NotFound
from docvault.models import new_id
from docvault.repositories.jobs import JobName
from docvault.rules.customers import CustomerFacts
from docvault.rules.erasures import ErasureFacts, NewErasure
from docvault.schemas.audit_events import AuditAction
from docvault.services.blobs import delete_queued_blobs, owner_of
from docvault.services.erasure_ledger import read_record, recorded_customers, write_record
from docvault.services.resources import Resources
from docvault.services.work import Asker, Work


async def erase_customer(work: Work, customer: CustomerFacts) -> UUID:
    """Begin an erasure, or find the one that runs; return its id.

    Rows, values, names, answers kept for retries and the personal part of the audit trail go
    in this transaction; the bytes follow through the job queue, and then the customer's id.
    """
    unit = work.unit
    locked = await unit.customers.lock(customer.id, exclusively=True)
    if locked is None:
        raise CustomerUnknown
    if locked.erasure_id is not None:
        return locked.erasure_id
    pseudonym = work.keyring.pseudonym(customer.external_id)
    erasure = NewErasure(new_id(), customer.id, pseudonym)
    await _begin(work, erasure)
    await unit.idempotency_keys.delete_naming(locked.external_id)
    return erasure.id


async def _begin(work: Work, erasure: NewErasure) -> None:
    unit, customer_id = work.unit, erasure.customer_id
    documents, versions = await unit.erasures.delete_documents(customer_id)
    blobs = await unit.blobs.queue_deletion_of_customer(customer_id)
    await unit.idempotency_keys.delete_of_customer(customer_id)
    await unit.upload_sessions.delete_of_customer(customer_id)
    await unit.audit_events.delete_details(customer_id)
    await unit.erasures.add(erasure, documents=documents, versions=versions, blobs=blobs)
    await unit.jobs.defer(JobName.ERASE_CUSTOMER, erasure_id=str(erasure.id))
    event = work.event(AuditAction.CUSTOMER_ERASE)
    await unit.audit_events.add(replace(event, customer_pseudonym=erasure.customer_pseudonym))


async def read_erasure(work: Work, erasure_id: UUID) -> ErasureFacts:
    """Return an erasure; raises `NotFound`."""
    erasure = await work.unit.erasures.get(erasure_id)
    if erasure is None:
        raise NotFound
    return erasure


async def list_erasures(
    work: Work, *, completed: bool | None, after: tuple[datetime, UUID] | None, limit: int
) -> list[ErasureFacts]:
    """Return up to `limit` erasures, oldest first."""
    return await work.unit.erasures.list_page(completed=completed, after=after, limit=limit)


async def count_erasures(work: Work, *, completed: bool | None) -> int:
    """Return how many erasures there are."""
    return await work.unit.erasures.count(completed=completed)


async def finish_erasure(resources: Resources, erasure_id: UUID) -> bool:
    """Delete what is left of a customer; return whether nothing is.

    Bytes that may still be written, by an upload or by the holder of a signed URL, keep the
    erasure pending until they are settled or expired; what has come is deleted each time.
    What is completed is in the ledger, and so outlives the database (D8). Raises
    `StorageUnavailable` while the store is down.
    """
    async with resources.unit(Access.everyone()) as unit:
        erasure = await unit.erasures.get(erasure_id)
    if erasure is None or erasure.completed_at is not None:
        return True
    await write_record(resources, erasure)
    await delete_queued_blobs(resources, customer_id=erasure.customer_id)
    await _empty_folder(resources, erasure.customer_id)
    async with resources.unit(Access.everyone()) as unit:
        if await unit.blobs.count_of_customer(erasure.customer_id):
            return False
        # A download that was under way may have added to the trail since.
        await unit.audit_events.delete_details(erasure.customer_id)
        await unit.erasures.complete(erasure_id)
    return True


async def _empty_folder(resources: Resources, customer_id: UUID) -> None:
    """Delete bytes whose rows have to wait for their expiry, or which have no row.

    Nothing can attach the first any more; the others came back with a copy of the store.
    """
    async for blob in resources.store.list_folder(str(customer_id)):
        await resources.store.delete(blob.key)


@dataclass(frozen=True, slots=True)
class ErasedCustomers:
    """Internal ids: whose erasure goes on, and whose is to be done again after a restore."""

    pending: set[UUID]
    unapplied: set[UUID]

    def __contains__(self, customer_id: UUID | None) -> bool:
        """Whether nothing of this customer should be there."""
        return customer_id in self.pending or customer_id in self.unapplied


async def erased_customers(resources: Resources) -> ErasedCustomers:
    """Compare the ledger, the database and the store.

    To be done again is what only one of ledger and database knows to be completed, and what is
    completed while there are bytes.
    """
    async with resources.unit(Access.everyone()) as unit:
        pending, completed = await unit.erasures.customers()
    recorded = await recorded_customers(resources)
    erased = recorded | completed
    owners = {owner_of(blob.key) async for blob in resources.store.list_blobs()}
    return ErasedCustomers(pending, ((recorded ^ completed) | (erased & owners)) - pending)


async def reapply_erasures(resources: Resources, asker: Asker) -> int:
    """Begin again every erasure that a restore has undone; return how many.

    The jobs do the rest, as with any erasure. Doing it twice is harmless.
    """
    unapplied = (await erased_customers(resources)).unapplied
    for customer_id in unapplied:
        async with resources.unit(Access.everyone()) as unit:
            erasure_id = await unit.erasures.reopen(customer_id)
            if erasure_id is not None:
                await unit.jobs.defer(JobName.ERASE_CUSTOMER, erasure_id=str(erasure_id))
                continue
            locked = await unit.customers.lock(customer_id, exclusively=True)
            if locked is None or locked.erasure_id is None:
                await _begin(asker.work(unit), await read_record(resources, customer_id))
    return len(unapplied)


async def finish_erasures(resources: Resources) -> None:
    """Go on with every erasure that is not complete; the net below the jobs (R-103)."""
    async with resources.unit(Access.everyone()) as unit:
        pending = await unit.erasures.pending_ids()
    for erasure_id in pending:
        await finish_erasure(resources, erasure_id)
