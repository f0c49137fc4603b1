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
from tests.torture.outages import POOL, Load, check_afterwards, end_at_once, load_on
from tests.torture.raw_clients import (
    RawConnection,
    download_request,
    server_process,
    settled,
)

from docvault.embedded.postgres import EmbeddedPostgres

MEBIBYTE = 1024 * 1024
LARGEST = 64 * 1024
PAUSE_SECONDS = 0.4
ABORTS = 20
# Less than the shortest answer, which would be waited for.
LEFT_WITHIN_BYTES = 400
SAMPLE_SECONDS = 0.5
# The pool of the requests, and what the worker inside has of its own.
CONNECTIONS = POOL + 10
BACK_SECONDS = 15

MEMORY = 512 * MEBIBYTE
# Memory is still taken for the first time in a shorter run.
SLOPE_FROM_SECONDS = 3600
MIB_IN_TEN_MINUTES = 1

pytestmark = pytest.mark.torture


@dataclass(slots=True)
class Soak:
    """A deployment under load, its faults, and its size over time."""

    deployment: Deployment
    proxy: S3Proxy
    postgres: EmbeddedPostgres
    load: Load
    fault_seconds: float
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    happened: Counter[str] = field(default_factory=Counter)
    samples: list[tuple[float, int]] = field(default_factory=list)

    async def sample(self) -> None:
        """Note the server's size until the load is over."""
        process = server_process(self.deployment)
        while not self.load.is_over:
            self.samples.append((time.monotonic(), process.memory_info().rss))
            await asyncio.sleep(SAMPLE_SECONDS)

    async def run(self, seconds: float) -> None:
        """Let one fault follow the other, each for a third of its time."""
        ends_at = time.monotonic() + seconds
        faults: tuple[tuple[str, Callable[[], Awaitable[None]]], ...] = (
            ("the store refused", lambda: self._faults(Faults(refuse=True))),
            ("the database died", self._database_dies),
            ("the store was silent", lambda: self._faults(Faults(blackhole=True))),
            ("clients hung up", self._clients_hang_up),
            ("the store was a second late", lambda: self._faults(Faults(latency_seconds=1))),
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
        await asyncio.to_thread(end_at_once, self.deployment)
        await asyncio.sleep(self.fault_seconds)
        await asyncio.to_thread(self.postgres.revive)

    async def _clients_hang_up(self) -> None:
        for _ in range(ABORTS):
            slot = self.chance.choice(list(self.load.ledger.slots.values()))
            connection = await RawConnection.open(self.deployment)
            await connection.send(download_request(self.deployment, slot.path).whole)
            await connection.read(self.chance.randrange(LEFT_WITHIN_BYTES))
            await connection.reset()


@pytest.mark.guarantee(
    "T39",
    promise="Under hours of load and one fault after the other, the process keeps its size, its "
    "open files and every document.",
    tried="Eight clients upload, replace and delete, and four read, on an S3 store and a "
    "PostgreSQL of the test's own. By turns the store refuses, the database dies, the store is "
