"""What each type of event means, and an example of its message."""

from typing import Any

from docvault.domain.events import EventType
from docvault.presenters.webhooks import TEST_TYPE

MEANINGS: dict[str, str] = {
    EventType.CUSTOMER_CREATED: "A customer was registered.",
    EventType.CUSTOMER_ERASED: "A customer was erased.",
    EventType.CUSTOMER_UPDATED: "A customer was changed.",
    EventType.DOCUMENT_DELETED: "A document was deleted with all its versions.",
    EventType.DOCUMENT_QUARANTINED: "A stored file was found to be infected.",
    EventType.DOCUMENT_RELEASED: "A file in quarantine was found to be clean.",
    EventType.DOCUMENT_UPDATED: "The field values of a document were changed, or a file removed.",
    EventType.DOCUMENT_UPLOADED: "A document got a new version.",
    EventType.DOCUMENT_TYPE_ARCHIVED: "A document type was archived.",
    EventType.DOCUMENT_TYPE_CREATED: "A document type was created.",
    EventType.DOCUMENT_TYPE_DELETED: "A document type was deleted.",
    EventType.DOCUMENT_TYPE_REORDERED: "The order of the document types was changed.",
    EventType.DOCUMENT_TYPE_UPDATED: "A document type was changed.",
    EventType.GATE_CHANGED: "The gate of a customer has opened or closed.",
    EventType.PORTAL_SETTINGS_UPDATED: "The portal settings were changed.",
    EventType.REQUIREMENTS_CHANGED: "What the gate requires was changed.",
    EventType.WEBHOOK_DISABLED: "docvault has disabled a webhook.",
    TEST_TYPE: "Staff have sent a test; it is no event and has no position.",
}

_ID = "0193602e-5f3c-7b1a-9d0e-2f6c8a4b1d3e"
_PSEUDONYM = "anon-5f0c9b1e2d3a4f60718293a4b5c6d7e8"
_CUSTOMER = {"id": "c-1042", "pseudonym": _PSEUDONYM}
_UNCHANGED = {"changed": None, "erasure": None}
_DOCUMENT = {
    "document_type": "passport",
    "version": 2,
    "upload_state": "uploaded",
    "status": "accepted",
    "file": None,
}
_SCANNED = {**_DOCUMENT, "upload_state": None, "status": None, "file": 1}
_TYPE = {"document_type": "passport", "changed": None}
_DATA: dict[str, dict[str, Any]] = {
    EventType.CUSTOMER_CREATED: _UNCHANGED,
    EventType.CUSTOMER_ERASED: {**_UNCHANGED, "erasure": _ID},
    EventType.CUSTOMER_UPDATED: {**_UNCHANGED, "changed": ["email"]},
    EventType.DOCUMENT_DELETED: {**_DOCUMENT, "upload_state": "missing", "status": "missing"},
    EventType.DOCUMENT_QUARANTINED: _SCANNED,
    EventType.DOCUMENT_RELEASED: _SCANNED,
    EventType.DOCUMENT_UPDATED: _DOCUMENT,
    EventType.DOCUMENT_UPLOADED: _DOCUMENT,
    EventType.DOCUMENT_TYPE_ARCHIVED: {**_TYPE, "changed": ["archived"]},
    EventType.DOCUMENT_TYPE_CREATED: _TYPE,
    EventType.DOCUMENT_TYPE_DELETED: _TYPE,
    EventType.DOCUMENT_TYPE_REORDERED: {**_TYPE, "document_type": None},
    EventType.DOCUMENT_TYPE_UPDATED: {**_TYPE, "changed": ["name"]},
    EventType.GATE_CHANGED: {
        "gate": "default",
        "decision": "blocked",
        "was": "open",
        "due": ["passport"],
        "cause": "documents",
    },
    EventType.PORTAL_SETTINGS_UPDATED: {"changed": ["gate_enabled"]},
    EventType.REQUIREMENTS_CHANGED: {"enforced": True, "required": ["passport"]},
    EventType.WEBHOOK_DISABLED: {"webhook": _ID, "reason": "failing"},
    TEST_TYPE: {"webhook": _ID},
}
_ABOUT_CUSTOMERS = ("customer.", "document.", "gate.")


def example_of_message(type_: str) -> dict[str, Any]:
    """Return a message of this type."""
    customer: dict[str, Any] | None = _CUSTOMER if type_.startswith(_ABOUT_CUSTOMERS) else None
    if type_ == EventType.CUSTOMER_ERASED:
        customer = {"id": None, "pseudonym": _PSEUDONYM}
    position = None if type_ == TEST_TYPE else 18231
    return {
        "type": type_,
        "timestamp": "2026-11-24T09:12:44Z",
        "data": {**_DATA[type_], "customer": customer, "position": position},
    }
