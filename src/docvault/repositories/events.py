"""SQL about events; `AuditEventRepository` and `AttachmentRepository` add them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import func, select, update

from docvault.db.tables import CustomerRow, EventLogRow, EventRow
from docvault.domain.events import Event, EventCursor, EventLog, EventPage, EventType
from docvault.repositories.base import Repository
from docvault.repositories.sql import load_statement


@dataclass(slots=True)
class _Sequenced:
    given: int


@dataclass(slots=True)
class _Compared:
    compared: int | None


@dataclass(slots=True)
class _Pruned:
    number: int


@dataclass(slots=True)
class _Waiting:
    number: int
    seconds: float


@dataclass(slots=True)
class _EventRecord:
    log: UUID
    oldest: int
    latest: int
    position: int | None
    id: UUID
    type: str
    at: datetime
    external_id: str | None
    pseudonym: str | None
    actor_kind: str | None
    actor_id: str | None
    request_id: UUID | None
    data: dict[str, Any] | None


# How many events a filtered page reads: a rare type must not make the request slow.
WINDOW = 10_000

_LIST = load_statement(
    "list_events",
    _EventRecord,
    condition="position <= coalesce(%(after)s::bigint, event_log.oldest - 1) + %(window)s::integer",
)
_LIST_OF_CUSTOMER = load_statement(
    "list_events", _EventRecord, condition="customer_id = %(customer_id)s::uuid"
)
_FIND = load_statement("list_events", _EventRecord, condition="id = %(id)s::uuid")
_FIND_LOG = load_statement("find_event_log", EventLog)
_PRUNE = load_statement("prune_events", _Pruned)
_WAITING = load_statement("waiting_events", _Waiting)
_SEQUENCE = load_statement("sequence_events", _Sequenced)
_COMPARE_GATES = load_statement("compare_gates", _Compared)


class EventRepository(Repository):
    """Events of all customers; only staff and third parties follow them."""

    async def redact(self, customer_id: UUID, pseudonym: str) -> Sequence[int]:
        """Remove all but type, time, position and pseudonym from the events about a customer.

        Returns their positions, as far as they have one.
        """
        positions = await self._session.scalars(
            update(EventRow)
            .where(EventRow.customer_id == customer_id)
            .values(
                customer_id=None, data=None, pseudonym=pseudonym, redacted_at=func.clock_timestamp()
            )
            .returning(EventRow.position)
            .execution_options(synchronize_session=False)
        )
        return [position for position in positions if position is not None]

    async def log(self) -> EventLog:
        """Return the log."""
        return (await self._rows(_FIND_LOG, {}))[0]

    async def list_page(
        self, after: int | None, types: Sequence[EventType], customer: str | None, limit: int
    ) -> EventPage:
        """Return up to `limit` events after a position, by default from the oldest."""
        parameters: dict[str, Any] = {
            "after": after,
            "types": list(types),
            "limit": limit,
            "window": WINDOW,
        }
        statement = _LIST
        if customer is not None:
            statement = _LIST_OF_CUSTOMER
            query = select(CustomerRow.id).where(
                CustomerRow.external_id == customer, self._reachable(CustomerRow.id)
            )
            parameters["customer_id"] = await self._session.scalar(query)
        rows = await self._rows(statement, parameters)
        log = EventLog(rows[0].log, rows[0].oldest, rows[0].latest)
        events = [_to_event(row) for row in rows if row.position is not None]
        if len(events) == limit:
            read_until = events[-1].position
        elif customer is not None:
            read_until = log.latest
        else:
            read_until = min((log.oldest - 1 if after is None else after) + WINDOW, log.latest)
        return EventPage(log, events, EventCursor(log.log, read_until))

    async def find(self, event_id: UUID) -> Event | None:
        """Return an event that has a position."""
        parameters = {"after": None, "types": list(EventType), "limit": 1, "id": event_id}
        row = (await self._rows(_FIND, parameters))[0]
        return None if row.position is None else _to_event(row)

    async def sequence(self, batch: int) -> int:
        """Give positions to up to `batch` committed events; return how many."""
        return (await self._rows(_SEQUENCE, {"batch": batch}))[0].given

    async def compare_gates(self, batch: int) -> int | None:
        """Add the events of up to `batch` gates that a change of the requirements has changed.

        Returns how many; None if there is nothing to compare.
        """
        return (await self._rows(_COMPARE_GATES, {"batch": batch}))[0].compared

    async def prune(self, age: timedelta, batch: int) -> int:
        """Delete up to `batch` events that are older than this; return how many."""
        return (await self._rows(_PRUNE, {"age": age, "batch": batch}))[0].number

    async def begin_log(self) -> None:
        """Begin a new log; earlier cursors are no longer accepted."""
        await self._session.execute(update(EventLogRow).values(log=uuid4()))

    async def waiting(self) -> tuple[int, float]:
        """Return how many events wait for a position, and the age of the oldest in seconds."""
        waiting = (await self._rows(_WAITING, {}))[0]
        return waiting.number, waiting.seconds


def _to_event(row: _EventRecord) -> Event:
    return Event(
        position=row.position or 0,
        id=row.id,
        type=EventType(row.type),
        at=row.at,
        customer=row.external_id,
        pseudonym=row.pseudonym,
        actor_kind=row.actor_kind,
        actor_id=row.actor_id,
        request_id=row.request_id,
        data=row.data,
    )
