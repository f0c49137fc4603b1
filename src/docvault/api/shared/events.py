"""The event feed, which staff and third parties share."""

import time
from dataclasses import replace
from functools import partial
from typing import Annotated

from fastapi import Query, Response

from docvault.api.http.responses import list_response
from docvault.api.routing.requests import ApiRequest
from docvault.domain.events import EventType
from docvault.errors import EventsExpired, InvalidCursor
from docvault.presenters.events import present_event_page
from docvault.services.events import LATEST, EventQuery, read_events, read_log

MAX_EVENTS = 500
DEFAULT_EVENTS = 100
MAX_WAIT_SECONDS = 25

FEED_ERRORS = (InvalidCursor, EventsExpired)

AfterQuery = Annotated[
    str | None,
    Query(
        max_length=100,
        description="The `next_after` of the previous page; the filters may differ. Without it, "
        f"reading starts at the oldest event. `{LATEST}` returns no events, only a `next_after`.",
        examples=["0197aa6c2f4e7d118b5f2c9d0e1f2a3b-18231"],
    ),
]
EventLimitQuery = Annotated[
    int, Query(ge=1, le=MAX_EVENTS, description="The maximum number of events.")
]
TypesQuery = Annotated[
    list[EventType],
    Query(max_length=len(EventType), description="Only events of these types; repeatable."),
]
EventCustomerQuery = Annotated[
    str | None,
    Query(min_length=1, max_length=128, description="Only events about this customer."),
]
WaitQuery = Annotated[
    int,
    Query(
        ge=0,
        le=MAX_WAIT_SECONDS,
        description="How many seconds to wait for an event if there are none.",
    ),
]


async def event_page(request: ApiRequest, query: EventQuery, wait: int) -> Response:
    """Return a page of events, and wait for one if there are none."""
    resources, read = request.resources, partial(read_log, request.resources)
    deadline = time.monotonic() + wait

    def is_stopping() -> bool:
        return getattr(request.app.state, "stopping", False)

    page = await read_events(resources, request.context, query)
    while not page.events and not page.has_more and query.after != LATEST:
        seconds = deadline - time.monotonic()
        if not await resources.event_poll.wait(read, page.next_after, seconds, is_stopping):
            break
        query = replace(query, after=str(page.next_after))
        page = await read_events(resources, request.context, query)
    return list_response(request, present_event_page(page, request.context))
