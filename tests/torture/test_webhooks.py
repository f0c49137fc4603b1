"""Webhooks whose receivers misbehave, from workers that are killed (T72)."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from tests.factories.webhooks import WEBHOOKS, make_webhook, verify
from tests.fixtures.webhook_receiver import Answer, Message, running_receiver
from tests.fixtures.webhook_receiver import Receiver as Server
from tests.torture.deployments import Deployment, MakeDeployment
from tests.torture.figures import Figure, Size

pytestmark = pytest.mark.torture

SECONDS = 1_200
# Messages that a receiver holds until the sender gives up, fifteen seconds later.
HUNG = 3
GONE = Answer(410)
ADD = """
    INSERT INTO events (id, type, data)
    SELECT gen_random_uuid(), 'document_type.updated',
        jsonb_build_object('document_type', 'type-' || number, 'changed', '[]'::jsonb)
    FROM generate_series(1, %s) AS number
"""
# The time of waits of over a minute, which no lease has, is over.
SHORTEN = """
    UPDATE webhook_deliveries SET due_at = now()
    WHERE state = 'pending' AND due_at > now() + interval '61 seconds'
"""
# The leases of a worker that is dead are over.
RELEASE = "UPDATE webhook_deliveries SET due_at = now() WHERE state = 'pending'"
STATES = "SELECT state, count(*) FROM webhook_deliveries GROUP BY state"


def first_time(answer: Answer) -> Callable[[bool], Answer | None]:
    """Return a behavior that gives this answer to each message once."""
    return lambda is_first: answer if is_first else None


def sometimes(answer: Answer, share: float) -> Callable[[bool], Answer | None]:
    """Return a behavior that gives this answer to a share of all messages."""
    chance = random.Random(0)
    return lambda is_first: answer if is_first and chance.random() < share else None


def limited(answer: Answer, times: int) -> Callable[[bool], Answer | None]:
    """Return a behavior that gives this answer so often, then no more."""
    left = iter(range(times))
    return lambda _: answer if next(left, None) is not None else None


# What receivers do instead of accepting a message.
BEHAVIORS: dict[str, Callable[[], Callable[[bool], Answer | None]]] = {
    "accepts": lambda: lambda _: None,
    "is killed": lambda: lambda _: None,
    "fails": lambda: first_time(Answer(500)),
    "fails sometimes": lambda: sometimes(Answer(503), 0.3),
    "is busy": lambda: sometimes(Answer(429, {"Retry-After": "3"}), 0.3),
    "refuses": lambda: sometimes(Answer(404), 0.3),
    "redirects": lambda: first_time(Answer(307, {"Location": "/elsewhere"})),
    "resets": lambda: first_time(Answer(resets=True)),
    "hangs": lambda: limited(Answer(hangs=True), HUNG),
    "is gone": lambda: lambda _: GONE,
}


@dataclass(slots=True)
class Receiver:
    """A receiver and what it has accepted."""

    server: Server
    behavior: Callable[[bool], Answer | None]
    webhook: dict[str, Any] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    accepted: Counter[str] = field(default_factory=Counter)
    forged: int = 0

    def answer(self, message: Message) -> Answer:
        """Verify a message and respond."""
        try:
            verify(self.webhook["secret"], message)
        except Exception:  # noqa: BLE001 - each kind of failure counts
            self.forged += 1
        is_first = message.id not in self.seen
        self.seen.add(message.id)
        answer = self.behavior(is_first)
        if answer is not None:
            return answer
        self.accepted[message.id] += 1
        return Answer()


class Workers:
    """Workers, of which one at a time runs and is killed."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self.killed = 0

    async def kill(self, times: int, after_each: Callable[[int], Any]) -> None:
        """Start a worker and kill it soon, again and again."""
        chance = random.Random(1)
        for number in range(times):
            worker = self._deployment.start_worker()
            await asyncio.sleep(0.5 + chance.random())
            worker.kill()
            self.killed += 1
            await after_each(number)
            self.execute(RELEASE)

    async def finish(self) -> Counter[str]:
        """Let a worker run until nothing is pending; return the number of each state."""
        worker = self._deployment.start_worker()
        try:
            async with asyncio.timeout(SECONDS):
                while (states := self.states())["pending"] or not states:
                    self.execute(SHORTEN)
                    await asyncio.sleep(1)
        finally:
            worker.kill()
        return states

    def states(self) -> Counter[str]:
        """Return how many deliveries are in which state; `pending` while events wait too."""
        with self._deployment.connect() as connection:
            states = Counter(dict(connection.execute(STATES).fetchall()))
            waiting = "SELECT count(*) FROM events WHERE position IS NULL"
            row = connection.execute(waiting).fetchone()
            assert row is not None
            states["pending"] += row[0]
        return states

    def execute(self, statement: str) -> None:
        with self._deployment.connect() as connection:
            connection.execute(statement)


async def replay_gone(admin: httpx.AsyncClient, receiver: Receiver, start: str) -> int:
    """Enable the webhook whose receiver is back, and replay what it has missed."""
    receiver.behavior = lambda _: None
    path = f"{WEBHOOKS}/{receiver.webhook['id']}"
    found = (await admin.get(path)).json()
    assert (found["enabled"], found["disabled_reason"]) == (False, "gone")
    assert (await admin.patch(path, json={"enabled": True})).status_code == 200
    response = await admin.post(f"{path}/replay", json={"after": start})
    assert response.status_code == 202, response.text
    replayed: int = response.json()["deliveries"]
    return replayed


def signings() -> Iterator[str]:
    """Yield both kinds of signing in turn."""
    while True:
        yield from ("hmac", "ed25519")


@pytest.mark.req("B-245")
@pytest.mark.guarantee(
    "T72",
    promise="Each event reaches each webhook at least once, whatever receivers do and whichever"
    " process is killed; every message is signed.",
    tried="Ten webhooks, five with each kind of signature. Their receivers accept messages, or"
    " first fail, redirect, close the connection, ask to wait, do not respond, respond with 410,"
    " or are killed and started again. Workers are killed with SIGKILL while they send. What was"
    " disabled by the 410 is enabled and replayed. Each receiver verifies every message and is"
    " compared with the events.",
    not_shown="Waits of over a minute and the ends of leases of killed workers, which the test"
    " skips; receivers on other machines.",
)
async def test_each_event_reaches_each_webhook(
    make_deployment: MakeDeployment, size: Size, figures: dict[str, Figure]
) -> None:
    events = size.of(ci=30, full=1_000)
    deployment = make_deployment(
        "filesystem",
        DOCVAULT_WORKER="external",
        DOCVAULT_WEBHOOK_ALLOWED_NETWORKS="127.0.0.0/8",
    )
    admin, workers = deployment.start(), Workers(deployment)
    async with AsyncExitStack() as stack:
        receivers: dict[str, Receiver] = {}
        for (name, behavior), signing in zip(BEHAVIORS.items(), signings(), strict=False):
            server = await stack.enter_async_context(running_receiver())
            receiver = receivers[name] = Receiver(server, behavior())
            receiver.webhook = await make_webhook(admin, url=server.url, signing=signing)
            server.answer = receiver.answer
        start = (await admin.get("/v1/admin/events?after=latest")).json()["next_after"]
        killed = receivers["is killed"].server

        async def kill_receiver(number: int) -> None:
            await (killed.start() if number % 2 else killed.stop())

        with deployment.connect() as connection:
            connection.execute(ADD, [events])
        await workers.kill(size.of(ci=4, full=50) // 2 * 2, kill_receiver)
        await workers.finish()
        replayed = await replay_gone(admin, receivers["is gone"], start)
        states = await workers.finish()
        wanted = await event_ids(admin, start)
    lost = sum(len(wanted - one.accepted.keys()) for one in receivers.values())
    # Also the event that the webhook was disabled, which it does not get itself.
    figures["events"] = events
    figures["webhooks"] = len(receivers)
    figures["deliveries"] = states.total()
    figures["workers killed"] = workers.killed
    figures["messages"] = sum(len(one.server.messages) for one in receivers.values())
    figures["repeated after they were accepted"] = sum(
        one.accepted.total() - len(one.accepted) for one in receivers.values()
    )
    figures["replayed"] = replayed
    figures["invalid signatures"] = sum(one.forged for one in receivers.values())
    figures["lost"] = lost
    assert (figures["invalid signatures"], lost) == (0, 0)
    assert states.keys() - {"pending"} == {"delivered"}
    assert len(wanted) >= events


async def event_ids(admin: httpx.AsyncClient, start: str) -> set[str]:
    """Return the ids of all events after a cursor."""
    ids: set[str] = set()
    while True:
        page = (await admin.get("/v1/admin/events", params={"after": start, "limit": 500})).json()
        ids |= {event["id"] for event in page["items"]}
        if not page["has_more"]:
            return ids
        start = page["next_after"]
