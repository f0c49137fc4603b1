"""SQL about the deliveries of events to webhooks; `sequence_events` adds them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, exists, func, select, update

from docvault.db.prepared_statements import Lane, NoRow, json_rows, jsonb
from docvault.db.tables import EventRow, WebhookDeliveryRow
from docvault.domain.events import Event, EventType
from docvault.domain.webhooks import (
    Attempt,
    ClaimedDelivery,
    Delivery,
    DeliveryFilter,
    DeliveryState,
    Failures,
)
from docvault.repositories.base import Repository
from docvault.repositories.sql import load_statement

# Longer than an attempt can take. Afterwards the delivery is sent again.
LEASE = timedelta(seconds=60)


@dataclass(slots=True)
class _Claimed:
    id: UUID
    webhook_id: UUID
    due_at: datetime
    used_attempts: int
    url: str
    sealed_secret: bytes
    sealed_previous_secret: bytes | None
    position: int | None
    event_id: UUID
    type: str
    at: datetime
    external_id: str | None
    pseudonym: str | None
    data: dict[str, Any] | None


@dataclass(slots=True)
class _Changed:
    number: int


@dataclass(slots=True)
class WaitingDeliveries:
    """What waits: in all, late ones of receivers that respond, and failing webhooks."""

    number: int
    seconds: float
    late_number: int
    late_seconds: float
    failing_number: int
    failing_seconds: float


_CLAIM = load_statement("claim_deliveries", _Claimed)
_COMPLETE = load_statement("complete_delivery", NoRow).in_lane(Lane.WRITES)
_FAIL = load_statement("fail_delivery", Failures)
_DROP_EVENTS = load_statement("drop_events", NoRow)
_DROP_DISABLED = load_statement("drop_disabled_deliveries", _Changed)
_REPLAY = load_statement("replay_deliveries", _Changed)
_PRUNE = load_statement("prune_deliveries", _Changed)
_WAITING = load_statement("waiting_deliveries", WaitingDeliveries)


class WebhookDeliveryRepository(Repository):
    """Deliveries of all webhooks; only staff see them."""

    async def claim(
        self, busy: Mapping[UUID, int], *, places: int, free: int
    ) -> Sequence[ClaimedDelivery]:
        """Take up to `free` due deliveries until their lease ends.

        Each webhook has `places`, of which `busy` are taken already.
        """
        rows = [{"webhook_id": id_, "number": number} for id_, number in busy.items()]
        parameters = {"busy": json_rows(rows), "places": places, "free": free, "lease": LEASE}
        return [_to_claimed(row) for row in await self._rows(_CLAIM, parameters)]

    async def complete(self, claimed: ClaimedDelivery, attempt: Attempt, at: datetime) -> None:
        """Record that a delivery was received, unless another process has it by now."""
        await self._rows(_COMPLETE, _attempted(claimed, attempt, at))

    async def fail(
        self, claimed: ClaimedDelivery, attempt: Attempt, at: datetime, wait: timedelta | None
    ) -> Failures | None:
        """Record a failed attempt; the next one follows after `wait`, if there is one.

        Returns None if another process has the delivery by now, or the webhook is disabled.
        """
        rows = await self._rows(_FAIL, {**_attempted(claimed, attempt, at), "wait": wait})
        return rows[0] if rows else None

    async def drop(self, delivery_id: UUID) -> None:
        """Drop a pending delivery."""
        await self._session.execute(
            update(WebhookDeliveryRow)
            .where(
                WebhookDeliveryRow.id == delivery_id,
                WebhookDeliveryRow.state == DeliveryState.PENDING,
            )
            .values(state=DeliveryState.DROPPED, due_at=None)
            .execution_options(synchronize_session=False)
        )

    async def drop_events(self, positions: Sequence[int]) -> None:
        """Drop what was not delivered of these events."""
        await self._rows(_DROP_EVENTS, {"positions": list(positions)})

    async def drop_disabled(self, batch: int) -> int:
        """Drop up to `batch` pending deliveries of disabled webhooks; return how many."""
        return (await self._rows(_DROP_DISABLED, {"batch": batch}))[0].number

    async def replay(
        self, webhook_id: UUID, *, after: int, until: int, states: Sequence[DeliveryState]
    ) -> int:
        """Send the events after a position again, or for the first time; return how many.

        Of those that the webhook has had, only deliveries in one of the states.
        """
        parameters = {
            "webhook_id": webhook_id,
            "after": after,
            "until": until,
            "states": list(states),
        }
        return (await self._rows(_REPLAY, parameters))[0].number

    async def retry(self, delivery_id: UUID) -> bool:
        """Let a delivery be sent now, again if need be; False if its event is no longer kept."""
        event_is_kept = exists().where(
            EventRow.id == WebhookDeliveryRow.event_id, EventRow.redacted_at.is_(None)
        )
        retried = await self._session.scalar(
            update(WebhookDeliveryRow)
            .where(WebhookDeliveryRow.id == delivery_id, event_is_kept)
            .values(state=DeliveryState.PENDING, used_attempts=0, due_at=func.now())
            .returning(WebhookDeliveryRow.id)
            .execution_options(synchronize_session=False)
        )
        return retried is not None

    async def get(self, webhook_id: UUID, delivery_id: UUID) -> Delivery | None:
        """Return a delivery of a webhook."""
        query = select(WebhookDeliveryRow).where(
            WebhookDeliveryRow.id == delivery_id, WebhookDeliveryRow.webhook_id == webhook_id
        )
        row = await self._session.scalar(query.execution_options(populate_existing=True))
        return None if row is None else _to_delivery(row)

    async def list_page(
        self, wanted: DeliveryFilter, *, before: int | None, limit: int
    ) -> Sequence[Delivery]:
        """Return up to `limit` deliveries, that of the latest event first."""
        query = select(WebhookDeliveryRow).where(*_conditions(wanted))
        if before is not None:
            query = query.where(WebhookDeliveryRow.position < before)
        query = query.order_by(WebhookDeliveryRow.position.desc()).limit(limit)
        return [_to_delivery(row) for row in await self._session.scalars(query)]

    async def count(self, wanted: DeliveryFilter) -> int:
        """Return how many deliveries a list has."""
        query = select(func.count()).select_from(WebhookDeliveryRow).where(*_conditions(wanted))
        return await self._session.scalar(query) or 0

    async def prune(self, age: timedelta, batch: int) -> int:
        """Delete up to `batch` deliveries that are older than this; return how many."""
        return (await self._rows(_PRUNE, {"age": age, "batch": batch}))[0].number

    async def waiting(self) -> WaitingDeliveries:
        """Return what waits, and for how long."""
        return (await self._rows(_WAITING, {}))[0]


def _attempted(claimed: ClaimedDelivery, attempt: Attempt, at: datetime) -> dict[str, Any]:
    record = {"at": at.isoformat(), **asdict(attempt)}
    return {"id": claimed.id, "lease": claimed.lease, "attempt": jsonb(record)}


def _conditions(wanted: DeliveryFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [WebhookDeliveryRow.webhook_id == wanted.webhook_id]
    if wanted.state is not None:
        conditions.append(WebhookDeliveryRow.state == wanted.state)
    if wanted.since is not None:
        conditions.append(WebhookDeliveryRow.created_at >= wanted.since)
    if wanted.until is not None:
        conditions.append(WebhookDeliveryRow.created_at < wanted.until)
    return conditions


def _to_claimed(row: _Claimed) -> ClaimedDelivery:
    sealed = (row.sealed_secret, row.sealed_previous_secret)
    return ClaimedDelivery(
        id=row.id,
        webhook_id=row.webhook_id,
        lease=row.due_at,
        used_attempts=row.used_attempts,
        url=row.url,
        sealed_secrets=[one for one in sealed if one is not None],
        event=_to_event(row),
    )


def _to_event(row: _Claimed) -> Event | None:
    if row.position is None:
        return None
    return Event(
        position=row.position,
        id=row.event_id,
        type=EventType(row.type),
        at=row.at,
        customer=row.external_id,
        pseudonym=row.pseudonym,
        # Receivers read these from the feed, which records who reads them.
        actor_kind=None,
        actor_id=None,
        request_id=None,
        data=row.data,
    )


def _to_delivery(row: WebhookDeliveryRow) -> Delivery:
    return Delivery(**{one.name: getattr(row, one.name) for one in fields(Delivery)})
