"""What the audit trail records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Protocol, TypedDict
from uuid import UUID

from docvault.domain.customers import Customer

ActorKind = Literal["admin", "customer", "integration", "system", "token"]


class AuditAction(StrEnum):
    """What was done or attempted."""

    API_KEY_CREATE = "api_key.create"
    API_KEY_LIST = "api_key.list"
    API_KEY_READ = "api_key.read"
    API_KEY_REVOKE = "api_key.revoke"
    API_KEY_UPDATE = "api_key.update"
    AUDIT_EVENT_LIST = "audit_event.list"
    CONTENT_URL_CREATE = "content_url.create"
    CUSTOMER_CREATE = "customer.create"
    CUSTOMER_ERASE = "customer.erase"
    CUSTOMER_LIST = "customer.list"
    CUSTOMER_READ = "customer.read"
    CUSTOMER_UPDATE = "customer.update"
    DOCUMENT_ADD_FILE = "document.add_file"
    DOCUMENT_COPY = "document.copy"
    DOCUMENT_DELETE = "document.delete"
    DOCUMENT_DOWNLOAD = "document.download"
    DOCUMENT_LIST = "document.list"
    DOCUMENT_PREVIEW = "document.preview"
    DOCUMENT_QUARANTINE = "document.quarantine"
    DOCUMENT_READ = "document.read"
    DOCUMENT_RELEASE = "document.release"
    DOCUMENT_REMOVE_FILE = "document.remove_file"
    DOCUMENT_REPLACE = "document.replace"
    DOCUMENT_UPDATE = "document.update"
    DOCUMENT_UPLOAD = "document.upload"
    DOCUMENT_TYPE_CREATE = "document_type.create"
    DOCUMENT_TYPE_DELETE = "document_type.delete"
    DOCUMENT_TYPE_LIST = "document_type.list"
    DOCUMENT_TYPE_READ = "document_type.read"
    DOCUMENT_TYPE_REORDER = "document_type.reorder"
    DOCUMENT_TYPE_UPDATE = "document_type.update"
    ERASURE_LIST = "erasure.list"
    ERASURE_READ = "erasure.read"
    EVENT_LIST = "event.list"
    EVENT_READ = "event.read"
    GATE_READ = "gate.read"
    PORTAL_READ = "portal.read"
    PORTAL_SETTINGS_READ = "portal_settings.read"
    PORTAL_SETTINGS_UPDATE = "portal_settings.update"
    UPLOAD_CREATE = "upload.create"
    UPLOAD_DELETE = "upload.delete"
    UPLOAD_READ = "upload.read"
    WEBHOOK_CREATE = "webhook.create"
    WEBHOOK_DELETE = "webhook.delete"
    WEBHOOK_LIST = "webhook.list"
    WEBHOOK_READ = "webhook.read"
    WEBHOOK_REPLAY = "webhook.replay"
    WEBHOOK_ROTATE = "webhook.rotate"
    WEBHOOK_TEST = "webhook.test"
    WEBHOOK_UPDATE = "webhook.update"


class AuditedFile(Protocol):
    """What an audit event records about a file. The filename is personal data."""

    @property
    def number(self) -> int:
        """Position within the document."""

    @property
    def filename(self) -> str:
        """The sanitized name."""

    @property
    def media_type(self) -> str:
        """Detected from the content."""

    @property
    def size_bytes(self) -> int:
        """Size of the content."""

    @property
    def sha256(self) -> str:
        """Digest of the content."""


class EventDetails(TypedDict, total=False):
    """What an audit event records besides the actor and the action."""

    result: Literal["ok", "denied"]
    customer: Customer | None
    document_type: str | None
    version: int | None
    changes: dict[str, Any] | None
    files: Sequence[AuditedFile]
    # Data of the event for other systems besides document type and version; see domain/events.py.
    # Its type follows from the action unless it is given.
    event_type: str
    event_data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NewAuditEvent:
    """An event to record; erasure deletes `customer`, `changes`, `files` and `event_data`.

    If there is an `event_type`, `event_data` is published to other systems; `event_pseudonym` is
    that of a customer who is being erased.
    """

    actor_kind: str
    actor_id: str
    action: str
    result: str
    request_id: UUID | None
    customer_pseudonym: str | None = None
    customer_id: UUID | None = None
    customer: str | None = None
    document_type: str | None = None
    version: int | None = None
    changes: dict[str, Any] | None = None
    files: list[dict[str, Any]] | None = None
    event_type: str | None = None
    event_data: dict[str, Any] | None = None
    event_pseudonym: str | None = None


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """Who did what, when, and whether it was allowed.

    `customer`, `changes` and `files` are personal data: None after an erasure.
    """

    id: UUID
    at: datetime
    actor_kind: str
    actor_id: str
    action: str
    customer_pseudonym: str | None
    document_type: str | None
    version: int | None
    result: str
    request_id: UUID | None
    # How many refusals the event represents.
    times: int
    customer: str | None
    changes: dict[str, Any] | None
    files: list[dict[str, Any]] | None


def describe_file(file: AuditedFile) -> dict[str, Any]:
    """Return what an event stores about a file."""
    return {
        "number": file.number,
        "filename": file.filename,
        "media_type": file.media_type,
        "size_bytes": file.size_bytes,
        "sha256": file.sha256,
    }


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what changed as `{name: {old, new}}`, None when nothing did.

    Mappings and lists are reduced to the members that differ: an event must not be much larger
    than the change it records.
    """
    changes = {
        name: _difference_of_values(old.get(name), new.get(name))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    }
    return changes or None


def _difference_of_values(old: Any, new: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return {"old": _items_not_in(new, old), "new": _items_not_in(old, new)}
    if isinstance(old, list | tuple) and isinstance(new, list | tuple):
        removed, added = [v for v in old if v not in new], [v for v in new if v not in old]
        if removed or added:
            return {"old": removed, "new": added}
    # Lists that differ only in their order are recorded whole.
    return {"old": old, "new": new}


def _items_not_in(other: Mapping[str, Any], one: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in one.items() if key not in other or other[key] != value}
