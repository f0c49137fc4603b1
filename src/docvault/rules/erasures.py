"""Facts about erasures."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class ErasureFacts:
    """An erasure and how many blobs still have to go."""

    id: UUID
    customer_id: UUID
    requested_at: datetime
    completed_at: datetime | None
    documents: int
    versions: int
    blobs: int
    blobs_pending: int
