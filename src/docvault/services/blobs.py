"""Blobs: bytes in the store, and the rows that account for them."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from uuid import UUID

from docvault.context import RequestContext
from docvault.db.tables import new_id
from docvault.domain.upload_openings import ReservedBlob
from docvault.errors import DatabaseUnavailable, FileNotFound, StorageUnavailable
from docvault.observability import metrics
from docvault.repositories.blobs import BlobKind, BlobReservation, blob_key, new_blob_name
from docvault.repositories.jobs import JobName
from docvault.services import quotas
from docvault.services.resources import Resources
from docvault.storage.base import BlobExists, BlobMissing, BlobReader

log = logging.getLogger(__name__)

DELETE_BATCH = 100

BlobProblem = Literal["blob missing", "blob is corrupt", "blob has the wrong size"]


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A local file whose bytes are about to be stored."""

    path: Path
    size_bytes: int
    sha256: str


async def store_bytes(
    resources: Resources,
    context: RequestContext,
    customer_id: UUID,
    sources: Sequence[LocalFile],
    *,
    kind: BlobKind = "file",
    reserved: ReservedBlob | None = None,
) -> list[UUID]:
    """Reserve blobs under new keys and write their bytes; return the ids of the pending blobs.

    `reserved` is a blob that is reserved already, for the only file.
    Raises `QuotaExceeded` for files over the customer's quota, and `CustomerBeingErased` or
    `CustomerNotFound` if an erasure has begun since the look-up. On any other failure the
    reservation stays, and the reaper removes what may have been written.
    """
    blobs: Sequence[BlobReservation | ReservedBlob]
    if reserved is not None:
        reserved.is_settled = True
        blobs = [reserved]
    else:
        blobs = await _reserve(resources, context, customer_id, sources, kind)
    for blob, source in zip(blobs, sources, strict=True):
        try:
            await resources.store.put(blob.key, source.path)
        except BlobExists as error:
            raise StorageUnavailable from error
    return [blob.id for blob in blobs]


async def _reserve(
    resources: Resources,
    context: RequestContext,
    customer_id: UUID,
    sources: Sequence[LocalFile],
    kind: BlobKind,
) -> list[BlobReservation]:
    reservations = [new_reservation(customer_id, one.size_bytes, one.sha256) for one in sources]
    async with resources.autocommit(context) as uow:
        if kind == "file":
            await quotas.reserve(uow, reservations)
        else:
            await uow.blobs.reserve(reservations, kind=kind)
    return reservations


async def abandon_blobs(resources: Resources, blob_ids: Sequence[UUID]) -> None:
    """Queue the deletion of bytes that were written but not attached.

    If this fails too, their reservations expire.
    """
    with suppress(DatabaseUnavailable):
        async with resources.transaction(resources.system_context()) as uow:
            await uow.blobs.queue_deletion(blob_ids)
            await uow.jobs.defer(JobName.DELETE_BLOBS)


async def delete_queued_blobs(resources: Resources, *, customer_id: UUID | None = None) -> None:
    """Delete the bytes of queued blobs, then their rows; of one customer or of all.

    One that cannot be deleted, such as an object under a lock, does not stop the others. Two
    workers may do this at once: deleting twice is harmless. Raises `StorageUnavailable`.
    """
    while True:
        async with resources.transaction(resources.system_context()) as uow:
            batch = await uow.blobs.queued(limit=DELETE_BATCH, customer_id=customer_id)
        if not batch:
            return
        deleted, failure = await _delete_bytes(resources, batch)
        if failure is not None and not deleted:
            raise failure
        async with resources.transaction(resources.system_context()) as uow:
            if not resources.store.supports_presigned_urls:
                deleted -= await uow.blobs.keep_refused(list(deleted))
            await uow.blobs.delete_rows(deleted)


async def _delete_bytes(
    resources: Resources, blobs: Sequence[tuple[UUID, str]]
) -> tuple[set[UUID], StorageUnavailable | None]:
    """Return the ids of the blobs whose bytes are deleted, and the last failure."""
    deleted: set[UUID] = set()
    failure = None
    for blob_id, key in blobs:
        try:
            await resources.store.delete(key)
        except StorageUnavailable as error:
            failure = error
        else:
            deleted.add(blob_id)
    return deleted, failure


def owner_of(key: str) -> UUID | None:
    """Return the internal id of the customer a blob key belongs to, None for any other key."""
    with suppress(ValueError):
        return UUID(key.partition("/")[0])
    return None


async def open_blob(resources: Resources, key: str) -> BlobReader:
    """Open a blob that was attached when the request looked it up.

    Raises `FileNotFound` if it has been deleted since, `StorageUnavailable` if it is missing.
    """
    try:
        return await resources.store.open(key)
    except BlobMissing as error:
        async with resources.autocommit(resources.system_context()) as uow:
            is_attached = await uow.blobs.is_stored(key)
        if not is_attached:
            # The deletion job was faster.
            raise FileNotFound from error
        raise corrupt_blob(key, "blob missing") from error


def corrupt_blob(key: str, problem: BlobProblem) -> StorageUnavailable:
    """Count and log a missing or corrupt blob for operators; return what to raise."""
    metrics.BLOBS_CORRUPT.inc()
    log.error(problem, extra={"blob_key": key})
    return StorageUnavailable()


def new_reservation(customer_id: UUID, size_bytes: int, sha256: str) -> BlobReservation:
    """Return a reservation of a blob under a new random key."""
    return BlobReservation(
        id=new_id(),
        customer_id=customer_id,
        key=blob_key(customer_id, new_blob_name()),
        size_bytes=size_bytes,
        sha256=sha256,
    )
