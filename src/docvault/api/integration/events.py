"""The event feed of third parties."""

from fastapi import APIRouter, Response

from docvault.api.routing.operation import Read, operation
from docvault.api.routing.requests import ApiRequest
from docvault.api.routing.routes import IntegrationRoute
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
from docvault.domain.scopes import Scope
from docvault.schemas.events import EventPageRead
from docvault.services.events import EventQuery

router = APIRouter(route_class=IntegrationRoute, prefix="/v1/integration")


@router.get("/events", response_model=EventPageRead, summary="Follow the events")
@operation(
    Read(
        AuditAction.EVENT_LIST,
        scope=Scope.EVENTS_READ,
        errors=FEED_ERRORS,
        conditions=("If-None-Match",),
        in_transaction=False,
    )
)
async def integration_list_events(
    request: ApiRequest,
    after: AfterQuery = None,
    limit: EventLimitQuery = DEFAULT_EVENTS,
    types: TypesQuery = [],  # noqa: B006 - FastAPI copies defaults
    customer: EventCustomerQuery = None,
    wait: WaitQuery = 0,
) -> Response:
    """List the changes, oldest first.

    Every change has one event, in one order without gaps. To start, read with `after=latest`, list
    the customers, and then follow from `next_after`. A key gets the events that its other
    scopes allow: those of customers need `customers:read`, of documents `documents:read`, of types
    `types:read`, of gates and requirements `gate:read`.
    """
    return await event_page(request, EventQuery(after, types, customer, limit), wait)
