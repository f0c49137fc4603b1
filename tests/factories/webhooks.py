"""Webhooks, and what the worker does with their deliveries."""

from base64 import b64decode
from typing import Any

import httpx
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import text
from standardwebhooks import Webhook
from tests.fixtures.webhook_receiver import Message

from docvault.services.events import publish_events
from docvault.services.resources import Resources
from docvault.services.webhook_sending import Deliverer

WEBHOOKS = "/v1/admin/webhooks"
PUBLIC_URL = "https://example.org/hook"


async def make_webhook(admin: httpx.AsyncClient, **members: Any) -> dict[str, Any]:
    """Create a webhook for all events and return it, with its secret."""
    body = {"name": "CRM", "url": PUBLIC_URL, "types": ["*"], **members}
    response = await admin.post(WEBHOOKS, json=body)
    assert response.status_code == 201, response.text
    created: dict[str, Any] = response.json()
    return created


async def read_webhook(admin: httpx.AsyncClient, webhook_id: str) -> dict[str, Any]:
    """Return a webhook."""
    response = await admin.get(f"{WEBHOOKS}/{webhook_id}")
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def list_deliveries(
    admin: httpx.AsyncClient, webhook_id: str, **params: Any
) -> list[dict[str, Any]]:
    """Return the deliveries of a webhook, that of the latest event first."""
    response = await admin.get(f"{WEBHOOKS}/{webhook_id}/deliveries", params=params)
    assert response.status_code == 200, response.text
    items: list[dict[str, Any]] = response.json()["items"]
    return items


async def states(admin: httpx.AsyncClient, webhook_id: str) -> list[str]:
    """Return the states of the deliveries of a webhook, in the order of the events."""
    return [item["state"] for item in reversed(await list_deliveries(admin, webhook_id))]


async def attempts(admin: httpx.AsyncClient, webhook_id: str) -> list[dict[str, Any]]:
    """Return the attempts of the latest delivery."""
    (latest, *_) = await list_deliveries(admin, webhook_id)
    response = await admin.get(f"{WEBHOOKS}/{webhook_id}/deliveries/{latest['id']}")
    assert response.status_code == 200, response.text
    made: list[dict[str, Any]] = response.json()["attempts"]
    return made


async def deliver(resources: Resources) -> None:
    """Give events their positions and send what is due, as the worker does."""
    await publish_events(resources)
    deliverer = Deliverer(resources)
    while await deliverer.start_due():
        await deliverer.finish(60)


def verify(secret: str, message: Message) -> None:
    """Verify a message as a receiver does; raises an error if it is not genuine."""
    if secret.startswith("whsec_"):
        Webhook(secret).verify(message.body, dict(message.headers))
        return
    headers = message.headers
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + message.body
    key = Ed25519PublicKey.from_public_bytes(b64decode(secret.removeprefix("whpk_")))
    signatures = [one.removeprefix("v1a,") for one in headers["webhook-signature"].split()]
    assert any(_is_signature(key, b64decode(one), content) for one in signatures)


def _is_signature(key: Ed25519PublicKey, signature: bytes, content: bytes) -> bool:
    try:
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True


async def make_due(resources: Resources) -> None:
    """Let the time of all waits, and of all leases, be over."""
    await execute(resources, "UPDATE webhook_deliveries SET due_at = now() WHERE due_at > now()")


async def execute(resources: Resources, statement: str, **values: Any) -> None:
    """Change rows."""
    async with resources.database.transaction() as session:
        await session.execute(text(statement), values)
