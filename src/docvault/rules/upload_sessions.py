"""Upload sessions: files that are announced first and come by a signed URL."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from docvault.auth.principals import Caller

SESSION_LIFETIME = timedelta(minutes=15)
# A PUT that begins in time may end later; what it writes must still have a row by then.
BYTES_MARGIN = timedelta(minutes=30)
# How many announced files of one customer may wait at once: each is room in the store that is not
# used yet, until the session is completed or its bytes can come no more.
MAX_PENDING_UPLOADS = 50
# Completed sessions are kept as long as the answers of repeated requests.
KEPT_AFTER_END = timedelta(hours=24)


class UploadSessionState(StrEnum):
    """Where an upload session stands."""

    PENDING = "pending"
    COMPLETED = "completed"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class UploadSessionFacts:
    """An upload session and the blob that waits for its bytes."""

    id: UUID
    state: UploadSessionState
    blob_id: UUID
    blob_key: str
    size_bytes: int
    sha256: str
    filename: str
    field_values: Mapping[str, str | None]
    created_by_kind: str
    created_by_id: str
    expires_at: datetime

    def belongs_to(self, caller: Caller) -> bool:
        """Return whether this caller opened the session: nobody else sees it."""
        return (self.created_by_kind, self.created_by_id) == (caller.kind, caller.id)
