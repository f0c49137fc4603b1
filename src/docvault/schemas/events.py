"""Schemas of events."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from docvault.domain.audit import ActorKind
from docvault.domain.document_status import Status, UploadState
from docvault.domain.events import EventType
from docvault.domain.gate import GateDecision
from docvault.domain.webhooks import DisabledReason
from docvault.schemas.base import OutputModel, UtcTime
from docvault.schemas.customers import Pseudonym

Changed = Annotated[
    list[str],
    Field(description="The names of the members that have changed.", examples=[["email"]]),
]
TypeKey = Annotated[str, Field(description="The key of the type.", examples=["passport"])]


class EventCustomer(OutputModel):
    """The customer that an event is about."""

    id: Annotated[
        str | None,
        Field(
            description="The host's id of the customer; null after an erasure.", examples=["c-1042"]
        ),
    ]
    pseudonym: Pseudonym


class EventActor(OutputModel):
    """Who caused an event."""

    kind: ActorKind
    id: Annotated[
        str | None,
        Field(
            description="The subject of a staff token, null for third parties; the id of a key.",
            examples=["staff-7"],
        ),
    ]


class CustomerEventData(OutputModel):
    """Data of `customer.created`, `customer.updated` and `customer.erased`."""

    changed: Annotated[Changed | None, Field(description="Only for `customer.updated`, else null.")]
    erasure: Annotated[
        UUID | None, Field(description="The id of the erasure for `customer.erased`, else null.")
    ]


class DocumentEventData(OutputModel):
    """Data of events about a document."""

    document_type: TypeKey
    version: Annotated[
        int | None, Field(description="The version that the event is about, if any.", examples=[2])
    ]
    upload_state: Annotated[
        UploadState | None,
        Field(description="After the change; null for `document.quarantined` and `.released`."),
    ]
    status: Annotated[
        Status | None, Field(description="After the change; null like `upload_state`.")
    ]
    file: Annotated[
        int | None,
        Field(
            description="The number of the file; only for `document.quarantined` and `.released`."
        ),
    ]


class DocumentTypeEventData(OutputModel):
    """Data of events about a document type, or about the order of all types."""

    document_type: TypeKey | None
    changed: Changed | None


class PortalSettingsEventData(OutputModel):
    """Data of `portal_settings.updated`."""

    changed: Changed


class RequirementsEventData(OutputModel):
    """Data of `requirements.changed`; `gate.changed` follows for each gate that it changes."""

    enforced: Annotated[bool, Field(description="Whether the gate is switched on.")]
    required: Annotated[list[str], Field(description="The keys of the required types.")]


class GateEventData(OutputModel):
    """Data of `gate.changed`."""

    gate: Annotated[Literal["default"], Field(description="The gate.")]
    decision: GateDecision
    was: Annotated[
        GateDecision | None, Field(description="The decision before; null for a new customer.")
    ]
    due: Annotated[list[str], Field(description="The keys of the types that are due.")]
    cause: Annotated[
        Literal["customer", "documents", "requirements"],
        Field(description="`customer`: the customer is new. Otherwise what has changed."),
    ]


class WebhookEventData(OutputModel):
    """Data of `webhook.disabled`: docvault has disabled a webhook."""

    webhook: Annotated[UUID, Field(description="The id of the webhook.")]
    reason: DisabledReason


EventData = (
    DocumentEventData
    | GateEventData
    | CustomerEventData
    | DocumentTypeEventData
    | RequirementsEventData
    | PortalSettingsEventData
    | WebhookEventData
)

# The schema of each family of types.
EVENT_DATA: dict[str, type[Any]] = {
    "customer": CustomerEventData,
    "document": DocumentEventData,
    "document_type": DocumentTypeEventData,
    "gate": GateEventData,
    "portal_settings": PortalSettingsEventData,
    "requirements": RequirementsEventData,
    "webhook": WebhookEventData,
}


class EventRead(OutputModel):
    """A change. Events hold ids, keys, states and codes; read names and values from the API."""

    position: Annotated[
        int,
        Field(description="The position in the log, from 1 without gaps.", examples=[18231]),
    ]
    id: Annotated[
        UUID, Field(description="For events with an `actor`, also the id of the audit event.")
    ]
    type: EventType
    at: Annotated[
        UtcTime,
        Field(
            description="The time of the change; it can be earlier than that of the previous event."
        ),
    ]
    customer: EventCustomer | None
    actor: Annotated[
        EventActor | None,
        Field(description="Null for `gate.changed` and `requirements.changed`."),
    ]
    request_id: UUID | None
    data: Annotated[EventData | None, Field(description="Null after an erasure of the customer.")]


class EventPageRead(OutputModel):
    """A page of events, oldest first."""

    items: list[EventRead]
    next_after: Annotated[
        str,
        Field(
            description="Send it as `after` to read on, now or later, also if there are no items.",
            examples=["0197aa6c2f4e7d118b5f2c9d0e1f2a3b-18231"],
        ),
    ]
    has_more: Annotated[bool, Field(description="Whether more events can be read now.")]
    log: Annotated[
        UUID, Field(description="The id of the event log; a restored database begins a new one.")
    ]
    oldest: Annotated[int, Field(description="The position of the oldest event.")]
    latest: Annotated[int, Field(description="The position of the latest event.")]
