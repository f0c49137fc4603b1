"""Bytes in the store and the rows that answer for them (D1 to D6)."""

import logging
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from docvault import metrics
from docvault.auth.principals import Access
from docvault.errors import DatabaseUnavailable, NoFile, StorageUnavailable
from docvault.models import new_id
from docvault.repositories.blobs import BlobIntent, BlobKind
from docvault.repositories.jobs import JobName
from docvault.services import quotas
from docvault.services.resources import Resources
from docvault.storage.base import BlobExists, BlobMissing, BlobReader

log = logging.getLogger(__name__)

DELETE_BATCH = 100
# Longer than any write to the store takes.
STALE_UPLOAD = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class LocalBytes:
    """Bytes in a local file, about to be stored."""

    path: Path
    size_bytes: int
    sha256: str


async def store_bytes(
    resources: Resources,
    customer_id: UUID,
    sources: Sequence[LocalBytes],
    *,
    kind: BlobKind = "file",
) -> list[UUID]:
    """Announce and write bytes under fresh keys; return the ids of their pending blobs.

    Raises `QuotaExceeded` for files that the customer may not have, and `CustomerBeingErased` or
    `CustomerUnknown` when an erasure has begun since they were found. On any other failure the
    announcement stays, and the reaper removes what may have been written.
    """
    intents = [new_intent(customer_id, source.size_bytes, source.sha256) for source in sources]
    async with resources.statements(Access.everyone()) as unit:
        if kind == "file":
            await quotas.announce(unit, resources.settings, intents)
        else:
            await unit.blobs.announce(intents, kind=kind)
    for intent, source in zip(intents, sources, strict=True):
        try:
            await resources.store.put(intent.key, source.path)
        except BlobExists as error:
            raise StorageUnavailable from error
    return [intent.id for intent in intents]


async def abandon_blobs(resources: Resources, blob_ids: Sequence[UUID]) -> None:
    """Give up bytes that were written but refused: a job deletes them (D3).

    When even this fails their intents expire.
    """
    with suppress(DatabaseUnavailable):
        async with resources.unit(Access.everyone()) as unit:
            await unit.blobs.queue_deletion(blob_ids)
            await unit.jobs.defer(JobName.DELETE_BLOBS)


async def delete_queued_blobs(resources: Resources, *, customer_id: UUID | None = None) -> None:
    """Delete the bytes of queued blobs, then their rows; of one customer or of all.

    Two workers may do the same at once: deleting twice is harmless.
    """
    while True:
        async with resources.unit(Access.everyone()) as unit:
            batch = await unit.blobs.queued(limit=DELETE_BATCH, customer_id=customer_id)
        if not batch:
            return
        for _, key in batch:
            await resources.store.delete(key)
        async with resources.unit(Access.everyone()) as unit:
            await unit.blobs.forget([blob_id for blob_id, _ in batch])


async def reap(resources: Resources) -> None:
    """Remove what crashes, changes and late commits left behind, in the database and beside."""
    async with resources.unit(Access.everyone()) as unit:
        if not resources.store.signs_requests:
            await unit.blobs.shorten_abandoned()
        expired = await unit.blobs.queue_expired()
        await unit.idempotency_keys.delete_expired()
        await unit.upload_sessions.delete_old()
        await unit.rate_limits.delete_over()
        await unit.holdings.delete_unused()
        await unit.audit_events.delete_late_details()
    metrics.REAPED.labels("blobs").inc(expired)
    await delete_queued_blobs(resources)
    resources.spool.remove_leftovers()
    await resources.store.abort_stale_uploads(STALE_UPLOAD)


def owner_of(key: str) -> UUID | None:
    """Return whose bytes are under a key, by internal id; None when it is no key of ours."""
    with suppress(ValueError):
        return UUID(key.partition("/")[0])
    return None


async def open_attached(resources: Resources, key: str) -> BlobReader:
    """Open what a document or a preview had a moment ago.

    Raises `NoFile` when it has been deleted since, `StorageUnavailable` when the bytes are missing.
    """
    try:
        return await resources.store.open(key)
    except BlobMissing as error:
        async with resources.statements(Access.everyone()) as unit:
            is_attached = await unit.blobs.is_stored(key)
        if not is_attached:
            # The job has been there already.
            raise NoFile from error
        metrics.BLOBS_DAMAGED.inc()
        # An alarm for operators, not a traceback: the row says there are bytes.
        log.error("blob missing", extra={"blob_key": key})  # noqa: TRY400
        raise StorageUnavailable from error


def new_intent(customer_id: UUID, size_bytes: int, sha256: str) -> BlobIntent:
    """Return an intent to write bytes under a fresh key (D2)."""
    return BlobIntent(
        id=new_id(),
        customer_id=customer_id,
        key=f"{customer_id}/{secrets.token_hex(16)}",
        size_bytes=size_bytes,
        sha256=sha256,
    )
