"""Webhooks, their deliveries, and the messages that they send."""

from datetime import datetime
from typing import Any

import pydantic_core

from docvault.domain.events import Event, EventType
from docvault.domain.webhooks import (
    Attempt,
    Delivery,
    DeliveryState,
    DisabledReason,
    Signing,
    Webhook,
)
from docvault.presenters.events import present_event_customer, present_event_data
from docvault.schemas.webhooks import (
    DeliveryAttempt,
    DeliveryDetailRead,
    DeliveryRead,
    WebhookCreated,
    WebhookRead,
    WebhookTest,
)

MAX_MESSAGE_BYTES = 20 * 1024
TEST_TYPE = "webhook.test"


def present_webhook(webhook: Webhook) -> WebhookRead:
    """Present a webhook without its secret."""
    return WebhookRead(**_members(webhook))


def present_created_webhook(webhook: Webhook, secret: str) -> WebhookCreated:
    """Present a new webhook with what receivers need, which is shown only once."""
    return WebhookCreated(**_members(webhook), secret=secret)


def present_test(attempt: Attempt) -> WebhookTest:
    """Present the outcome of a test message."""
    return WebhookTest(
        delivered=attempt.is_success,
        status=attempt.status,
        error=attempt.error,
        duration_ms=attempt.duration_ms,
    )


def present_delivery(delivery: Delivery) -> DeliveryRead:
    """Present a delivery as lists have it."""
    return DeliveryRead(**_delivery_members(delivery))


def present_delivery_detail(delivery: Delivery) -> DeliveryDetailRead:
    """Present a delivery with its attempts."""
    attempts = [DeliveryAttempt.model_validate(attempt) for attempt in delivery.attempts]
    return DeliveryDetailRead(**_delivery_members(delivery), attempts=attempts)


def render_message(event: Event) -> bytes:
    """Return the body that is signed and sent: ids, keys, states and codes, as in the feed.

    Lists are null in a message that they would make larger than the limit; the feed has them.
    """
    data, customer = present_event_data(event), present_event_customer(event)
    members: dict[str, Any] = {} if data is None else data.model_dump(mode="json")
    about = {"customer": customer and customer.model_dump(), "position": event.position}
    message = {"type": event.type, "timestamp": event.at, "data": {**members, **about}}
    body = pydantic_core.to_json(message)
    if len(body) > MAX_MESSAGE_BYTES:
        lists = [name for name, value in members.items() if isinstance(value, list)]
        short = members | dict.fromkeys(lists)
        body = pydantic_core.to_json({**message, "data": {**short, **about}})
    return body


def render_test_message(webhook: Webhook, at: datetime) -> bytes:
    """Return the body of a test, which is no event: it has no position."""
    data = {"webhook": webhook.id, "customer": None, "position": None}
    return pydantic_core.to_json({"type": TEST_TYPE, "timestamp": at, "data": data})


def _members(webhook: Webhook) -> dict[str, Any]:
    reason = webhook.disabled_reason
    return {
        "id": webhook.id,
        "name": webhook.name,
        "url": webhook.url,
        "types": webhook.types,
        "enabled": webhook.enabled,
        "disabled_reason": None if reason is None else DisabledReason(reason),
        "signing": Signing(webhook.signing),
        "consecutive_failures": webhook.consecutive_failures,
        "created_at": webhook.created_at,
        "last_success_at": webhook.last_success_at,
    }


def _delivery_members(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "event": delivery.event_id,
        "type": EventType(delivery.type),
        "position": delivery.position,
        "state": DeliveryState(delivery.state),
        "created_at": delivery.created_at,
        "next_attempt_at": delivery.due_at,
    }
