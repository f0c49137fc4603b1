"""Comparing the rows in the database with the bytes in the store, both ways (R-009, D7)."""

import hashlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from docvault.repositories.blobs import AttachedBlob, BlobPlace
from docvault.services.blobs import owner_of
from docvault.services.erasures import ErasedCustomers, erased_customers
from docvault.services.resources import Resources
from docvault.storage.base import BlobMissing, StoredBlob

BATCH = 500
# Younger bytes may belong to an upload in progress.
ORPHAN_SECONDS = 24 * 3600

Progress = Callable[[int], None]


@dataclass(slots=True)
class Findings:
    """Blob keys by what is wrong with them, and customers whose erasure was undone."""

    checked: int = 0
    missing: list[str] = field(default_factory=list)
    corrupt: list[str] = field(default_factory=list)
    orphaned: list[str] = field(default_factory=list)
    # Internal ids, sorted; see `erased_customers`.
    unapplied: list[UUID] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether there are no findings."""
        return not (self.missing or self.corrupt or self.orphaned or self.unapplied)


async def count_stored_blobs(resources: Resources) -> int:
    """Return how many blobs `verify` will check."""
    async with resources.transaction(resources.system_context()) as uow:
        return await uow.blobs.count_stored()


async def verify(resources: Resources, *, rehash: bool, progress: Progress) -> Findings:
    """Check that every attached blob exists with its size, and that no bytes are orphaned.

    Nothing of an erased customer may remain, except what a running erasure will delete. With
    `rehash` all bytes are read and hashed. Changes nothing.
    """
    findings = Findings()
    last: UUID | None = None
    while True:
        async with resources.transaction(resources.system_context()) as uow:
            batch = await uow.blobs.list_stored(after=last, limit=BATCH)
        if not batch:
            break
        for blob in batch:
            await _check_blob(resources, blob, findings, rehash=rehash)
            progress(1)
        last = batch[-1].id
    erased = await erased_customers(resources)
    findings.unapplied = sorted(erased.unapplied)
    await _find_orphans(resources, findings, erased)
    return findings


async def describe_blobs(
    resources: Resources, keys: Sequence[str]
) -> AsyncIterator[tuple[str, BlobPlace | None]]:
    """Yield each key with the document its bytes belong to, None if there is none any more.

    For operators who restore the bytes or inform the customer: it names people (D27).
    """
    for start in range(0, len(keys), BATCH):
        batch = keys[start : start + BATCH]
        async with resources.transaction(resources.system_context()) as uow:
            places = await uow.blobs.places(batch)
        for key in batch:
            yield key, places.get(key)


async def _check_blob(
    resources: Resources, blob: AttachedBlob, findings: Findings, *, rehash: bool
) -> None:
    findings.checked += 1
    try:
        reader = await resources.store.open(blob.key)
    except BlobMissing:
        findings.missing.append(blob.key)
        return
    try:
        if reader.size_bytes != blob.size_bytes:
            findings.corrupt.append(blob.key)
            return
        if not rehash:
            return
        digest = hashlib.sha256()
        async for chunk in reader.chunks(0, blob.size_bytes):
            digest.update(chunk)
        if digest.hexdigest() != blob.sha256:
            findings.corrupt.append(blob.key)
    finally:
        await reader.close()


async def _find_orphans(resources: Resources, findings: Findings, erased: ErasedCustomers) -> None:
    batch: list[StoredBlob] = []
    async for blob in resources.store.list_blobs():
        is_old = time.time() - blob.written_at > ORPHAN_SECONDS
        if is_old and owner_of(blob.key) not in erased:
            batch.append(blob)
        if len(batch) >= BATCH:
            await _collect_orphans(resources, batch, findings)
            batch = []
    await _collect_orphans(resources, batch, findings)


async def _collect_orphans(
    resources: Resources, batch: list[StoredBlob], findings: Findings
) -> None:
    keys = [blob.key for blob in batch]
    async with resources.transaction(resources.system_context()) as uow:
        known = await uow.blobs.known_keys(keys)
    findings.orphaned += [key for key in keys if key not in known]
