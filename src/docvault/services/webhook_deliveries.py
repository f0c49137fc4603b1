"""Use cases of deliveries: staff list, retry and replay them; they are deleted after a month."""

from collections.abc import Sequence
from uuid import UUID

from docvault.domain.audit import AuditAction
from docvault.domain.events import EventCursor, EventLog
from docvault.domain.webhooks import (
    DELIVERY_AGE,
    MAX_REPLAYED,
    Delivery,
    DeliveryFilter,
    DeliveryState,
    Webhook,
)
from docvault.errors import (
    EventNotKept,
    EventsExpired,
    InvalidCursor,
    NotFound,
    ValidationFailed,
    WebhookDisabled,
)
from docvault.repositories.unit_of_work import UnitOfWork
from docvault.schemas.webhooks import ReplayCreate
from docvault.services.resources import Resources
from docvault.services.webhooks import DROPPED, get_webhook

# How many events one statement replays, far within the time that a statement may take.
REPLAYED = 20_000
# How many deliveries are deleted in one transaction, and in one run.
PRUNED = 5_000
PRUNED_IN_RUN = 500_000


async def list_deliveries(
    uow: UnitOfWork, wanted: DeliveryFilter, *, before: int | None, limit: int
) -> Sequence[Delivery]:
    """Return up to `limit` deliveries of a webhook, that of the latest event first."""
    await get_webhook(uow, wanted.webhook_id)
    return await uow.webhook_deliveries.list_page(wanted, before=before, limit=limit)


async def count_deliveries(uow: UnitOfWork, wanted: DeliveryFilter) -> int:
    """Return how many deliveries a list has."""
    return await uow.webhook_deliveries.count(wanted)


async def get_delivery(uow: UnitOfWork, webhook_id: UUID, delivery_id: UUID) -> Delivery:
    """Return a delivery; raises `NotFound`."""
    await get_webhook(uow, webhook_id)
    return await _find(uow, webhook_id, delivery_id)


async def retry_delivery(uow: UnitOfWork, webhook_id: UUID, delivery_id: UUID) -> Delivery:
    """Send a delivery now, also one that was received.

    Raises `NotFound`, `WebhookDisabled` and `EventNotKept`.
    """
    webhook = await _get_enabled(uow, webhook_id)
    delivery = await _find(uow, webhook_id, delivery_id)
    if not await uow.webhook_deliveries.retry(delivery_id):
        raise EventNotKept
    await _audit(uow, webhook, {"delivery": str(delivery_id), "event": str(delivery.event_id)})
    return await _find(uow, webhook_id, delivery_id)


async def replay_events(uow: UnitOfWork, webhook_id: UUID, data: ReplayCreate) -> int:
    """Send the events of a part of the log to a webhook; return how many.

    Raises `NotFound`, `WebhookDisabled`, `InvalidCursor`, `EventsExpired` and `ValidationFailed`.
    """
    webhook = await _get_enabled(uow, webhook_id)
    log = await uow.events.log()
    after = _position(log, data.after, "/after")
    until = log.latest if data.until is None else _position(log, data.until, "/until")
    if until - after > MAX_REPLAYED:
        raise ValidationFailed(
            f"At most {MAX_REPLAYED:,} events can be replayed by one request.", pointer="/until"
        )
    states = [DeliveryState.FAILED, DeliveryState.DROPPED]
    if not data.only_failed:
        states.append(DeliveryState.DELIVERED)
    replayed = 0
    for start in range(after, until, REPLAYED):
        end = min(start + REPLAYED, until)
        replayed += await uow.webhook_deliveries.replay(
            webhook_id, after=start, until=end, states=states
        )
    await _audit(uow, webhook, {"after": after, "until": until, "deliveries": replayed})
    return replayed


async def drop_deliveries(resources: Resources) -> None:
    """Drop what is still pending of disabled webhooks."""
    async with resources.autocommit(resources.system_context()) as uow:
        while await uow.webhook_deliveries.drop_disabled(DROPPED) == DROPPED:
            pass


async def prune_deliveries(resources: Resources) -> None:
    """Delete the deliveries that are no longer kept."""
    async with resources.autocommit(resources.system_context()) as uow:
        for _ in range(PRUNED_IN_RUN // PRUNED):
            if not await uow.webhook_deliveries.prune(DELIVERY_AGE, PRUNED):
                return


async def _find(uow: UnitOfWork, webhook_id: UUID, delivery_id: UUID) -> Delivery:
    delivery = await uow.webhook_deliveries.get(webhook_id, delivery_id)
    if delivery is None:
        raise NotFound
    return delivery


async def _get_enabled(uow: UnitOfWork, webhook_id: UUID) -> Webhook:
    webhook = await get_webhook(uow, webhook_id)
    if not webhook.enabled:
        raise WebhookDisabled
    return webhook


def _position(log: EventLog, text: str, pointer: str) -> int:
    cursor = EventCursor.parse(text)
    if cursor is None:
        raise InvalidCursor(pointer=pointer)
    if not log.contains(cursor):
        raise EventsExpired(members={"oldest": log.oldest})
    return cursor.position


async def _audit(uow: UnitOfWork, webhook: Webhook, what: dict[str, str | int]) -> None:
    changes = {"id": str(webhook.id), **what}
    await uow.audit(
        AuditAction.WEBHOOK_REPLAY,
        changes={name: {"old": None, "new": value} for name, value in changes.items()},
    )
