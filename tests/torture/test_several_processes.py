"""Two API processes and two workers on one database and bucket, killed in turn under load."""

import asyncio
import dataclasses
import itertools
import random
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx
import pytest
from tests.factories.previews import MAKE_OVERDUE
from tests.torture.deployments import Deployment, MakeDeployment
from tests.torture.figures import Figure, Size
from tests.torture.load import Writer, make_types, start_writers
from tests.torture.model import KINDS, Findings, Ledger, check_audit, check_store, is_idle
from tests.torture.processes import DocvaultProcess
from tests.torture.settling import settler_of

WRITERS = 2
# Changes per client after a kill. Reading all of them back would take longer each time, because
# the clients of the other process keep writing.
READ_BACK = 30
IDLE_SECONDS = 120
DYING_SECONDS = 30

pytestmark = pytest.mark.torture


@dataclass(slots=True)
class ApiProcess:
    """One API process, with its own clients."""

    name: str
    deployment: Deployment
    ledger: Ledger = field(default_factory=Ledger)
    writers: list[Writer] = field(default_factory=list)
    load: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, name: str, deployment: Deployment) -> "ApiProcess":
        """Return a process that shares the deployment with others."""
        url = f"{deployment.database_url}&application_name={name}"
        own = {**deployment.environment, "DOCVAULT_DATABASE_URL": url}
        made = cls(name, dataclasses.replace(deployment, environment=own))
        made.writers = [Writer(f"{name}-{n}", made.ledger, n) for n in range(WRITERS)]
        return made

    @property
    def client(self) -> httpx.AsyncClient:
        """A client of this process."""
        assert self.deployment.client is not None
        return self.deployment.client

    def start_load(self) -> None:
        """Start its clients."""
        self.load = start_writers(self.writers, self.client)

    async def kill_and_start(self) -> None:
        """Kill it under load, restart it, and settle the changes without a response."""
        self.deployment.kill_process()
        assert self.load is not None
        await self.load
        await self.deployment.close_client()
        killed_at = time.time()
        self.deployment.start()
        await self._wait_for_statements(killed_at)
        await self.ledger.settle(self.client)

    async def _wait_for_statements(self, killed_at: float) -> None:
        """Wait until the database has finished the statements of the killed process."""
        left = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = %s AND backend_start < to_timestamp(%s)"
        )
        deadline = time.monotonic() + DYING_SECONDS
        with self.deployment.connect() as connection:
            while connection.execute(left, [self.name, killed_at]).fetchone() != (0,):
                assert time.monotonic() < deadline, "the backend of a dead client is still running"
                await asyncio.sleep(0.01)


class Reader:
    """Reads lists and documents from each process in turn, whichever process wrote them."""

    def __init__(self, processes: list[ApiProcess]) -> None:
        self._processes = processes
        self.responses: Counter[str] = Counter()

    async def run(self) -> None:
        """Read until cancelled."""
        for process, owner in itertools.cycle(itertools.product(self._processes, repeat=2)):
            for document in random.Random(len(owner.ledger.documents)).sample(
                list(owner.ledger.documents.values()), min(3, len(owner.ledger.documents))
            ):
                await self._get(
                    process, f"/v1/admin/customers/{document.customer}/documents", {200}
                )
                await self._get(process, f"{document.path}/content", {200, 404})
            await self._get(process, "/v1/admin/customers?has_documents=true", {200})

    async def _get(self, process: ApiProcess, path: str, expected: set[int]) -> None:
        try:
            response = await process.client.get(path)
        except (httpx.TransportError, RuntimeError, AssertionError):
            # The process was just killed; its next client does not exist yet.
            self.responses["none"] += 1
            await asyncio.sleep(0.05)
            return
        assert response.status_code in expected, (path, response.status_code, response.text)
        self.responses["expected"] += 1


class KillLoop:
    """Loads both, and kills one of each kind in turn while the others continue."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._apis = [ApiProcess.of(f"api-{n}", deployment) for n in (1, 2)]
        self._workers: list[DocvaultProcess] = []
        self._reader = Reader(self._apis)
        self._findings = Findings()
        self._kills = 0
        self._seconds = 0.0

    async def run(self, rounds: int) -> None:
        """Kill `rounds` times, then wait until everything is idle and compare everything."""
        began = time.monotonic()
        await self._start()
        chance = random.Random(0)
        reading = asyncio.create_task(self._reader.run())
        for number in range(rounds):
            await asyncio.sleep(chance.uniform(0.05, 1))
            await self._kill_one_of_each(number % 2)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        if not reading.cancelled():
            raise AssertionError(f"a reader failed: {reading.exception()}")
        for index in (0, 1):
            await self._kill_one_of_each(index, goes_on=False)
        self._seconds = time.monotonic() - began
        await self._wait_until_idle()
        await self._compare()

    async def _start(self) -> None:
        for api in self._apis:
            api.deployment.start()
        await make_types(self._apis[0].client)
        self._workers = [self._deployment.start_worker() for _ in self._apis]
        for api in self._apis:
            api.start_load()

    async def _kill_one_of_each(self, index: int, *, goes_on: bool = True) -> None:
        api, other = self._apis[index], self._apis[1 - index]
        self._workers[index].kill()
        self._workers[index] = self._deployment.start_worker()
        await api.kill_and_start()
        self._kills += 1
        # Read through the process that did not write them.
        touched = {s.path: s for writer in api.writers for s in writer.touched[-READ_BACK:]}
        await api.ledger.check_documents(other.client, self._findings, touched.values())
        if goes_on:
            api.start_load()

    async def _wait_until_idle(self) -> None:
        """Move stored times back by a quarter of an hour, and wait until the workers are idle."""
        async with settler_of(self._deployment) as settler:
            with self._deployment.connect() as connection:
                connection.execute("UPDATE blobs SET expires_at = now() WHERE state = 'pending'")
                connection.execute(
                    "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour'"
                )
                connection.execute("UPDATE procrastinate_jobs SET scheduled_at = NULL")
                connection.execute(MAKE_OVERDUE)
                await settler.defer_reaper()
                deadline = time.monotonic() + IDLE_SECONDS
                while not is_idle(connection):
                    assert time.monotonic() < deadline, "the workers did not become idle"
                    await asyncio.sleep(0.1)

    async def _compare(self) -> None:
        whole = Ledger()
        for api in self._apis:
            whole.documents |= api.ledger.documents
        with self._deployment.connect() as connection:
            check_store(connection, self._deployment.list_keys(), self._findings)
            check_audit(connection, whole, self._findings)
        await whole.check_documents(self._apis[1].client, self._findings)

    def report(self, figures: dict[str, Figure]) -> None:
        """Record the figures; fail on any violation."""
        acknowledged = sum((api.ledger.acknowledged for api in self._apis), Counter())
        settled = sum((api.ledger.settled for api in self._apis), Counter())
        figures["API processes killed"] = self._kills
        figures["workers killed"] = self._kills
        figures["seconds under load"] = round(self._seconds)
        for name in ("uploads", "replacements", "deletions"):
            figures[f"acknowledged {name}"] = acknowledged[name]
        figures["reads with the expected response"] = self._reader.responses["expected"]
        figures["reads without a response"] = self._reader.responses["none"]
        figures["changes without a response, applied"] = settled["applied"]
        figures["changes without a response, not applied"] = settled["not applied"]
        figures.update({kind: self._findings.counts[kind] for kind in KINDS})
        assert not self._findings, "\n".join(self._findings.details[:20])

    async def stop(self) -> None:
        """Kill every process."""
        for worker in self._workers:
            worker.kill()
        for api in self._apis:
            api.deployment.kill_process()
            if api.load is not None:
                await asyncio.gather(api.load, return_exceptions=True)
            await api.deployment.close_client()


@pytest.mark.guarantee(
    "T01",
    promise="The same holds for several API processes and workers on one database and one store.",
    tried="Two API processes and two workers. Two clients of each API process upload, replace and "
    "delete as above, and one client reads lists and files from both. In turn, one API process "
    "and one worker receive SIGKILL and are restarted while the others continue. The last "
    f"{READ_BACK} changes of each client of the killed process are read back through the other "
    "one. At the end all processes are killed once more, everything they left behind is made to "
    "expire, and once the workers are idle the store, the rows, the audit trail and every "
    "document are compared.",
    not_shown="Several machines: all processes, the database and the store share two cores and "
    "one disk. The database and the store keep running.",
)
@pytest.mark.parametrize("store", ["filesystem", "s3"])
async def test_killed_processes_lose_nothing(
    store: str, make_deployment: MakeDeployment, size: Size, figures: dict[str, Figure]
) -> None:
    test = KillLoop(make_deployment(store, DOCVAULT_WORKER="external"))
    try:
        await test.run(size.of(ci=2, full=100))
        test.report(figures)
    finally:
        await test.stop()
