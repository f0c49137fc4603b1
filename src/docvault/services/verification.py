"""Comparing every row with every blob, both ways (R-009, D7)."""

import hashlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from docvault.auth.principals import Access
from docvault.models import Blob
from docvault.repositories.blobs import BlobPlace
from docvault.services.blobs import owner_of
from docvault.services.erasures import ErasedCustomers, erased_customers
from docvault.services.resources import Resources
from docvault.storage.base import BlobMissing, StoredBlob

BATCH = 500
# Younger bytes may belong to an upload that is under way.
ORPHAN_SECONDS = 24 * 3600

Progress = Callable[[int], None]


@dataclass(slots=True)
class Findings:
    """Blob keys by what is wrong with them, and erased customers of whom something is back."""

    checked: int = 0
    missing: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    orphaned: list[str] = field(default_factory=list)
    # Internal ids, in order: see `erased_customers`.
    unapplied: list[UUID] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.missing or self.damaged or self.orphaned or self.unapplied)


async def count_stored_blobs(resources: Resources) -> int:
    """Return how many blobs `verify` will look at."""
    async with resources.unit(Access.everyone()) as unit:
        return await unit.blobs.count_stored()


async def verify(resources: Resources, *, rehash: bool, progress: Progress) -> Findings:
    """Look whether every attached blob is there with its size, and no bytes are unaccounted for.

    Nor may anything be left of the erased, but what an erasure under way will remove. With
    `rehash` every byte is read again. Changes nothing.
    """
    findings = Findings()
    last: UUID | None = None
    while True:
        async with resources.unit(Access.everyone()) as unit:
            batch = await unit.blobs.list_stored(after=last, limit=BATCH)
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


async def places_of(
    resources: Resources, keys: Sequence[str]
) -> AsyncIterator[tuple[str, BlobPlace | None]]:
    """Yield each key with what its bytes are; None when no document has them any more.

    For those who have to restore the bytes, or tell the customer: it names people (D27).
    """
    for start in range(0, len(keys), BATCH):
        batch = keys[start : start + BATCH]
        async with resources.unit(Access.everyone()) as unit:
            places = await unit.blobs.places(batch)
        for key in batch:
            yield key, places.get(key)


async def _check_blob(
    resources: Resources, blob: Blob, findings: Findings, *, rehash: bool
) -> None:
    findings.checked += 1
    try:
        reader = await resources.store.open(blob.key)
    except BlobMissing:
        findings.missing.append(blob.key)
        return
    try:
        if reader.size_bytes != blob.size_bytes:
            findings.damaged.append(blob.key)
            return
        if not rehash:
            return
        digest = hashlib.sha256()
        async for chunk in reader.chunks(0, blob.size_bytes):
            digest.update(chunk)
        if digest.hexdigest() != blob.sha256:
            findings.damaged.append(blob.key)
    finally:
        await reader.close()


async def _find_orphans(resources: Resources, findings: Findings, erased: ErasedCustomers) -> None:
    batch: list[StoredBlob] = []
    async for blob in resources.store.list_blobs():
        is_old = time.time() - blob.written_at > ORPHAN_SECONDS
        if is_old and owner_of(blob.key) not in erased:
            batch.append(blob)
        if len(batch) >= BATCH:
            await _sift(resources, batch, findings)
            batch = []
    await _sift(resources, batch, findings)


async def _sift(resources: Resources, batch: list[StoredBlob], findings: Findings) -> None:
    keys = [blob.key for blob in batch]
    async with resources.unit(Access.everyone()) as unit:
        known = await unit.blobs.known_keys(keys)
    findings.orphaned += [key for key in keys if key not in known]
