"""Webhooks: who gets which events, and when a delivery is tried again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from docvault.domain.events import Event

ALL_TYPES = "*"
MAX_WEBHOOKS = 20
MAX_TYPES = 50
# How long the previous secret also signs after a rotation.
OVERLAP = timedelta(hours=24)
DELIVERY_AGE = timedelta(days=30)
# How many events one request may replay.
MAX_REPLAYED = 100_000

# The waits between attempts, as Standard Webhooks recommends them.
_WAITS = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
MAX_ATTEMPTS = len(_WAITS) + 1
JITTER = 0.2
MAX_RETRY_AFTER = timedelta(hours=24)

# A webhook that fails for so long, and at least so often, is disabled.
FAILING_TIME = timedelta(days=5)
FAILING_ATTEMPTS = 20

# The class of the status of a message that was received.
_SUCCESS = 2


class Signing(StrEnum):
    """How messages are signed: with a shared secret, or with a key whose public part is shown."""

    HMAC = "hmac"
    ED25519 = "ed25519"


class DisabledReason(StrEnum):
    """Why docvault has disabled a webhook: the receiver said 410, or failed for days."""

    GONE = "gone"
    FAILING = "failing"


class DeliveryState(StrEnum):
    """The state of a delivery; a dropped one is not sent, or not sent again."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class NewWebhook:
    """A webhook to store."""

    id: UUID
    name: str
    url: str
    types: list[str]
    enabled: bool
    signing: str
    sealed_secret: bytes


@dataclass(frozen=True, slots=True)
class Webhook(NewWebhook):
    """A webhook with what is known of its receiver."""

    disabled_reason: str | None
    sealed_previous_secret: bytes | None
    previous_secret_until: datetime | None
    consecutive_failures: int
    failing_since: datetime | None
    last_success_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one webhook, and each attempt to send it."""

    id: UUID
    event_id: UUID
    type: str
    position: int
    state: str
    due_at: datetime | None
    created_at: datetime
    attempts: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries of a webhook to list."""

    webhook_id: UUID
    state: DeliveryState | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """A delivery to be sent before its lease ends.

    `event` is None if it was erased or deleted meanwhile.
    """

    id: UUID
    webhook_id: UUID
    lease: datetime
    used_attempts: int
    url: str
    sealed_secrets: Sequence[bytes]
    event: Event | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """The outcome of sending a message once: a status, or an error without one."""

    status: int | None
    error: str | None
    duration_ms: int

    @property
    def is_success(self) -> bool:
        """Whether the receiver has accepted the message."""
        return self.status is not None and self.status // 100 == _SUCCESS


@dataclass(frozen=True, slots=True)
class Failures:
    """The attempts of an enabled webhook that have failed since the last success."""

    number: int
    duration: timedelta

    @property
    def is_too_many(self) -> bool:
        """Whether the webhook is to be disabled."""
        return self.number >= FAILING_ATTEMPTS and self.duration >= FAILING_TIME


def wait_after(attempts: int, retry_after: timedelta | None, chance: float) -> timedelta | None:
    """Return how long to wait after so many attempts; None if it was the last.

    `chance` is between 0 and 1. The receiver can ask for a longer wait, not for a shorter one:
    otherwise it could use up all attempts within seconds.
    """
    if attempts >= MAX_ATTEMPTS:
        return None
    wait = _WAITS[attempts - 1] * (1 - JITTER + 2 * JITTER * chance)
    return max(wait, min(retry_after or timedelta(0), MAX_RETRY_AFTER))
