"""kill -9 of a worker at each step of sending a message to a webhook."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.factories.webhooks import make_webhook
from tests.fixtures.webhook_receiver import Receiver
from tests.torture.deployments import Deployment, MakeDeployment
from tests.torture.failpoints import DELIVERY, FAILURE, MESSAGE, SUCCESS

pytestmark = pytest.mark.torture

SECONDS = 60
ADD = """
    INSERT INTO events (id, type, data)
    VALUES (gen_random_uuid(), 'document_type.updated', '{"document_type": "a", "changed": []}')
    RETURNING id::text
"""
FIND = (
    "SELECT state, jsonb_array_length(attempts) FROM webhook_deliveries WHERE event_id::text = %s"
)
# The lease of the dead worker, or the wait after a failure, is over.
RELEASE = "UPDATE webhook_deliveries SET due_at = now() WHERE state = 'pending'"


@dataclass(frozen=True, slots=True)
class Death:
    """Where a worker dies, what is recorded then, and how often the message comes in all."""

    point: str
    before: bool
    recorded: tuple[str, int]
    messages: int
    # Of the receiver, to the first message.
    status: int = 204


DEATHS = {
    "claimed": Death(DELIVERY, before=True, recorded=("pending", 0), messages=1),
    "signed": Death(MESSAGE, before=True, recorded=("pending", 0), messages=1),
    "received": Death(MESSAGE, before=False, recorded=("pending", 0), messages=2),
    "success not recorded": Death(SUCCESS, before=True, recorded=("pending", 0), messages=2),
    "success recorded": Death(SUCCESS, before=False, recorded=("delivered", 1), messages=1),
    "refused": Death(MESSAGE, before=False, recorded=("pending", 0), messages=2, status=500),
    "failure not recorded": Death(
        FAILURE, before=True, recorded=("pending", 0), messages=2, status=500
    ),
    "failure recorded": Death(
        FAILURE, before=False, recorded=("pending", 1), messages=2, status=500
    ),
}


@pytest.fixture
async def deployment(
    make_deployment: MakeDeployment, receiver: Receiver
) -> AsyncIterator[Deployment]:
    """A deployment with a webhook and without a worker."""
    deployment = make_deployment(
        "filesystem",
        DOCVAULT_WORKER="external",
        DOCVAULT_WEBHOOK_ALLOWED_NETWORKS="127.0.0.0/8",
    )
    await make_webhook(deployment.start(), url=receiver.url)
    yield deployment
    await deployment.close_client()


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 - it looks at another process
            await asyncio.sleep(0.02)


def one_row(deployment: Deployment, statement: str, *values: Any) -> tuple[Any, ...] | None:
    with deployment.connect() as connection:
        return connection.execute(statement, values).fetchone()


@pytest.mark.req("B-245")
@pytest.mark.parametrize("name", DEATHS)
async def test_message_of_a_killed_worker_arrives(
    name: str, deployment: Deployment, receiver: Receiver, tmp_path: Path
) -> None:
    death, armed = DEATHS[name], tmp_path / "armed"
    receiver.set(death.status)
    armed.touch()
    added = one_row(deployment, ADD)
    assert added is not None
    worker = deployment.start_worker(
        {"armed": str(armed), "name": death.point, "call": 1, "before": death.before}
    )
    await wait_until(worker.has_ended)
    assert worker.was_killed()
    assert one_row(deployment, FIND, *added) == death.recorded
    receiver.set(204)
    with deployment.connect() as connection:
        connection.execute(RELEASE)
    # A second event shows that the next worker has dealt with all that was due.
    second = one_row(deployment, ADD)
    assert second is not None
    worker = deployment.start_worker()
    try:
        for event in (added, second):
            await wait_until(partial(is_delivered, deployment, *event))
    finally:
        worker.kill()
    assert [message.id for message in receiver.messages].count(added[0]) == death.messages


def is_delivered(deployment: Deployment, event_id: str) -> bool:
    """Whether the message about an event was received."""
    found = one_row(deployment, FIND, event_id)
    return found is not None and found[0] == "delivered"
