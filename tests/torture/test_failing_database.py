"""PostgreSQL dies, is away, or does not get on while clients go on (T33, T34)."""

import asyncio
import time
from collections import Counter

import httpx
import pytest
from tests.torture.deployments import MakeDeployment
from tests.torture.figures import Figure, Size
from tests.torture.load import TYPES, make_known, make_types
from tests.torture.outages import POOL, Load, check_afterwards, connections, end_at_once, load_on

from docvault.embedded.postgres import EmbeddedPostgres

HEALTHY_SECONDS = 0.5
BACK_WITHIN_SECONDS = 5
# Waiting for a connection, then for a lock, and a busy machine.
REFUSED_WITHIN_SECONDS = 12
LIVE_WITHIN_SECONDS = 1

pytestmark = pytest.mark.torture


@pytest.mark.guarantee(
    "T33",
    promise="A database that dies under load costs refusals: nothing acknowledged is lost, and the "
    "service recovers by itself.",
    tried="Eight clients upload, replace and delete, and four read, while PostgreSQL is ended at "
    "once (SIGQUIT) again and again and started anew, the last time after a while. Every refusal "
    "has to be 503 with `Retry-After`. Then PostgreSQL is asked how many connections it has, "
    "everything is read back, and store, rows and audit trail are compared.",
    not_shown="Failing over to another server, whose address or state differs.",
)
async def test_a_database_that_dies_under_load_costs_refusals_alone(
    own_postgres: EmbeddedPostgres,
    make_deployment: MakeDeployment,
    size: Size,
    figures: dict[str, Figure],
) -> None:
    deployment = make_deployment("filesystem", own=own_postgres, DOCVAULT_WORKER="separate")
    restarts, away = size.of(ci=2, full=20), size.of(ci=1, full=30)
    slowest = 0.0
    async with load_on(deployment) as load:
        for number in range(1, restarts + 1):
            await asyncio.sleep(HEALTHY_SECONDS)
            await asyncio.to_thread(end_at_once, deployment)
            await asyncio.sleep(away if number == restarts else 0)
            await asyncio.to_thread(own_postgres.revive)
            slowest = max(slowest, await recovery(load))
        held = connections(deployment)
    figures["times PostgreSQL was ended"] = restarts
    figures["seconds without it, the last time"] = away
    figures["slowest recovery, seconds"] = round(slowest, 2)
    figures["connections afterwards"] = held
    load.report(figures)
    await check_afterwards(deployment, load.ledger, figures)
    assert load.changes.refused_at
    assert load.changes.broken_off == 0
    assert slowest < BACK_WITHIN_SECONDS
    assert held <= POOL


async def recovery(load: Load) -> float:
    """Return how long after now requests go on being refused."""
    back_at = time.monotonic()
    await load.until_done(back_at, BACK_WITHIN_SECONDS)
    await asyncio.sleep(HEALTHY_SECONDS)
    return load.changes.recovered_after(back_at)


@pytest.mark.guarantee(
    "T34",
    promise="When the database does not get on, requests are refused in time and the process stays "
    "alive.",
    tried="A table that every upload and every list needs is locked, and three times as many "
    "clients come as the pool has connections: the first wait for the lock, the others for a "
    "connection. `/livez` is asked all the time. Then the lock is gone.",
    not_shown="A server that answers each statement late but in time.",
)
async def test_a_locked_table_and_an_exhausted_pool_are_refused_in_time(
    make_deployment: MakeDeployment, size: Size, figures: dict[str, Figure]
) -> None:
    deployment = make_deployment("filesystem", DOCVAULT_WORKER="separate")
    client = deployment.start()
    await make_types(client)
    await make_known(client, "c-1")
    statuses, alive = Counter[int](), list[float]()
    slowest = 0.0
    rounds = size.of(ci=1, full=10)
    for _ in range(rounds):
        with deployment.connect() as holder, holder.transaction():
            holder.execute("LOCK TABLE documents IN ACCESS EXCLUSIVE MODE")
            watching = asyncio.create_task(stay_alive(client, alive))
            answers = await asyncio.gather(*(ask(client, n) for n in range(3 * POOL)))
            watching.cancel()
        statuses.update(answer.status_code for answer in answers)
        slowest = max(slowest, *(answer.elapsed.total_seconds() for answer in answers))
        assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
        healed = await asyncio.gather(*(ask(client, n) for n in range(POOL)))
        assert {answer.status_code for answer in healed} <= {200, 201}
    figures["times locked"] = rounds
    figures["requests refused with 503"] = statuses[503]
    figures["slowest refusal, seconds"] = round(slowest, 2)
    figures["liveness asked meanwhile"] = len(alive)
    figures["slowest liveness, seconds"] = round(max(alive), 3)
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
    """Ask for liveness until cancelled."""
    while True:
        answer = await client.get("/livez")
        assert answer.status_code == 200
        seconds.append(answer.elapsed.total_seconds())
        await asyncio.sleep(0.05)
