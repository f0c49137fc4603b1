"""Schemas of events."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from docvault.domain.audit import ActorKind
from docvault.domain.document_status import Status, UploadState
from docvault.domain.events import EventType
from docvault.domain.gate import GateDecision
from docvault.schemas.base import OutputModel, UtcTime

Changed = Annotated[
    list[str], Field(description="The names of what has changed.", examples=[["email"]])
]
TypeKey = Annotated[str, Field(description="The key of the type.", examples=["passport"])]


class EventCustomer(OutputModel):
    """The customer an event is about."""

    id: Annotated[
        str | None,
        Field(
            description="The host's id of the customer; null after erasure.", examples=["c-1042"]
        ),
    ]
    pseudonym: Annotated[
        str,
        Field(
            description="Stays the same after an erasure, which names the customer by it alone.",
            examples=["anon-5f0c9b1e2d3a4f60718293a4b5c6d7e8"],
        ),
    ]


class EventActor(OutputModel):
    """Who caused an event."""

    kind: ActorKind
    id: Annotated[
        str | None,
        Field(
            description="The subject of a staff token, for staff alone, or the id of an API key.",
            examples=["staff-7"],
        ),
    ]


class CustomerEventData(OutputModel):
    """Of `customer.created`, `customer.updated` and `customer.erased`."""

    changed: Annotated[Changed | None, Field(description="Of `customer.updated`, else null.")]
    erasure: Annotated[
        UUID | None, Field(description="Of `customer.erased`: the erasure; else null.")
    ]


class DocumentEventData(OutputModel):
    """Of events about a document."""

    document_type: TypeKey
    version: Annotated[
        int | None, Field(description="The version the event is about, if any.", examples=[2])
    ]
    upload_state: Annotated[
        UploadState | None,
        Field(description="After the change; null of `document.quarantined` and `released`."),
    ]
    status: Annotated[Status | None, Field(description="After the change; null as above.")]
    file: Annotated[
        int | None,
        Field(description="Of `document.quarantined` and `released`: the file; else null."),
    ]


class DocumentTypeEventData(OutputModel):
    """Of events about a document type, or about the order of all."""

    document_type: TypeKey | None
    changed: Changed | None


class PortalSettingsEventData(OutputModel):
    """Of `portal_settings.updated`."""

    changed: Changed


class RequirementsEventData(OutputModel):
    """Of `requirements.changed`; a `gate.changed` follows for each customer it concerns."""

    enforced: Annotated[bool, Field(description="Whether the gate is switched on.")]
    required: Annotated[list[str], Field(description="The keys of the required types.")]


class GateEventData(OutputModel):
    """Of `gate.changed`."""

    gate: Annotated[Literal["default"], Field(description="The gate.")]
    decision: GateDecision
    was: Annotated[GateDecision | None, Field(description="Null for a new customer.")]
    due: Annotated[list[str], Field(description="The keys of the types that are due.")]
    cause: Annotated[
        Literal["customer", "documents", "requirements"],
        Field(
            description="What changed: the customer is new, their documents, or the requirements."
        ),
    ]


EventData = (
    DocumentEventData
    | GateEventData
    | CustomerEventData
    | DocumentTypeEventData
    | RequirementsEventData
    | PortalSettingsEventData
)

# The schema of each family of types.
EVENT_DATA: dict[str, type[Any]] = {
    "customer": CustomerEventData,
    "document": DocumentEventData,
    "document_type": DocumentTypeEventData,
    "gate": GateEventData,
    "portal_settings": PortalSettingsEventData,
    "requirements": RequirementsEventData,
}


class EventRead(OutputModel):
    """A change. Events hold ids, keys, states and codes; read names and values from the API."""

    position: Annotated[
        int,
        Field(description="The place in the log, from 1 without holes.", examples=[18231]),
    ]
    id: Annotated[UUID, Field(description="Also the id of the audit event of the change.")]
    type: EventType
    at: Annotated[UtcTime, Field(description="The time of the change; not always in order.")]
    customer: EventCustomer | None
    actor: Annotated[
        EventActor | None,
        Field(description="Null of `gate.changed` and `requirements.changed`, which follow."),
    ]
    request_id: UUID | None
    data: Annotated[EventData | None, Field(description="Null after erasure.")]


class EventPageRead(OutputModel):
    """Events in their order."""

    items: list[EventRead]
    next_after: Annotated[
        str,
        Field(
            description="Send it as `after` to read on, now or later; also if there are no items.",
            examples=["0197aa6c2f4e7d118b5f2c9d0e1f2a3b-18231"],
        ),
    ]
    has_more: Annotated[bool, Field(description="Whether events follow that can be read now.")]
    log: Annotated[UUID, Field(description="The log; a restored backup begins a new one.")]
    oldest: Annotated[int, Field(description="The position of the oldest event.")]
    latest: Annotated[int, Field(description="The position of the latest event.")]
