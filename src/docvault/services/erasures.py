"""Erasing a customer: every trace of their documents goes (R-100 to R-107)."""

from datetime import datetime
from uuid import UUID

from docvault.auth.principals import Access
from docvault.errors import CustomerUnknown, NotFound
from docvault.repositories.jobs import JobName
from docvault.rules.customers import CustomerFacts
from docvault.rules.erasures import ErasureFacts
from docvault.schemas.audit_events import AuditAction
from docvault.services.blobs import delete_queued_blobs
from docvault.services.resources import Resources
from docvault.services.work import Work


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
    documents, versions = await unit.erasures.delete_documents(customer.id)
    blobs = await unit.blobs.queue_deletion_of_customer(customer.id)
    await unit.idempotency_keys.delete_of_customer(customer.id)
    await unit.upload_sessions.delete_of_customer(customer.id)
    await unit.audit_events.delete_details(customer.id)
    erasure_id = await unit.erasures.add(
        customer.id,
        work.keyring.pseudonym(customer.external_id),
        documents=documents,
        versions=versions,
        blobs=blobs,
    )
    await unit.jobs.defer(JobName.ERASE_CUSTOMER, erasure_id=str(erasure_id))
    await work.record(AuditAction.CUSTOMER_ERASE, customer=customer, anonymous=True)
    return erasure_id


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
    Raises `StorageUnavailable` while the store is down.
    """
    async with resources.unit(Access.everyone()) as unit:
        erasure = await unit.erasures.get(erasure_id)
    if erasure is None or erasure.completed_at is not None:
        return True
    await delete_queued_blobs(resources, customer_id=erasure.customer_id)
    await _delete_early(resources, erasure.customer_id)
    async with resources.unit(Access.everyone()) as unit:
        if await unit.blobs.count_of_customer(erasure.customer_id):
            return False
        # A download that was under way may have added to the trail since.
        await unit.audit_events.delete_details(erasure.customer_id)
        await unit.erasures.complete(erasure_id)
    return True


async def _delete_early(resources: Resources, customer_id: UUID) -> None:
    """Delete bytes whose rows have to wait for their expiry; nothing can attach them any more."""
    async with resources.unit(Access.everyone()) as unit:
        keys = await unit.blobs.pending_keys(customer_id)
    for key in keys:
        await resources.store.delete(key)


async def finish_erasures(resources: Resources) -> None:
    """Go on with every erasure that is not complete; the net below the jobs (R-103)."""
    async with resources.unit(Access.everyone()) as unit:
        pending = await unit.erasures.pending_ids()
    for erasure_id in pending:
        await finish_erasure(resources, erasure_id)
