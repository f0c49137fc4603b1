"""Schemas of webhooks and their deliveries."""

from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, StrictBool, StringConstraints
from pydantic_core import PydanticCustomError

from docvault.domain.events import EventType
from docvault.domain.webhooks import (
    ALL_TYPES,
    MAX_TYPES,
    DeliveryState,
    DisabledReason,
    Signing,
)
from docvault.schemas.base import InputModel, LineText, Name, OutputModel, Page, PatchModel, UtcTime

MAX_URL_LENGTH = 2000

CURSOR_EXAMPLE = "0197aa6c2f4e7d118b5f2c9d0e1f2a3b-18231"


_TYPES = [ALL_TYPES, *map(str, EventType)]


def _known_type(value: str) -> str:
    # Not a union of a literal and an enum, whose errors name the member of the union.
    if value not in _TYPES:
        *others, last = [f"'{one}'" for one in _TYPES]
        expected = f"{', '.join(others)} or {last}"
        raise PydanticCustomError("enum", "must be {expected}", {"expected": expected})
    return value


def _all_or_some(types: list[str]) -> list[str]:
    if ALL_TYPES in types and len(types) > 1:
        raise ValueError(f"must be either {ALL_TYPES} alone or names of types")
    return types


WebhookType = Annotated[
    str, AfterValidator(_known_type), Field(json_schema_extra={"enum": [*_TYPES]})
]
WebhookTypes = Annotated[
    list[WebhookType],
    Field(
        min_length=1,
        max_length=MAX_TYPES,
        description="The types of events to send; `*` alone stands for all, also future ones.",
        examples=[["gate.changed", "customer.erased"]],
    ),
    AfterValidator(_all_or_some),
]
WebhookUrl = Annotated[
    LineText,
    StringConstraints(min_length=1, max_length=MAX_URL_LENGTH),
    Field(
        description="`https`, with a public host name and without a port or user name, unless the "
        "operators allow its host.",
        examples=["https://example.org/docvault"],
    ),
]
Cursor = Annotated[str, StringConstraints(max_length=100), Field(examples=[CURSOR_EXAMPLE])]


class WebhookCreate(InputModel):
    """A new webhook."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "CRM",
                    "url": "https://example.org/docvault",
                    "types": ["gate.changed", "customer.erased"],
                }
            ]
        }
    )

    name: Name
    url: WebhookUrl
    types: WebhookTypes
    signing: Signing = Signing.HMAC
    enabled: StrictBool = True


class WebhookUpdate(PatchModel):
    """Changes to a webhook (JSON Merge Patch, RFC 7396)."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"enabled": True}]})

    name: Name = ""
    url: WebhookUrl = ""
    types: WebhookTypes = []
    enabled: StrictBool = True


class WebhookRead(OutputModel):
    """A webhook, without its secret."""

    id: UUID
    name: Annotated[str, Field(examples=["CRM"])]
    url: Annotated[str, Field(examples=["https://example.org/docvault"])]
    types: Annotated[list[WebhookType], Field(examples=[["gate.changed", "customer.erased"]])]
    enabled: bool
    disabled_reason: Annotated[
        DisabledReason | None,
        Field(
            description="Why docvault has disabled it. `gone`: the receiver responded with 410. "
            "`failing`: nothing was received for five days.",
            examples=[None],
        ),
    ]
    signing: Signing
    consecutive_failures: Annotated[
        int, Field(description="Attempts that have failed since the last success.", examples=[0])
    ]
    created_at: UtcTime
    last_success_at: Annotated[
        UtcTime | None, Field(description="To the minute.", examples=["2026-11-29T09:12:44Z"])
    ]


Secret = Annotated[
    str,
    Field(
        description="With `hmac` the secret (`whsec_…`), with `ed25519` the public key (`whpk_…`) "
        "that verifies the signatures, as in Standard Webhooks.",
        examples=["whsec_" + "0" * 43 + "="],
    ),
]


class WebhookCreated(WebhookRead):
    """A new webhook. `secret` is shown only once."""

    secret: Secret


class WebhookSecret(OutputModel):
    """The new secret of a webhook, which is shown only once."""

    secret: Secret
    previous_until: Annotated[
        UtcTime, Field(description="How long the previous secret also signs.")
    ]


class WebhookPage(Page[WebhookRead]):
    """A page of webhooks, oldest first."""


class WebhookTest(OutputModel):
    """The outcome of a test message."""

    delivered: Annotated[bool, Field(description="Whether the status was 2xx.", examples=[True])]
    status: Annotated[
        int | None, Field(description="Null if there was no response.", examples=[204])
    ]
    error: Annotated[str | None, Field(description="Why there was no response.", examples=[None])]
    duration_ms: Annotated[int, Field(examples=[38])]


class ReplayCreate(InputModel):
    """Which events to send again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"after": CURSOR_EXAMPLE}]})

    after: Annotated[
        Cursor, Field(description="A `next_after` of the event feed; the events after it are sent.")
    ]
    until: Annotated[
        Cursor | None,
        Field(description="The cursor of the last event; by default the latest."),
    ] = None
    only_failed: Annotated[
        StrictBool, Field(description="Whether to leave out the events that were delivered.")
    ] = True


class ReplayRead(OutputModel):
    """What a replay will send."""

    deliveries: Annotated[int, Field(description="How many events.", examples=[812])]


class DeliveryRead(OutputModel):
    """The delivery of one event to one webhook."""

    id: UUID
    event: Annotated[
        UUID, Field(description="The id of the event, which is also the header `webhook-id`.")
    ]
    type: EventType
    position: Annotated[int, Field(examples=[18231])]
    state: DeliveryState
    created_at: UtcTime
    next_attempt_at: Annotated[UtcTime | None, Field(description="Null unless pending.")]


class DeliveryAttempt(OutputModel):
    """One attempt to send a message."""

    at: UtcTime
    status: Annotated[
        int | None, Field(description="Null if there was no response.", examples=[503])
    ]
    error: Annotated[str | None, Field(description="Why there was no response.", examples=[None])]
    duration_ms: Annotated[int, Field(examples=[38])]


class DeliveryDetailRead(DeliveryRead):
    """A delivery with at most its last thirty attempts, oldest first."""

    attempts: list[DeliveryAttempt]


class DeliveryPage(Page[DeliveryRead]):
    """A page of deliveries, newest event first."""
