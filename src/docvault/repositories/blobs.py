"""SQL about blobs: reservation, attachment, deletion (D1 to D6)."""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from uuid import UUID

from sqlalchemy import and_, delete, func, or_, select, update

from docvault.db.prepared_statements import NoRow
from docvault.db.tables import (
    BlobRow,
    CustomerRow,
    DocumentFileRow,
    DocumentRow,
    DocumentTypeRow,
    DocumentVersionRow,
    PreviewRow,
    UploadSessionRow,
)
from docvault.domain.quotas import NO_QUOTA, WAITING_FACTOR, StorageUsage, Usage
from docvault.errors import CustomerBeingErased, CustomerNotFound
from docvault.repositories.base import Repository
from docvault.repositories.sql import load_statement

BlobKind = Literal["file", "preview"]

# Longer than any write to the store can take, so that the reaper never interferes with one.
RESERVATION_LIFETIME = timedelta(minutes=15)

# Deletion is due now.
_IS_DUE = or_(BlobRow.expires_at.is_(None), BlobRow.expires_at <= func.now())


@dataclass(slots=True)
class _Used:
    used_files: int
    used_bytes: int
    waiting_files: int
    waiting_bytes: int


@dataclass(slots=True)
class _Reservation:
    reserved: bool
    # None if the customer does not exist.
    is_erased: bool | None
    used_files: int
    used_bytes: int
    waiting_files: int
    waiting_bytes: int
    used_value_bytes: int


_RESERVE = load_statement("reserve_blobs", _Reservation)
_USAGE = load_statement("storage_usage", _Used)
_RELEASE = load_statement("release_blob", NoRow)


@dataclass(frozen=True, slots=True)
class BlobReservation:
    """A reservation: bytes about to be written."""

    id: UUID
    customer_id: UUID
    key: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class AttachedBlob:
    """The bytes that the store must have under a key."""

    id: UUID
    key: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class BlobPlace:
    """Where attached bytes belong: a file of a document, or its preview in some size."""

    customer_id: str
    document_type: str
    version: int
    file: int
    preview: str | None


def new_blob_name() -> str:
    """Return a random name for a blob."""
    return secrets.token_hex(16)


def blob_key(customer_id: UUID, name: str) -> str:
    """Return the key of a customer's blob; open_upload.sql makes the same."""
    return f"{customer_id}/{name}"


class BlobRepository(Repository):
    """Objects in the blob store, from reservation to deletion."""

    async def reserve(
        self,
        intents: Sequence[BlobReservation],
        lifetime: timedelta = RESERVATION_LIFETIME,
        *,
        kind: BlobKind = "file",
        quota: StorageUsage = NO_QUOTA,
    ) -> Usage | None:
        """Reserve blobs of one customer before their bytes are written (D1 step d).

        Return None, or the customer's usage if the quota does not allow them. Exact under
        concurrency: until the commit no other reservation for the customer succeeds and no
        erasure begins. Raises `CustomerBeingErased` while an erasure runs and
        `CustomerNotFound` after it: no bytes may be written for an erased customer.
        """
        rows = await self._rows(
            _RESERVE,
            {
                "customer_id": intents[0].customer_id,
                "kind": kind,
                "ids": [intent.id for intent in intents],
                "keys": [intent.key for intent in intents],
                "sizes": [intent.size_bytes for intent in intents],
                "digests": [intent.sha256 for intent in intents],
                "lifetime": lifetime,
                "max_files": quota.files,
                "max_bytes": quota.size_bytes,
                "waiting_factor": WAITING_FACTOR,
                "max_value_bytes": quota.value_bytes,
            },
        )
        reservation = rows[0]
        if reservation.is_erased is None:
            raise CustomerNotFound
        if reservation.is_erased:
            raise CustomerBeingErased
        if reservation.reserved:
            return None
        return _usage(reservation, reservation.used_value_bytes)

    async def release(self, blob_id: UUID) -> None:
        """Delete a reservation of which no bytes were written."""
        await self._rows(_RELEASE, {"id": blob_id})

    async def usage(self, customer_id: UUID) -> Usage:
        """Return the usage that counts towards a customer's quota."""
        return _usage((await self._rows(_USAGE, {"customer_id": customer_id}))[0])

    async def mark_stored(self, blob_ids: Sequence[UUID]) -> bool:
        """Mark reserved blobs as stored; False if any has expired or is being deleted (D6)."""
        result = await self._session.scalars(
            update(BlobRow)
            .where(
                BlobRow.id.in_(blob_ids),
                BlobRow.state == "pending",
                BlobRow.expires_at > func.now(),
                self._reachable(BlobRow.customer_id),
            )
            .values(state="stored", expires_at=None)
            .returning(BlobRow.id)
        )
        return len(result.all()) == len(blob_ids)

    async def queue_deletion(
        self, blob_ids: Sequence[UUID], *, wait: timedelta = timedelta(0)
    ) -> None:
        """Queue those of the blobs for deletion that nothing refers to any more (D5).

        A version that keeps files of an earlier one shares their blobs with it. Blobs that a
        database backup may refer to wait for as long as backups are used (D8).
        """
        is_used = or_(
            select(DocumentFileRow.id).where(DocumentFileRow.blob_id == BlobRow.id).exists(),
            select(PreviewRow.file_id).where(PreviewRow.blob_id == BlobRow.id).exists(),
        )
        await self._session.execute(
            update(BlobRow)
            .where(BlobRow.id.in_(blob_ids), ~is_used, self._reachable(BlobRow.customer_id))
            .values(state="delete_queued", expires_at=func.now() + wait if wait else None)
            .execution_options(synchronize_session=False)
        )

    async def queue_refused(self, blob_id: UUID) -> None:
        """Queue the deletion of refused bytes of a session, unless they have been attached."""
        await self._session.execute(
            update(BlobRow)
            .where(
                BlobRow.id == blob_id,
                BlobRow.state == "pending",
                self._reachable(BlobRow.customer_id),
            )
            .values(state="delete_queued", expires_at=None)
        )

    async def keep_refused(self, blob_ids: Sequence[UUID]) -> set[UUID]:
        """Keep the rows of refused bytes until the sessions expire; return their ids.

        Until then a session repeats its refusal. Afterwards the deletion is due again.
        """
        kept = await self._session.scalars(
            update(BlobRow)
            .where(
                BlobRow.id.in_(blob_ids),
                BlobRow.expires_at.is_(None),
                UploadSessionRow.blob_id == BlobRow.id,
                UploadSessionRow.refusal.is_not(None),
                UploadSessionRow.expires_at > func.now(),
            )
            .values(expires_at=UploadSessionRow.expires_at)
            .returning(BlobRow.id)
            .execution_options(synchronize_session=False)
        )
        return set(kept)

    async def queue_deletion_of_customer(self, customer_id: UUID) -> int:
        """Queue every blob of a customer that is not pending; return the number of all blobs.

        They are deleted without the retention period (D8). A pending blob may still be written, so
        it waits for its writer or its expiry: deleting it now could leave an orphan.
        """
        await self._session.execute(
            update(BlobRow)
            .where(BlobRow.customer_id == customer_id, BlobRow.state != "pending")
            .values(state="delete_queued", expires_at=None)
        )
        return await self.count_of_customer(customer_id)

    async def count_of_customer(self, customer_id: UUID) -> int:
        """Return how many blobs of a customer are not deleted yet."""
        query = select(func.count()).where(BlobRow.customer_id == customer_id)
        return await self._session.scalar(query) or 0

    async def expire_abandoned_sooner(self) -> None:
        """Shorten the expiry of reservations whose session was deleted to the normal lifetime.

        Only if no client can write to the store directly: such a write might still complete.
        """
        is_of_session = (
            select(UploadSessionRow.id).where(UploadSessionRow.blob_id == BlobRow.id).exists()
        )
        await self._session.execute(
            update(BlobRow)
            .where(
                BlobRow.state == "pending",
                BlobRow.expires_at > func.now() + RESERVATION_LIFETIME,
                ~is_of_session,
            )
            .values(expires_at=func.now() + RESERVATION_LIFETIME)
            .execution_options(synchronize_session=False)
        )

    async def queue_expired(self) -> int:
        """Queue expired reservations for deletion; return how many.

        They can no longer be attached (see `mark_stored`).
        """
        result = await self._session.scalars(
            update(BlobRow)
            .where(BlobRow.state == "pending", BlobRow.expires_at <= func.now())
            .values(state="delete_queued", expires_at=None)
            .returning(BlobRow.id)
        )
        return len(result.all())

    async def queued(self, *, limit: int, customer_id: UUID | None) -> list[tuple[UUID, str]]:
        """Return id and key of blobs whose deletion is due."""
        query = select(BlobRow.id, BlobRow.key).where(BlobRow.state == "delete_queued", _IS_DUE)
        if customer_id is not None:
            query = query.where(BlobRow.customer_id == customer_id)
        rows = await self._session.execute(query.order_by(BlobRow.id).limit(limit))
        return [(blob_id, key) for blob_id, key in rows]

    async def pending_counts(self) -> dict[str, tuple[int, float]]:
        """Return by state how many blobs are not attached, and the age of the oldest in seconds.

        Blobs that wait for a backup are not counted.
        """
        age = func.extract("epoch", func.now() - func.min(BlobRow.created_at))
        query = select(BlobRow.state, func.count(), age).where(
            or_(BlobRow.state == "pending", and_(BlobRow.state == "delete_queued", _IS_DUE))
        )
        rows = await self._session.execute(query.group_by(BlobRow.state))
        return {state: (number, float(seconds)) for state, number, seconds in rows}

    async def count_pending(self, customer_id: UUID) -> int:
        """Return how many blobs of a customer are reserved and neither attached nor expired.

        Those of cancelled sessions included: the holder of the URL may still send the bytes.
        """
        query = select(func.count()).where(
            BlobRow.customer_id == customer_id,
            BlobRow.state == "pending",
            BlobRow.expires_at > func.now(),
            self._reachable(BlobRow.customer_id),
        )
        return await self._session.scalar(query) or 0

    async def is_stored(self, key: str) -> bool:
        """Return whether the bytes under a key are attached."""
        query = select(BlobRow.id).where(BlobRow.key == key, BlobRow.state == "stored")
        return await self._session.scalar(query) is not None

    async def count_stored(self) -> int:
        """Return how many blobs are attached."""
        query = select(func.count()).where(BlobRow.state == "stored")
        return await self._session.scalar(query) or 0

    async def list_stored(self, *, after: UUID | None, limit: int) -> list[AttachedBlob]:
        """Return up to `limit` attached blobs in order of id."""
        query = select(BlobRow).where(BlobRow.state == "stored").order_by(BlobRow.id).limit(limit)
        if after is not None:
            query = query.where(BlobRow.id > after)
        return [
            AttachedBlob(row.id, row.key, row.size_bytes, row.sha256)
            for row in await self._session.scalars(query)
        ]

    async def places(self, keys: Sequence[str]) -> dict[str, BlobPlace]:
        """Return by key where the attached ones among these blobs belong."""
        query = (
            select(
                BlobRow.key,
                CustomerRow.external_id,
                DocumentTypeRow.key,
                DocumentVersionRow.number,
                DocumentFileRow.number,
                PreviewRow.size,
            )
            .select_from(BlobRow)
            .outerjoin(PreviewRow, PreviewRow.blob_id == BlobRow.id)
            .join(
                DocumentFileRow,
                or_(
                    DocumentFileRow.blob_id == BlobRow.id, DocumentFileRow.id == PreviewRow.file_id
                ),
            )
            .join(DocumentVersionRow, DocumentVersionRow.id == DocumentFileRow.version_id)
            .join(DocumentRow, DocumentRow.id == DocumentVersionRow.document_id)
            .join(DocumentTypeRow, DocumentTypeRow.id == DocumentRow.document_type_id)
            .join(CustomerRow, CustomerRow.id == DocumentRow.customer_id)
            .where(BlobRow.key.in_(keys), self._reachable(BlobRow.customer_id))
            # Of versions that share a blob, the newest.
            .order_by(DocumentVersionRow.number)
        )
        rows = await self._session.execute(query)
        return {
            key: BlobPlace(customer_id, document_type, version, file, preview)
            for key, customer_id, document_type, version, file, preview in rows
        }

    async def known_keys(self, keys: Sequence[str]) -> set[str]:
        """Return those of the keys that have a row, in any state."""
        return set(await self._session.scalars(select(BlobRow.key).where(BlobRow.key.in_(keys))))

    async def expire_all_pending(self) -> None:
        """Expire every pending reservation: at startup, if no other process can be writing.

        Reservations of upload sessions stay while their clients may write: until then they
        expire later than any other.
        """
        await self._session.execute(
            update(BlobRow)
            .where(
                BlobRow.state == "pending", BlobRow.expires_at <= func.now() + RESERVATION_LIFETIME
            )
            .values(expires_at=func.now())
        )

    async def delete_rows(self, blob_ids: Collection[UUID]) -> None:
        """Delete the rows of blobs whose bytes are deleted."""
        await self._session.execute(delete(BlobRow).where(BlobRow.id.in_(blob_ids)))


def _usage(used: _Used | _Reservation, value_bytes: int = 0) -> Usage:
    return Usage(
        StorageUsage(used.used_files, used.used_bytes, value_bytes),
        StorageUsage(used.waiting_files, used.waiting_bytes),
    )
