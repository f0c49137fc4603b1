"""Events: the changes that other systems can follow."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from docvault.domain.audit import AuditAction
from docvault.domain.document_status import status, upload_state
from docvault.domain.documents import Document
from docvault.domain.scopes import Scope

_CURSOR = re.compile(r"([0-9a-f]{32})-(\d{1,16})", re.ASCII)


class EventType(StrEnum):
    """What has happened. Events hold ids, keys, states and codes, never names or values."""

    CUSTOMER_CREATED = "customer.created"
    CUSTOMER_ERASED = "customer.erased"
    CUSTOMER_UPDATED = "customer.updated"
    DOCUMENT_DELETED = "document.deleted"
    DOCUMENT_QUARANTINED = "document.quarantined"
    DOCUMENT_RELEASED = "document.released"
    DOCUMENT_UPDATED = "document.updated"
    DOCUMENT_UPLOADED = "document.uploaded"
    DOCUMENT_TYPE_ARCHIVED = "document_type.archived"
    DOCUMENT_TYPE_CREATED = "document_type.created"
    DOCUMENT_TYPE_DELETED = "document_type.deleted"
    DOCUMENT_TYPE_REORDERED = "document_type.reordered"
    DOCUMENT_TYPE_UPDATED = "document_type.updated"
    # Written by triggers (migrations/sql/0005_events.sql), because many kinds of change cause it.
    GATE_CHANGED = "gate.changed"
    PORTAL_SETTINGS_UPDATED = "portal_settings.updated"
    REQUIREMENTS_CHANGED = "requirements.changed"
    WEBHOOK_DISABLED = "webhook.disabled"


# The event of each action that changes what the API shows, unless the caller names another one.
PUBLISHED: Mapping[AuditAction, EventType] = {
    AuditAction.CUSTOMER_CREATE: EventType.CUSTOMER_CREATED,
    AuditAction.CUSTOMER_ERASE: EventType.CUSTOMER_ERASED,
    AuditAction.CUSTOMER_UPDATE: EventType.CUSTOMER_UPDATED,
    AuditAction.DOCUMENT_ADD_FILE: EventType.DOCUMENT_UPLOADED,
    AuditAction.DOCUMENT_COPY: EventType.DOCUMENT_UPLOADED,
    AuditAction.DOCUMENT_DELETE: EventType.DOCUMENT_DELETED,
    AuditAction.DOCUMENT_QUARANTINE: EventType.DOCUMENT_QUARANTINED,
    AuditAction.DOCUMENT_RELEASE: EventType.DOCUMENT_RELEASED,
    AuditAction.DOCUMENT_REMOVE_FILE: EventType.DOCUMENT_UPDATED,
    AuditAction.DOCUMENT_REPLACE: EventType.DOCUMENT_UPLOADED,
    AuditAction.DOCUMENT_UPDATE: EventType.DOCUMENT_UPDATED,
    AuditAction.DOCUMENT_UPLOAD: EventType.DOCUMENT_UPLOADED,
    AuditAction.DOCUMENT_TYPE_CREATE: EventType.DOCUMENT_TYPE_CREATED,
    AuditAction.DOCUMENT_TYPE_DELETE: EventType.DOCUMENT_TYPE_DELETED,
    AuditAction.DOCUMENT_TYPE_REORDER: EventType.DOCUMENT_TYPE_REORDERED,
    AuditAction.DOCUMENT_TYPE_UPDATE: EventType.DOCUMENT_TYPE_UPDATED,
    AuditAction.PORTAL_SETTINGS_UPDATE: EventType.PORTAL_SETTINGS_UPDATED,
}


def document_states(document: Document) -> dict[str, Any]:
    """Return the states of a document after the change, as its event has them."""
    return {"upload_state": upload_state(document), "status": status(document)}


# The scope that an API key needs for a family of events, besides `events:read`. Third parties
# cannot read portal settings and webhooks, so they get no events of them.
_SCOPES = {
    "customer": Scope.CUSTOMERS_READ,
    "document": Scope.DOCUMENTS_READ,
    "document_type": Scope.TYPES_READ,
    "gate": Scope.GATE_READ,
    "requirements": Scope.GATE_READ,
}


def needed_scope(event_type: EventType) -> Scope | None:
    """Return the scope that an API key needs for an event; None if no key may read it."""
    return _SCOPES.get(event_type.partition(".")[0])


@dataclass(frozen=True, slots=True)
class EventCursor:
    """How far a follower has read: a log and a position in it."""

    log: UUID
    position: int

    def __str__(self) -> str:
        return f"{self.log.hex}-{self.position}"

    @classmethod
    def parse(cls, text: str) -> "EventCursor | None":
        """Return the cursor that a text stands for, None if it is no cursor."""
        match = _CURSOR.fullmatch(text)
        return None if match is None else cls(UUID(match[1]), int(match[2]))


@dataclass(frozen=True, slots=True)
class EventLog:
    """The log and the positions of its first and last event; `oldest` is next if it is empty."""

    log: UUID
    oldest: int
    latest: int

    def contains(self, cursor: EventCursor) -> bool:
        """Whether every event after the cursor still exists."""
        return cursor.log == self.log and self.oldest - 1 <= cursor.position <= self.latest


@dataclass(frozen=True, slots=True)
class Event:
    """An event with its position; `customer` and `data` are None after an erasure.

    `pseudonym` stays; it is None if the event is about no customer.
    """

    position: int
    id: UUID
    type: EventType
    at: datetime
    customer: str | None
    pseudonym: str | None
    actor_kind: str | None
    actor_id: str | None
    request_id: UUID | None
    data: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events after a cursor, and how far the page has read."""

    log: EventLog
    events: Sequence[Event]
    next_after: EventCursor

    @property
    def has_more(self) -> bool:
        """Whether events follow that the page has not read."""
        return self.next_after.position < self.log.latest
