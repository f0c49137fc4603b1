"""Schemas of audit events."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from docvault.domain.audit import ActorKind, AuditAction
from docvault.schemas.base import OutputModel, Page, UtcTime


class AuditActor(OutputModel):
    """Who performed the action. A customer other than the event's own has a pseudonym."""

    kind: Annotated[
        ActorKind,
        Field(description="`token`: the holder of a valid token without a docvault scope."),
    ]
    id: Annotated[
        str,
        Field(
            description="The subject of a staff token, a customer's id, the id of an API key, or a "
            "pseudonym for an erased customer, a customer other than the event's own, or the "
            "subject of a token without a scope.",
            examples=["staff-7"],
        ),
    ]


class AuditedFileRead(OutputModel):
    """A file at the time of the event."""

    number: Annotated[int, Field(description="Position in the document, from 1.", examples=[1])]
    filename: Annotated[str, Field(examples=["licence.jpg"])]
    media_type: Annotated[str, Field(examples=["image/jpeg"])]
    size_bytes: Annotated[int, Field(examples=[482113])]
    sha256: Annotated[str, Field(examples=["9f86d081884c7d659a2feaa0c55ad015" * 2])]


class AuditEventRead(OutputModel):
    """An action that was performed or denied."""

    id: UUID
    at: UtcTime
    actor: AuditActor
    action: Annotated[AuditAction, Field(examples=[AuditAction.DOCUMENT_UPLOAD])]
    customer: Annotated[
        str | None,
        Field(description="The customer's id, or a pseudonym after erasure.", examples=["c-1042"]),
    ]
    document_type: Annotated[str | None, Field(examples=["identity-card"])]
    version: int | None
    result: Literal["ok", "denied"]
    request_id: UUID | None
    changes: Annotated[
        dict[str, Any] | None,
        Field(
            description="The changes as `{field: {old, new}}`, of objects and lists only the "
            "members that differ; null after erasure.",
            examples=[{"field_values": {"old": {}, "new": {"date-of-issue": "2024-05-02"}}}],
        ),
    ]
    files: Annotated[
        list[AuditedFileRead] | None,
        Field(
            description="The files that were stored, deleted or read; null for other events and "
            "after erasure."
        ),
    ]
    times: Annotated[
        int,
        Field(
            description="The number of denials that this event stands for. Twenty denials a minute "
            "of one caller and action are recorded one by one, further ones as a single event "
            "without customer and document type.",
            examples=[1],
        ),
    ]


class AuditEventPage(Page[AuditEventRead]):
    """A page of the audit trail, newest first."""
