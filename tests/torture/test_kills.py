"""kill -9 at any moment under load: nothing acknowledged is lost, no stray data remains (T01)."""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from tests.torture.deployments import Deployment, MakeDeployment, embedded_deployment
from tests.torture.figures import Figure, Size
from tests.torture.load import Writer, make_types, start_writers
from tests.torture.model import KINDS, Findings, Ledger, check_audit, check_store, is_idle
from tests.torture.processes import ForkServer

WRITERS = 8
CHECK_EVERY = 5
IDLE_SECONDS = 60

pytestmark = pytest.mark.torture


async def becomes_idle(deployment: Deployment) -> None:
    """Wait until the worker and the reaper are idle."""
    deadline = time.monotonic() + IDLE_SECONDS
    with deployment.connect() as connection:
        while not is_idle(connection):
            assert time.monotonic() < deadline, "the worker did not become idle"
            await asyncio.sleep(0.02)


async def check_invariant(deployment: Deployment, ledger: Ledger, findings: Findings) -> None:
    """Check every invariant once the service is idle."""
    await becomes_idle(deployment)
    with deployment.connect() as connection:
        check_store(connection, deployment.list_keys(), findings)
        check_audit(connection, ledger, findings)
    assert not findings, "\n".join(findings.details[:20])


class KillLoop:
    """Loads a deployment and kills it repeatedly."""

    def __init__(self, deployment: Deployment, kill: Callable[[int], None]) -> None:
        self._deployment = deployment
        self._kill = kill
        self._ledger = Ledger()
        self._findings = Findings()
        self._kills = 0
        self._writers = [Writer(f"w{n}", self._ledger, n) for n in range(WRITERS)]

    async def run(self, kills: int) -> None:
        """Kill it `kills` times, then read everything back."""
        client = self._deployment.start()
        await make_types(client)
        chance = random.Random(0)
        for self._kills in range(1, kills + 1):
            load = start_writers(self._writers, client)
            await asyncio.sleep(chance.uniform(0.05, 1))
            self._kill(self._kills)
            await load
            await self._deployment.close_client()
            client = self._deployment.start()
            self._deployment.wait_for_dead_clients()
            await self._ledger.settle(client)
            touched = itertools.chain.from_iterable(w.touched for w in self._writers)
            documents = {document.path: document for document in touched}.values()
            await self._ledger.check_documents(client, self._findings, documents)
            if self._kills % CHECK_EVERY == 0 or self._kills == kills:
                await check_invariant(self._deployment, self._ledger, self._findings)
        await self._ledger.check_documents(client, self._findings)

    def report(self, figures: dict[str, Figure]) -> None:
        """Record the figures; fail on any violation."""
        ledger, findings = self._ledger, self._findings
        figures["kills"] = self._kills
        for name in ("uploads", "replacements", "deletions"):
            figures[f"acknowledged {name}"] = ledger.acknowledged[name]
        figures["no response, applied"] = ledger.settled["applied"]
        figures["no response, not applied"] = ledger.settled["not applied"]
        figures.update({kind: findings.counts[kind] for kind in KINDS})
        assert not findings, "\n".join(findings.details[:20])


@pytest.mark.guarantee(
    "T01",
    promise="A killed process loses nothing it acknowledged and leaves no stray data behind.",
    tried="Eight clients upload (60 %, 1 KiB to 5 MiB), replace (15 %) and delete (25 %) while "
    "`docvault serve` and its embedded worker receive SIGKILL at a random moment within a second "
    "and are restarted. Operations without a response count as applied or not according to what "
    "the service reports after the restart. After each kill the documents touched are read back; "
    "after every fifth kill the store, the rows and the audit trail are compared once the worker "
    "is idle; at the end everything is read back.",
    not_shown="Power loss: the database and the store keep running.",
)
@pytest.mark.parametrize("store", ["filesystem", "s3"])
async def test_killed_server_loses_nothing(
    store: str, make_deployment: MakeDeployment, size: Size, figures: dict[str, Figure]
) -> None:
    deployment = make_deployment(store, DOCVAULT_WORKER="embedded")
    test = KillLoop(deployment, lambda _: deployment.kill_process())
    await test.run(size.of(ci=5, full=1000))
    test.report(figures)


@pytest.mark.guarantee(
    "T01",
    promise="The same holds when docvault runs its own PostgreSQL.",
    tried="The same load on `docvault serve` without settings. Every second kill also ends all "
    "PostgreSQL processes; after the other kills PostgreSQL keeps running and the next process "
    "takes it over.",
    not_shown="Power loss, as above.",
)
async def test_killed_server_with_embedded_database_loses_nothing(
    make_embedded: Callable[[], Deployment], size: Size, figures: dict[str, Figure]
) -> None:
    deployment = make_embedded()

    def kill(number: int) -> None:
        deployment.kill_process()
        if number % 2:
            kill_postgres(deployment.data_dir)

    test = KillLoop(deployment, kill)
    await test.run(size.of(ci=3, full=100))
    test.report(figures)


@pytest.fixture
async def make_embedded(
    fork_server: ForkServer, data_dir: Path
) -> AsyncIterator[Callable[[], Deployment]]:
    """Create a deployment in embedded mode."""
    deployment = embedded_deployment(fork_server, data_dir)
    yield lambda: deployment
    deployment.kill_process()
    await deployment.close_client()
    kill_postgres(deployment.data_dir)


def kill_postgres(data_dir: Path) -> None:
    """Kill every process of the embedded PostgreSQL at once."""
    pid = int((data_dir / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
    with suppress(psutil.NoSuchProcess):
        postmaster = psutil.Process(pid)
        for process in [postmaster, *postmaster.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
