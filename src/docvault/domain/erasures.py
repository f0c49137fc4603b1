"""Erasures."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class NewErasure:
    """An erasure to begin; `requested_at` is set if it is restored from the ledger."""

    id: UUID
    customer_id: UUID
    customer_pseudonym: str
    requested_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Erasure:
    """An erasure, and how many blobs are still to be deleted."""

    id: UUID
    customer_id: UUID
    customer_pseudonym: str
    requested_at: datetime
    completed_at: datetime | None
    documents: int
    versions: int
    blobs: int
    blobs_pending: int
