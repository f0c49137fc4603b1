"""Facts about erasures."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class NewErasure:
    """An erasure that begins: asked for now, unless it is one from the ledger."""

    id: UUID
    customer_id: UUID
    customer_pseudonym: str
    requested_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ErasureFacts:
    """An erasure and how many blobs still have to go."""

    id: UUID
    customer_id: UUID
    customer_pseudonym: str
    requested_at: datetime
    completed_at: datetime | None
    documents: int
    versions: int
    blobs: int
    blobs_pending: int
