"""Upload sessions: files that are declared first and sent to a signed URL."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from docvault.domain.actors import Actor

SESSION_LIFETIME = timedelta(minutes=15)
# A PUT may begin in time and end later: the reservation must outlive it.
BYTES_MARGIN = timedelta(minutes=30)
# How many sessions of one customer may be pending at once: each reserves storage until it is
# completed or can receive no more bytes.
MAX_PENDING_UPLOADS = 50
# Completed sessions are kept as long as stored responses.
KEPT_AFTER_END = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class BytesRefusal:
    """Why the bytes of a session were refused, as members of a problem."""

    code: str
    detail: str
    members: Mapping[str, Any]


class UploadSessionState(StrEnum):
    """The state of an upload session."""

    PENDING = "pending"
    COMPLETED = "completed"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class UploadSession:
    """An upload session and the blob reserved for its bytes."""

    id: UUID
    state: UploadSessionState
    blob_id: UUID
    blob_key: str
    size_bytes: int
    sha256: str
    filename: str
    field_values: Mapping[str, str | None]
    # Whether the file is added to those of the document.
    appends: bool
    created_by_kind: str
    created_by_id: str
    expires_at: datetime
    refusal: BytesRefusal | None

    def belongs_to(self, actor: Actor) -> bool:
        """Return whether the actor created the session; nobody else can see it."""
        return (self.created_by_kind, self.created_by_id) == (actor.kind, actor.id)
