import json
import logging
import os
import time
from http import HTTPStatus
from typing import Any

import httpx
from docvault_client import (
    EventsExpiredError,
    ProblemError,
    WebhookVerificationError,
    create_integration_client,
    follow_events,
    integration,
    verify_webhook,
)
from docvault_client.integration import models
from docvault_client.integration.types import Response
from support import CREDENTIAL, CUSTOMER_ID, URL

client = create_integration_client(URL, CREDENTIAL)
read = integration.list_events.sync_detailed


def put(name: str) -> None:
    body = models.CustomerPut(name=name)
    integration.put_customer.sync(CUSTOMER_ID, client=client, body=body)


def read_on(after: str) -> tuple[list[str], str]:
    """Return the types of the next events, and where to read on."""
    for page in follow_events(read, client=client, after=after):
        if page.items or after == "latest":
            return [event.type_ for event in page.items], page.next_after
    raise AssertionError("the feed ended")


types, start = read_on("latest")
assert types == []
put("A. Bakker")
types, created = read_on(start)
assert "customer.created" in types
put("A. Visser")
types, _ = read_on(created)
assert types == ["customer.updated"]

busy = models.OverloadedProblem.from_dict(
    {
        "type": "urn:docvault:problem:overloaded",
        "title": "Overloaded",
        "status": 503,
        "code": "overloaded",
        "detail": "Later.",
        "errors": [],
        "instance": "urn:uuid:0193602e-5f3c-7b1a-9d0e-2f6c8a4b1d3e",
    }
)
failures: list[Any] = [
    Response(HTTPStatus.SERVICE_UNAVAILABLE, b"", {"retry-after": "2"}, busy),
    httpx.ConnectError("refused"),
    json.JSONDecodeError("no JSON", "<html>", 0),
]


def fail_at_first(**arguments: Any) -> Any:
    if not failures:
        return read(**arguments)
    failure = failures.pop(0)
    if isinstance(failure, Exception):
        raise failure
    return failure


class Reasons(logging.Handler):
    """Notes what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


reasons = Reasons()
logging.getLogger("docvault_client").addHandler(reasons)
begun = time.monotonic()
repeated = next(follow_events(fail_at_first, client=client, after=created))
assert len(repeated.items) == 1
# What the service has asked for, then pauses of 2 and 4 seconds.
assert time.monotonic() - begun >= 8
assert ["overloaded" in reasons.messages[0], "ConnectError" in reasons.messages[1]] == [True] * 2
assert len(reasons.messages) == 3


def refusal(after: str) -> ProblemError:
    try:
        next(follow_events(read, client=client, after=after))
    except ProblemError as error:
        return error
    raise AssertionError("not refused")


assert isinstance(refusal(f"{'0' * 32}-1"), EventsExpiredError)
invalid = refusal("nothing")
assert not isinstance(invalid, EventsExpiredError)
assert invalid.problem.code == "invalid-cursor"

for case in json.loads(os.environ["MESSAGES"]):
    body = case["body"].encode()
    for headers in (case["headers"], httpx.Headers(case["headers"])):
        try:
            found: object = verify_webhook(body, headers, case["secret"])
        except WebhookVerificationError as error:
            found = error
        if case["valid"]:
            assert found == json.loads(body), case["name"]
        else:
            assert isinstance(found, WebhookVerificationError), case["name"]
