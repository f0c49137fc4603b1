"""Use cases of events: publish, read and delete them."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from docvault.context import RequestContext
from docvault.domain.actors import ApiKeyActor
from docvault.domain.audit import AuditAction
from docvault.domain.events import Event, EventCursor, EventLog, EventPage, EventType, needed_scope
from docvault.domain.permissions import require_scope
from docvault.errors import EventsExpired, InsufficientScope, InvalidCursor, NotFound
from docvault.repositories.unit_of_work import UnitOfWork
from docvault.services.resources import Resources

# How many events get their position in one transaction: about ten milliseconds of work.
SEQUENCED = 1_000
# How many gates are published in a second after a change of the requirements.
COMPARED = 1_000
LATEST = "latest"
# How many events are deleted in one transaction, and in one run.
PRUNED = 5_000
PRUNED_IN_RUN = 500_000


@dataclass(frozen=True, slots=True)
class EventQuery:
    """The filters of a read, and the `next_after` of the previous page, or `latest`."""

    after: str | None
    types: Sequence[EventType]
    customer: str | None
    limit: int


async def read_log(resources: Resources) -> EventLog:
    """Give waiting events their position and return the log, so that followers need no worker."""
    async with resources.autocommit(resources.system_context()) as uow:
        await uow.events.sequence(SEQUENCED)
        return await uow.events.log()


async def read_events(
    resources: Resources, context: RequestContext, query: EventQuery
) -> EventPage:
    """Return a page of events that the caller may read; records it unless it is empty.

    Raises `InvalidCursor`, `EventsExpired` and `InsufficientScope`.
    """
    types = readable_types(context, query.types)
    after = _parse_after(query.after)
    async with resources.autocommit(context) as uow:
        await uow.events.sequence(SEQUENCED)
        if query.after == LATEST:
            log = await uow.events.log()
            return EventPage(log, (), EventCursor(log.log, log.latest))
        page = await _list(uow, after, types, query)
        if page.events:
            await uow.audit(AuditAction.EVENT_LIST)
    return page


async def read_event(uow: UnitOfWork, event_id: UUID) -> Event:
    """Return an event and record that it was read; raises `NotFound`."""
    await uow.events.sequence(SEQUENCED)
    event = await uow.events.find(event_id)
    if event is None:
        raise NotFound
    await uow.audit(AuditAction.EVENT_READ)
    return event


def readable_types(context: RequestContext, wanted: Sequence[EventType]) -> Sequence[EventType]:
    """Return the requested types, or all that the caller may read."""
    actor = context.actor
    if not isinstance(actor, ApiKeyActor):
        return wanted or list(EventType)
    if not wanted:
        return [one for one in EventType if needed_scope(one) in actor.scopes]
    for one in wanted:
        scope = needed_scope(one)
        if scope is None:
            raise InsufficientScope(f"API keys cannot read {one}.")
        require_scope(actor, scope)
    return wanted


def _parse_after(after: str | None) -> EventCursor | None:
    if after is None or after == LATEST:
        return None
    cursor = EventCursor.parse(after)
    if cursor is None:
        raise InvalidCursor(parameter="after")
    return cursor


async def _list(
    uow: UnitOfWork, after: EventCursor | None, types: Sequence[EventType], query: EventQuery
) -> EventPage:
    position = None if after is None else after.position
    page = await uow.events.list_page(position, types, query.customer, query.limit)
    if after is not None and not page.log.contains(after):
        raise EventsExpired(members={"oldest": page.log.oldest})
    return page


async def publish_events(resources: Resources) -> None:
    """Write `gate.changed` after a change of the requirements, and give events their position."""
    async with resources.autocommit(resources.system_context()) as uow:
        await uow.events.compare_gates(COMPARED)
        while await uow.events.sequence(SEQUENCED) == SEQUENCED:
            pass


async def prune_events(resources: Resources) -> None:
    """Delete the events that are no longer kept."""
    async with resources.autocommit(resources.system_context()) as uow:
        for _ in range(PRUNED_IN_RUN // PRUNED):
            if not await uow.events.prune(resources.settings.event_age, PRUNED):
                return
