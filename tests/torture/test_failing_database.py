"""PostgreSQL dies, is unavailable or is blocked under load (T33, T34)."""

import asyncio
import time
from collections import Counter

import httpx
import pytest
from tests.torture.deployments import MakeDeployment
from tests.torture.figures import Figure, Size
from tests.torture.load import TYPES, make_types, register_customer
from tests.torture.outages import (
    POOL,
    Load,
    check_afterwards,
    connections,
    load_on,
    stop_immediately,
)

from docvault.embedded.postgres import EmbeddedPostgres

HEALTHY_SECONDS = 0.5
BACK_WITHIN_SECONDS = 5
# The time to wait for a connection and for a lock, with a margin for a busy machine.
REFUSED_WITHIN_SECONDS = 12
LIVE_WITHIN_SECONDS = 1

pytestmark = pytest.mark.torture


@pytest.mark.guarantee(
    "T33",
    promise="A database that dies under load causes rejections only: nothing acknowledged is "
    "lost, and the service recovers by itself.",
    tried="Eight clients upload, replace and delete, and four read, while PostgreSQL is "
    "repeatedly ended with SIGQUIT and restarted, the last time after a pause. Every rejection "
    "must be 503 with `Retry-After`. Afterwards the connections to PostgreSQL are counted, "
    "everything is read back, and the store, the rows and the audit trail are compared.",
    not_shown="A failover to another server with a different address or state.",
)
async def test_dying_database_causes_only_rejections(
    own_postgres: EmbeddedPostgres,
    make_deployment: MakeDeployment,
    size: Size,
    figures: dict[str, Figure],
) -> None:
    deployment = make_deployment("filesystem", own=own_postgres, DOCVAULT_WORKER="external")
    restarts, outage_seconds = size.of(ci=2, full=20), size.of(ci=1, full=30)
    slowest = 0.0
    async with load_on(deployment) as load:
        for number in range(1, restarts + 1):
            await asyncio.sleep(HEALTHY_SECONDS)
            await asyncio.to_thread(stop_immediately, deployment)
            await asyncio.sleep(outage_seconds if number == restarts else 0)
            await asyncio.to_thread(own_postgres.revive)
            slowest = max(slowest, await recovery(load))
        held = connections(deployment)
    figures["kills of PostgreSQL"] = restarts
    figures["duration of the last outage, seconds"] = outage_seconds
    figures["slowest recovery, seconds"] = round(slowest, 2)
    figures["connections afterwards"] = held
    load.report(figures)
    await check_afterwards(deployment, load.ledger, figures)
    assert load.changes.refused_at
    assert load.changes.broken_off == 0
    assert slowest < BACK_WITHIN_SECONDS
    assert held <= POOL


async def recovery(load: Load) -> float:
    """Return for how long requests are still rejected."""
    back_at = time.monotonic()
    await load.until_done(back_at, BACK_WITHIN_SECONDS)
    await asyncio.sleep(HEALTHY_SECONDS)
    return load.changes.recovered_after(back_at)


@pytest.mark.guarantee(
    "T34",
    promise="When the database is blocked, requests are rejected in time and the process stays "
    "alive.",
    tried="A table that every upload and every list needs is locked, and three times as many "
    "clients send requests as the pool has connections: the first wait for the lock, the others "
    "for a connection. `/livez` is probed throughout. Then the lock is released.",
    not_shown="A server that responds to each statement slowly but in time.",
)
async def test_locked_table_and_exhausted_pool_are_rejected_in_time(
    make_deployment: MakeDeployment, size: Size, figures: dict[str, Figure]
) -> None:
    deployment = make_deployment("filesystem", DOCVAULT_WORKER="external")
    client = deployment.start()
    await make_types(client)
    await register_customer(client, "c-1")
    statuses, alive = Counter[int](), list[float]()
    slowest = 0.0
    rounds = size.of(ci=1, full=10)
    for _ in range(rounds):
        with deployment.connect() as holder, holder.transaction():
            holder.execute("LOCK TABLE documents IN ACCESS EXCLUSIVE MODE")
            watching = asyncio.create_task(stay_alive(client, alive))
            responses = await asyncio.gather(*(ask(client, n) for n in range(3 * POOL)))
            watching.cancel()
        statuses.update(response.status_code for response in responses)
        slowest = max(slowest, *(response.elapsed.total_seconds() for response in responses))
        assert all(int(response.headers["retry-after"]) > 0 for response in responses)
        healed = await asyncio.gather(*(ask(client, n) for n in range(POOL)))
        assert {response.status_code for response in healed} <= {200, 201}
    figures["locks"] = rounds
    figures["requests rejected with 503"] = statuses[503]
    figures["slowest rejection, seconds"] = round(slowest, 2)
    figures["liveness probes during the lock"] = len(alive)
    figures["slowest liveness probe, seconds"] = round(max(alive), 3)
    figures["connections afterwards"] = connections(deployment)
    assert set(statuses) == {503}
    assert slowest < REFUSED_WITHIN_SECONDS
    assert max(alive) < LIVE_WITHIN_SECONDS
    assert connections(deployment) <= POOL


async def ask(client: httpx.AsyncClient, number: int) -> httpx.Response:
    """Upload, or read a list."""
    path = "/v1/admin/customers/c-1/documents"
    if number % 2:
        return await client.get(path)
    part = ("a.txt", f"{number}\n".encode())
    return await client.put(f"{path}/{TYPES[number % len(TYPES)]}", files={"file": part})


async def stay_alive(client: httpx.AsyncClient, seconds: list[float]) -> None:
    """Probe /livez until cancelled."""
    while True:
        response = await client.get("/livez")
        assert response.status_code == 200
        seconds.append(response.elapsed.total_seconds())
        await asyncio.sleep(0.05)
