"""Typed clients of the docvault APIs."""

from docvault_client.clients import (
    create_admin_client,
    create_customer_client,
    create_integration_client,
)
from docvault_client.events import EventPage, EventsExpiredError, follow_events
from docvault_client.pages import Page, Problem, ProblemError, follow
from docvault_client.webhooks import WebhookVerificationError, verify_webhook

__all__ = [
    "EventPage",
    "EventsExpiredError",
    "Page",
    "Problem",
    "ProblemError",
    "WebhookVerificationError",
    "create_admin_client",
    "create_customer_client",
    "create_integration_client",
    "follow",
    "follow_events",
    "verify_webhook",
]
