"""Events."""

from typing import cast

from docvault.context import RequestContext
from docvault.domain.actors import Staff
from docvault.domain.audit import ActorKind
from docvault.domain.events import Event, EventPage
from docvault.schemas.events import (
    EVENT_DATA,
    EventActor,
    EventCustomer,
    EventData,
    EventPageRead,
    EventRead,
)


def present_event_page(page: EventPage, context: RequestContext) -> EventPageRead:
    """Present a page for the actor."""
    return EventPageRead(
        items=[present_event(event, context) for event in page.events],
        next_after=str(page.next_after),
        has_more=page.has_more,
        log=page.log.log,
        oldest=page.log.oldest,
        latest=page.log.latest,
    )


def present_event(event: Event, context: RequestContext) -> EventRead:
    """Present an event for the actor."""
    return EventRead(
        position=event.position,
        id=event.id,
        type=event.type,
        at=event.at,
        customer=present_event_customer(event),
        actor=_actor(event, context),
        request_id=event.request_id,
        data=present_event_data(event),
    )


def present_event_customer(event: Event) -> EventCustomer | None:
    """Present the customer; after an erasure only the pseudonym is left."""
    if event.pseudonym is None:
        return None
    return EventCustomer(id=event.customer, pseudonym=event.pseudonym)


def _actor(event: Event, context: RequestContext) -> EventActor | None:
    """Present who did it; only staff see which member of staff that was."""
    if event.actor_kind is None:
        return None
    is_shown = event.actor_kind == "integration" or (
        event.actor_kind == "admin" and isinstance(context.actor, Staff)
    )
    id_ = event.actor_id if is_shown else None
    return EventActor(kind=cast("ActorKind", event.actor_kind), id=id_)


def present_event_data(event: Event) -> EventData | None:
    """Present the stored members, with nulls for those that this type does not have."""
    if event.data is None:
        return None
    schema = EVENT_DATA[event.type.partition(".")[0]]
    members = {name: event.data.get(name) for name in schema.model_fields}
    return cast("EventData", schema.model_validate(members))
