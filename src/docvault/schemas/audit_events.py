"""Audit events on the wire."""

from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from docvault.schemas.base import OutputModel, Page, UtcTime


class AuditAction(StrEnum):
    """What was done or attempted."""

    API_KEY_CREATE = "api_key.create"
    API_KEY_LIST = "api_key.list"
    API_KEY_READ = "api_key.read"
    API_KEY_REVOKE = "api_key.revoke"
    API_KEY_UPDATE = "api_key.update"
    AUDIT_EVENT_LIST = "audit_event.list"
    CUSTOMER_CREATE = "customer.create"
    CUSTOMER_ERASE = "customer.erase"
    CUSTOMER_LIST = "customer.list"
    CUSTOMER_READ = "customer.read"
    CUSTOMER_UPDATE = "customer.update"
    DOCUMENT_COPY = "document.copy"
    DOCUMENT_DELETE = "document.delete"
    DOCUMENT_DOWNLOAD = "document.download"
    DOCUMENT_LIST = "document.list"
    DOCUMENT_PREVIEW = "document.preview"
    DOCUMENT_QUARANTINE = "document.quarantine"
    DOCUMENT_READ = "document.read"
    DOCUMENT_RELEASE = "document.release"
    DOCUMENT_REPLACE = "document.replace"
    DOCUMENT_UPDATE = "document.update"
    DOCUMENT_UPLOAD = "document.upload"
    DOCUMENT_TYPE_CREATE = "document_type.create"
    DOCUMENT_TYPE_DELETE = "document_type.delete"
    DOCUMENT_TYPE_LIST = "document_type.list"
    DOCUMENT_TYPE_READ = "document_type.read"
    DOCUMENT_TYPE_REORDER = "document_type.reorder"
    DOCUMENT_TYPE_UPDATE = "document_type.update"
    ERASURE_COMPLETE = "erasure.complete"
    ERASURE_LIST = "erasure.list"
    ERASURE_READ = "erasure.read"
    GATE_READ = "gate.read"
    PORTAL_READ = "portal.read"
    PORTAL_SETTINGS_READ = "portal_settings.read"
    PORTAL_SETTINGS_UPDATE = "portal_settings.update"
    UPLOAD_CREATE = "upload.create"
    UPLOAD_DELETE = "upload.delete"
    UPLOAD_READ = "upload.read"


class AuditActor(OutputModel):
    """Who did it. An erased customer's id is replaced by a pseudonym."""

    kind: Literal["admin", "customer", "integration", "system"]
    id: Annotated[str, Field(examples=["staff-7"])]


class AuditEventRead(OutputModel):
    """Something that was done, or refused."""

    id: UUID
    at: UtcTime
    actor: AuditActor
    action: AuditAction
    customer: Annotated[
        str | None,
        Field(description="The customer's id; a pseudonym after erasure.", examples=["c-1042"]),
    ]
    document_type: Annotated[str | None, Field(examples=["identity-card"])]
    version: int | None
    result: Literal["ok", "denied"]
    request_id: UUID | None
    changes: Annotated[
        dict[str, Any] | None,
        Field(
            description="What changed, as `{field: {old, new}}`; gone after erasure.",
            examples=[{"field_values": {"old": {}, "new": {"date-of-issue": "2024-05-02"}}}],
        ),
    ]


class AuditEventPage(Page[AuditEventRead]):
    """One page of the audit trail, newest first."""
