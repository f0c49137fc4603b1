"""Hours of load with a fault every half minute: nothing grows, nothing is lost (T39)."""

import asyncio
import itertools
import random
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from tests.fixtures.faultproxy import Faults
from tests.fixtures.s3proxy import S3Fault, S3Proxy
from tests.torture.deployments import Deployment, MakeDeployment
from tests.torture.figures import Figure, Size
from tests.torture.outages import POOL, Load, check_afterwards, load_on, stop_immediately
from tests.torture.raw_clients import RawConnection, download_request, server_process, settled

from docvault.embedded.postgres import EmbeddedPostgres

MEBIBYTE = 1024 * 1024
LARGEST = 64 * 1024
PAUSE_SECONDS = 0.4
ABORTS = 20
# Shorter than the shortest response.
LEFT_WITHIN_BYTES = 400
SAMPLE_SECONDS = 0.5
# The pool for requests, and the connections of the embedded worker.
CONNECTIONS = POOL + 10
BACK_SECONDS = 15

MEMORY = 512 * MEBIBYTE
# In a shorter run, caches and pools are still being filled.
SLOPE_FROM_SECONDS = 3600
MIB_IN_TEN_MINUTES = 1

pytestmark = pytest.mark.torture


@dataclass(slots=True)
class Soak:
    """A deployment under load, its faults, and its memory over time."""

    deployment: Deployment
    proxy: S3Proxy
    postgres: EmbeddedPostgres
    load: Load
    fault_seconds: float
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    happened: Counter[str] = field(default_factory=Counter)
    samples: list[tuple[float, int]] = field(default_factory=list)

    async def sample(self) -> None:
        """Record the server's memory until the load ends."""
        process = server_process(self.deployment)
        while not self.load.is_over:
            self.samples.append((time.monotonic(), process.memory_info().rss))
            await asyncio.sleep(SAMPLE_SECONDS)

    async def run(self, seconds: float) -> None:
        """Inject one fault after another, each for a third of its interval."""
        ends_at = time.monotonic() + seconds
        faults: tuple[tuple[str, Callable[[], Awaitable[None]]], ...] = (
            ("the store refused", lambda: self._faults(Faults(refuse=True))),
            ("the database died", self._database_dies),
            ("the store was silent", lambda: self._faults(Faults(blackhole=True))),
            ("clients hung up", self._clients_hang_up),
            ("the store was slow by a second", lambda: self._faults(Faults(latency_seconds=1))),
            ("the store failed one in ten times", self._store_fails),
        )
        for name, happen in itertools.cycle(faults):
            if time.monotonic() >= ends_at:
                return
            await happen()
            self.happened[name] += 1
            await asyncio.sleep(2 * self.fault_seconds)

    async def _faults(self, faults: Faults) -> None:
        self.proxy.faults = faults
        if faults.refuse:
            self.proxy.reset_all()
        await asyncio.sleep(self.fault_seconds)
        self.proxy.faults = Faults()

    async def _store_fails(self) -> None:
        self.proxy.choose = lambda *_: S3Fault.ERROR if self.chance.random() < 0.1 else None
        await asyncio.sleep(self.fault_seconds)
        self.proxy.heal()

    async def _database_dies(self) -> None:
        await asyncio.to_thread(stop_immediately, self.deployment)
        await asyncio.sleep(self.fault_seconds)
        await asyncio.to_thread(self.postgres.revive)

    async def _clients_hang_up(self) -> None:
        for _ in range(ABORTS):
            document = self.chance.choice(list(self.load.ledger.documents.values()))
            connection = await RawConnection.open(self.deployment)
            await connection.send(download_request(self.deployment, document.path).whole)
            await connection.read(self.chance.randrange(LEFT_WITHIN_BYTES))
            await connection.reset()


@pytest.mark.guarantee(
    "T39",
    promise="Under hours of load with one fault after another, the process keeps its memory size, "
    "its open files and every document.",
    tried="Eight clients upload, replace and delete, and four read, on an S3 store and a "
    "PostgreSQL dedicated to the test. In turn the store refuses connections, the database dies, "
    "the store is silent, clients disconnect, the store is slow, and it fails one request in ten; "
    "each fault lasts a third of the interval to the next. At the end everything is read back, "
    "and the store, the rows and the audit trail are compared.",
    not_shown="Weeks of operation; the growth of the database itself.",
)
async def test_resources_do_not_grow_and_nothing_is_lost(
    own_postgres: EmbeddedPostgres,
    s3_proxy: S3Proxy,
    make_deployment: MakeDeployment,
    size: Size,
    figures: dict[str, Figure],
) -> None:
    seconds = size.of(ci=3, full=7200)
    deployment = make_deployment(
        "s3", own=own_postgres, DOCVAULT_WORKER="embedded", DOCVAULT_S3_ENDPOINT_URL=s3_proxy.url
    )
    async with load_on(deployment, largest=LARGEST, pause=PAUSE_SECONDS) as load:
        soak = Soak(deployment, s3_proxy, own_postgres, load, 10 if size.is_full else 0.2)
        sampling = asyncio.create_task(soak.sample())
        await soak.run(seconds)
        await load.until_done(time.monotonic(), BACK_SECONDS)
    await sampling
    await load.client.aclose()
    files_at_rest = await settled(deployment, s3_proxy.port, None, pool=CONNECTIONS)
    deployment.connect_client()
    figures["seconds"] = seconds
    figures.update(soak.happened)
    load.report(figures)
    times, sizes = zip(*soak.samples[len(soak.samples) // 3 :], strict=True)
    slope = statistics.linear_regression(times, sizes).slope * 600 / MEBIBYTE
    figures["peak memory of the process, MiB"] = round(max(sizes) / MEBIBYTE)
    figures["growth after the first third, MiB per ten minutes"] = round(slope, 2)
    figures["open files when idle, outside the pools"] = files_at_rest
    await check_afterwards(deployment, load.ledger, figures)
    assert load.changes.broken_off == 0
    assert files_at_rest < 30
    assert max(sizes) < MEMORY
    if seconds >= SLOPE_FROM_SECONDS:
        assert slope < MIB_IN_TEN_MINUTES
