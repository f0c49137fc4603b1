"""Events: what other systems are told of each change."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from docvault.domain.audit import AuditAction
from docvault.domain.document_status import status, upload_state
from docvault.domain.documents import Document


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
    # Written by triggers (migrations/sql/0005_events.sql), because changes of many kinds cause it.
    GATE_CHANGED = "gate.changed"
    PORTAL_SETTINGS_UPDATED = "portal_settings.updated"
    REQUIREMENTS_CHANGED = "requirements.changed"


# The event of each action that changes what the API shows, unless the caller names another one.
PUBLISHED: Mapping[AuditAction, EventType] = {
    AuditAction.CUSTOMER_CREATE: EventType.CUSTOMER_CREATED,
    AuditAction.CUSTOMER_ERASE: EventType.CUSTOMER_ERASED,
    AuditAction.CUSTOMER_UPDATE: EventType.CUSTOMER_UPDATED,
    AuditAction.DOCUMENT_COPY: EventType.DOCUMENT_UPLOADED,
    AuditAction.DOCUMENT_DELETE: EventType.DOCUMENT_DELETED,
    AuditAction.DOCUMENT_QUARANTINE: EventType.DOCUMENT_QUARANTINED,
    AuditAction.DOCUMENT_RELEASE: EventType.DOCUMENT_RELEASED,
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
    """Return what an event tells of a document as it is after the change."""
    return {"upload_state": upload_state(document), "status": status(document)}
