"""The event feed of staff."""

from fastapi import APIRouter, Response

from docvault.api.http.parameters import EventId
from docvault.api.http.responses import resource_response
from docvault.api.routing.operation import AUDITORS, Read, operation
from docvault.api.routing.requests import ApiRequest
from docvault.api.routing.routes import AdminRoute
from docvault.api.shared.events import (
    DEFAULT_EVENTS,
    FEED_ERRORS,
    AfterQuery,
    EventCustomerQuery,
    EventLimitQuery,
    TypesQuery,
    WaitQuery,
    event_page,
)
from docvault.domain.audit import AuditAction
from docvault.errors import NotFound
from docvault.presenters.events import present_event
from docvault.schemas.events import EventPageRead, EventRead
from docvault.services.events import EventQuery, read_event

router = APIRouter(route_class=AdminRoute, prefix="/v1/admin")


@router.get("/events", response_model=EventPageRead, summary="Follow the events")
@operation(
    Read(
        AuditAction.EVENT_LIST,
        roles=AUDITORS,
        errors=FEED_ERRORS,
        conditions=("If-None-Match",),
        in_transaction=False,
    )
)
async def admin_list_events(
    request: ApiRequest,
    after: AfterQuery = None,
    limit: EventLimitQuery = DEFAULT_EVENTS,
    types: TypesQuery = [],  # noqa: B006 - FastAPI copies defaults
    customer: EventCustomerQuery = None,
    wait: WaitQuery = 0,
) -> Response:
    """List the changes, oldest first.

    Every change has one event, in one order without gaps. To start, read with `after=latest`, list
    the customers, and then follow from `next_after`.
    """
    return await event_page(request, EventQuery(after, types, customer, limit), wait)


@router.get("/events/{id}", response_model=EventRead, summary="Get an event")
@operation(
    Read(
        AuditAction.EVENT_READ,
        roles=AUDITORS,
        errors=(NotFound,),
        conditions=("If-None-Match",),
    )
)
async def admin_read_event(request: ApiRequest, event_id: EventId) -> Response:
    """Get one event, for example that of a webhook by its header `webhook-id`."""
    event = await read_event(request.uow, event_id)
    return resource_response(request, present_event(event, request.context))
