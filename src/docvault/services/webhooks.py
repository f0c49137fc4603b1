"""Use cases of webhooks: staff manage them, and docvault disables those that fail."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from docvault.db.tables import new_id
from docvault.domain.audit import AuditAction, difference
from docvault.domain.events import EventType
from docvault.domain.webhooks import (
    MAX_WEBHOOKS,
    OVERLAP,
    DisabledReason,
    NewWebhook,
    Signing,
    Webhook,
)
from docvault.errors import NotFound, WebhookLimit, WebhookUrlNotAllowed
from docvault.observability import metrics
from docvault.repositories.unit_of_work import UnitOfWork
from docvault.schemas.webhooks import WebhookCreate, WebhookUpdate
from docvault.services.resources import Resources
from docvault.webhooks.destinations import DestinationRefused, Destinations
from docvault.webhooks.signatures import new_ed25519_key, new_hmac_secret, public_key_of

# How many deliveries are dropped by one statement.
DROPPED = 5_000


async def create_webhook(
    uow: UnitOfWork, destinations: Destinations, data: WebhookCreate
) -> tuple[Webhook, str]:
    """Create a webhook; return it with what its receiver needs, which is shown only once.

    Raises `WebhookUrlNotAllowed` and `WebhookLimit`.
    """
    _check_url(destinations, data.url)
    await uow.webhooks.lock_number()
    if await uow.webhooks.count() >= MAX_WEBHOOKS:
        raise WebhookLimit(f"There can be at most {MAX_WEBHOOKS} webhooks. Delete one first.")
    webhook_id, secret = new_id(), _new_secret(data.signing)
    new = NewWebhook(
        id=webhook_id,
        name=data.name,
        url=data.url,
        types=_types(data),
        enabled=data.enabled,
        signing=data.signing,
        sealed_secret=uow.context.keyring.seal_webhook_secret(webhook_id, secret),
    )
    webhook = await uow.webhooks.add(new)
    await uow.audit(AuditAction.WEBHOOK_CREATE, changes=difference({}, _audited(webhook)))
    return webhook, _shown(data.signing, secret)


async def list_webhooks(
    uow: UnitOfWork, *, after: tuple[datetime, UUID] | None, limit: int
) -> Sequence[Webhook]:
    """Return up to `limit` webhooks, oldest first."""
    return await uow.webhooks.list_page(after=after, limit=limit)


async def count_webhooks(uow: UnitOfWork) -> int:
    """Return how many webhooks there are."""
    return await uow.webhooks.count()


async def get_webhook(uow: UnitOfWork, webhook_id: UUID, *, lock: bool = False) -> Webhook:
    """Return a webhook; raises `NotFound`."""
    webhook = await uow.webhooks.get(webhook_id, lock=lock)
    if webhook is None:
        raise NotFound
    return webhook


async def update_webhook(
    uow: UnitOfWork, destinations: Destinations, before: Webhook, data: WebhookUpdate
) -> Webhook:
    """Change a webhook, which the caller has locked; raises `WebhookUrlNotAllowed`.

    Enabling it sends nothing that was missed, and forgets the failures.
    """
    values: dict[str, Any] = {name: getattr(data, name) for name in data.model_fields_set}
    if "url" in values:
        _check_url(destinations, data.url)
    if "types" in values:
        values["types"] = _types(data)
    if values.get("enabled") and not before.enabled:
        while await uow.webhook_deliveries.drop_disabled(DROPPED):
            pass
        values |= {"disabled_reason": None, "consecutive_failures": 0, "failing_since": None}
    if not values:
        return before
    webhook = await uow.webhooks.update(before.id, values)
    changes = difference(_audited(before), _audited(webhook))
    if changes is not None:
        await uow.audit(AuditAction.WEBHOOK_UPDATE, changes=_named(webhook, changes))
    if not webhook.enabled:
        await uow.webhook_deliveries.drop_disabled(DROPPED)
    return webhook


async def disable_webhook(uow: UnitOfWork, webhook_id: UUID, reason: DisabledReason) -> None:
    """Disable a webhook whose receiver is gone or fails, and drop what is pending."""
    before = await uow.webhooks.get(webhook_id, lock=True)
    if before is None or not before.enabled:
        return
    webhook = await uow.webhooks.update(webhook_id, {"enabled": False, "disabled_reason": reason})
    await uow.webhook_deliveries.drop_disabled(DROPPED)
    await uow.audit(
        AuditAction.WEBHOOK_UPDATE,
        changes=_named(webhook, difference(_audited(before), _audited(webhook)) or {}),
        event_type=EventType.WEBHOOK_DISABLED,
        event_data={"webhook": str(webhook_id), "reason": reason},
    )
    metrics.WEBHOOKS_DISABLED.labels(reason).inc()


async def delete_webhook(uow: UnitOfWork, webhook: Webhook) -> None:
    """Delete a webhook; nothing that is pending is sent any more."""
    await uow.webhooks.delete(webhook.id)
    await uow.audit(AuditAction.WEBHOOK_DELETE, changes=difference(_audited(webhook), {}))


async def rotate_secret(uow: UnitOfWork, webhook: Webhook) -> tuple[str, datetime]:
    """Replace the secret of a webhook, which the caller has locked.

    Returns what its receiver needs, which is shown only once, and until when the secret before
    signs too. One that was before that is forgotten.
    """
    secret, until = _new_secret(webhook.signing), datetime.now(UTC) + OVERLAP
    values = {
        "sealed_secret": uow.context.keyring.seal_webhook_secret(webhook.id, secret),
        "sealed_previous_secret": webhook.sealed_secret,
        "previous_secret_until": until,
    }
    await uow.webhooks.update(webhook.id, values)
    await uow.audit(AuditAction.WEBHOOK_ROTATE, changes=_named(webhook, {}))
    return _shown(webhook.signing, secret), until


async def seal_secrets(resources: Resources) -> None:
    """Seal every secret with the first secret key, so that the previous one can be removed."""
    async with resources.transaction(resources.system_context()) as uow:
        for webhook in await uow.webhooks.list_page(after=None, limit=MAX_WEBHOOKS):
            if _sealed_anew(uow, webhook):
                # Read again, because it may have been rotated meanwhile.
                locked = await uow.webhooks.get(webhook.id, lock=True)
                if locked is not None:
                    await uow.webhooks.update(locked.id, _sealed_anew(uow, locked))


def _sealed_anew(uow: UnitOfWork, webhook: Webhook) -> dict[str, bytes]:
    """Return the columns whose secret is sealed with another key than the first."""
    keyring, changed = uow.context.keyring, {}
    for name in ("sealed_secret", "sealed_previous_secret"):
        sealed = getattr(webhook, name)
        secret = None if sealed is None else keyring.open_webhook_secret(webhook.id, sealed)
        # The same secret sealed with the same key is the same bytes.
        if secret is not None and sealed != keyring.seal_webhook_secret(webhook.id, secret):
            changed[name] = keyring.seal_webhook_secret(webhook.id, secret)
    return changed


def _check_url(destinations: Destinations, url: str) -> None:
    try:
        destinations.check(url)
    except DestinationRefused:
        raise WebhookUrlNotAllowed(pointer="/url") from None


def _new_secret(signing: str) -> str:
    return new_ed25519_key() if signing == Signing.ED25519 else new_hmac_secret()


def _shown(signing: str, secret: str) -> str:
    return public_key_of(secret) if signing == Signing.ED25519 else secret


def _types(data: WebhookCreate | WebhookUpdate) -> list[str]:
    return sorted(set(data.types))


def _audited(webhook: Webhook) -> dict[str, Any]:
    return {
        "id": str(webhook.id),
        "name": webhook.name,
        "url": webhook.url,
        "types": webhook.types,
        "enabled": webhook.enabled,
        "disabled_reason": webhook.disabled_reason,
        "signing": webhook.signing,
    }


def _named(webhook: Webhook, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return changes that name the webhook, which changes of its members do not."""
    return {"id": {"old": str(webhook.id), "new": str(webhook.id)}, **changes}
