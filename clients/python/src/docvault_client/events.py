"""The event feed, page by page and without end."""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import ParamSpec, Protocol, TypeVar

import httpx

from docvault_client.admin.errors import UnexpectedStatus as UnexpectedAdminStatus
from docvault_client.integration.errors import UnexpectedStatus as UnexpectedIntegrationStatus
from docvault_client.pages import Problem, ProblemError

WAIT_SECONDS = 25
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0

Event_co = TypeVar("Event_co", covariant=True)
Event = TypeVar("Event")
Parsed_co = TypeVar("Parsed_co", covariant=True)
Parameters = ParamSpec("Parameters")

logger = logging.getLogger(__name__)


class EventPage(Protocol[Event_co]):
    """A page of the event feed."""

    @property
    def items(self) -> Sequence[Event_co]:
        """The events, oldest first; a page can have none."""

    @property
    def next_after(self) -> str:
        """Where to read on."""


class Detailed(Protocol[Parsed_co]):
    """What `sync_detailed` of an operation returns."""

    @property
    def status_code(self) -> HTTPStatus:
        """The status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The header fields."""

    @property
    def parsed(self) -> Parsed_co | None:
        """The body."""


class EventsExpiredError(ProblemError):
    """The events after a position no longer exist, or a restored database has begun a new log.

    Read everything once more, and follow from there.
    """


class _Interrupted(Exception):
    """The request may succeed later."""

    def __init__(self, reason: str, wait_seconds: float = 0) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


def follow_events(
    operation: Callable[Parameters, Detailed[EventPage[Event] | Problem]],
    *args: Parameters.args,
    **kwargs: Parameters.kwargs,
) -> Iterator[EventPage[Event]]:
    """Yield the pages of the feed without end, also pages without events.

    `follow_events(integration.list_events.sync_detailed, client=client, after=kept)`: keep
    `next_after` of each page once its events are dealt with, and begin with it after a restart.
    Requests that fail for a time are repeated, and logged as warnings.

    Raises:
        EventsExpiredError: The events after this position no longer exist.
        ProblemError: The service has refused the request.
    """
    pause = FIRST_PAUSE_SECONDS
    kwargs.setdefault("wait", WAIT_SECONDS)
    while True:
        try:
            page = _read(lambda: operation(*args, **kwargs))
        except _Interrupted as reason:
            seconds = max(pause, reason.wait_seconds)
            logger.warning("the event feed is read again in %g s: %s", seconds, reason)
            time.sleep(seconds)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            continue
        pause = FIRST_PAUSE_SECONDS
        yield page
        kwargs["after"] = page.next_after


def _read(
    operation: Callable[[], Detailed[EventPage[Event] | Problem]],
) -> EventPage[Event]:
    try:
        response = operation()
    except httpx.TransportError as error:
        raise _Interrupted(f"{type(error).__name__} {error}") from error
    except (UnexpectedAdminStatus, UnexpectedIntegrationStatus) as error:
        if error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
            raise
        raise _Interrupted(f"HTTP status {error.status_code}") from error
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError) as error:
        # Such as the page of a proxy. Any other `ValueError` says that this package is outdated.
        raise _Interrupted("the response is not that of docvault") from error
    parsed = response.parsed
    if parsed is None:
        raise _Interrupted("the response is not that of docvault")
    if not isinstance(parsed, Problem):
        return parsed
    if response.status_code == HTTPStatus.GONE:
        raise EventsExpiredError(parsed)
    is_overloaded = response.status_code == HTTPStatus.TOO_MANY_REQUESTS
    if is_overloaded or response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise _Interrupted(parsed.code, _seconds(response.headers.get("retry-after", "")))
    raise ProblemError(parsed)


def _seconds(text: str) -> float:
    return float(text) if text.isdecimal() else 0
