"""Load that goes on while something docvault depends on is away, and what it was answered."""

import asyncio
import hashlib
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from tests.fixtures.s3proxy import S3Proxy
from tests.fixtures.storage import S3Server
from tests.torture.deployments import Deployment, blobs_folder
from tests.torture.figures import Figure
from tests.torture.load import LARGEST, Writer, make_types
from tests.torture.model import KINDS, Findings, Ledger, SlotModel, check_audit, check_store
from tests.torture.settling import settler_of

from docvault.embedded.postgres import EmbeddedPostgres

WRITERS = 8
# The database connections of one process.
POOL = 10
READERS = 2
READER_PAUSE_SECONDS = 0.02
# What a client waits that was refused; `Retry-After` would keep it out of a short test.
REFUSED_PAUSE_SECONDS = 0.1
WATCH_SECONDS = 0.02
# Longer than a preview takes.
SPOOL_SECONDS = 30
# Longer than any request may take.
CLIENT_SECONDS = 120


class Refused(Exception):
    """The answer was 503."""


@dataclass(slots=True)
class Answers:
    """What one kind of request was answered, and when, by the monotonic clock."""

    done_at: list[float] = field(default_factory=list)
    refused_at: list[float] = field(default_factory=list)
    refused_seconds: list[float] = field(default_factory=list)
    broken_off: int = 0

    def refused(self, answer: httpx.Response) -> None:
        """Note a 503; each says when to come again."""
        assert int(answer.headers["retry-after"]) > 0
        self.refused_at.append(time.monotonic())
        self.refused_seconds.append(answer.elapsed.total_seconds())

    def recovered_after(self, moment: float) -> float:
        """Return after how many seconds the first was done and none refused any more."""
        first = min((at for at in self.done_at if at > moment), default=float("inf"))
        last_refusal = max(self.refused_at, default=moment)
        return max(first, last_refusal) - moment

    @property
    def slowest_refusal(self) -> float:
        """How many seconds the slowest refusal took."""
        return round(max(self.refused_seconds, default=0.0), 2)


@dataclass(slots=True)
class Load:
    """Writers and readers of one deployment, and what all of them were answered."""

    client: httpx.AsyncClient
    ledger: Ledger = field(default_factory=Ledger)
    changes: Answers = field(default_factory=Answers)
    lists: Answers = field(default_factory=Answers)
    contents: Answers = field(default_factory=Answers)
    wrong_bytes: int = 0
    is_over: bool = False

    async def until_done(self, since: float, seconds: float) -> None:
        """Wait for an upload that is done after a moment."""
        deadline = time.monotonic() + seconds
        while max(self.changes.done_at, default=0.0) <= since:
            assert time.monotonic() < deadline, f"no upload is done within {seconds} s"
            await asyncio.sleep(WATCH_SECONDS)

    def report(self, figures: dict[str, Figure]) -> None:
        """Note what was done and refused; fail when a file was complete and wrong."""
        for name in ("uploads", "replacements", "deletions"):
            figures[f"acknowledged {name}"] = self.ledger.acknowledged[name]
        figures["changes refused with 503"] = len(self.changes.refused_at)
        figures["slowest of these refusals, seconds"] = self.changes.slowest_refusal
        figures["changes without an answer"] = self.changes.broken_off
        figures["lists read"] = len(self.lists.done_at)
        figures["lists refused with 503"] = len(self.lists.refused_at)
        figures["files read whole"] = len(self.contents.done_at)
        figures["files refused with 503"] = len(self.contents.refused_at)
        figures["files broken off"] = self.contents.broken_off
        figures["files complete and wrong"] = self.wrong_bytes
        assert self.wrong_bytes == 0


class PatientWriter(Writer):
    """A writer that goes on with something else when it is refused.

    The slot of that moment stays in doubt and is left alone: a 503 may come of a commit whose
    answer was lost.
    """

    def __init__(
        self, name: str, load: Load, seed: int, *, largest: int = LARGEST, pause: float = 0.0
    ) -> None:
        super().__init__(name, load.ledger, seed, largest=largest)
        self._load = load
        self._pause = pause

    async def run(self, client: httpx.AsyncClient) -> None:
        """Go on until the load is over."""
        while not self._load.is_over:
            try:
                await self._do_something(client)
            except Refused:
                await asyncio.sleep(REFUSED_PAUSE_SECONDS)
            except httpx.TransportError:
                self._load.changes.broken_off += 1
                await asyncio.sleep(REFUSED_PAUSE_SECONDS)
            self._sort_slots()
            await asyncio.sleep(self._pause)

    async def _upload(self, client: httpx.AsyncClient, slot: SlotModel) -> None:
        await super()._upload(client, slot)
        # Deletions would not do: they need no store.
        self._load.changes.done_at.append(time.monotonic())

    def _expect(self, answer: httpx.Response, statuses: set[int]) -> None:
        if answer.status_code == 503:
            self._load.changes.refused(answer)
            raise Refused
        super()._expect(answer, statuses)


class Reader:
    """Reads what the writers wrote: lists of documents, or files."""

    def __init__(self, load: Load, seed: int) -> None:
        self._load = load
        self._chance = random.Random(seed)

    async def read_lists(self) -> None:
        """Read lists until the load is over."""
        async for slot in self._slots():
            path = f"/v1/admin/customers/{slot.customer}/documents"
            await self._read(path, self._load.lists)

    async def read_contents(self) -> None:
        """Read files until the load is over; one that arrives whole has to be right."""
        async for slot in self._slots():
            answer = await self._read(f"{slot.path}/content", self._load.contents)
            if answer is not None and answer.status_code == 200:
                digest = hashlib.sha256(answer.content).hexdigest()
                self._load.wrong_bytes += answer.headers["etag"] != f'"{digest}"'

    async def _slots(self) -> AsyncIterator[SlotModel]:
        while not self._load.is_over:
            if slots := list(self._load.ledger.slots.values()):
                yield self._chance.choice(slots)
            await asyncio.sleep(READER_PAUSE_SECONDS)

    async def _read(self, path: str, answers: Answers) -> httpx.Response | None:
        try:
            answer = await self._load.client.get(path)
        except httpx.TransportError:
            answers.broken_off += 1
            return None
        if answer.status_code == 503:
            answers.refused(answer)
            return None
        # A customer is not known before the writer has its answer, a deleted file not any more.
        assert answer.status_code in {200, 404}, (path, answer.status_code, answer.text)
        answers.done_at.append(time.monotonic())
        return answer


@asynccontextmanager
async def load_on(
    deployment: Deployment, *, largest: int = LARGEST, pause: float = 0.0, writers: int = WRITERS
) -> AsyncIterator[Load]:
    """Start a deployment and load it until the block ends, once every request is answered."""
    client = deployment.start()
    client.timeout = httpx.Timeout(CLIENT_SECONDS)
    await make_types(client)
    load = Load(client)
    async with asyncio.TaskGroup() as group:
        for number in range(writers):
            writer = PatientWriter(f"w{number}", load, number, largest=largest, pause=pause)
            group.create_task(writer.run(client))
        for number in range(READERS):
            group.create_task(Reader(load, number).read_lists())
            group.create_task(Reader(load, number).read_contents())
        try:
            yield load
        finally:
            load.is_over = True


async def check_afterwards(
    deployment: Deployment, ledger: Ledger, figures: dict[str, Figure]
) -> None:
    """Read everything back, let the jobs be done, compare everything; the service has ended then.

    Notes the figures, and fails when anything is wrong.
    """
    findings = Findings()
    assert deployment.client is not None
    await ledger.settle(deployment.client)
    await ledger.check_documents(deployment.client, findings)
    spooled = await left_in_spool(deployment)
    deployment.kill_process()
    await deployment.hang_up()
    async with settler_of(deployment) as settler:
        await settler.settle()
    with deployment.connect() as connection:
        check_store(connection, deployment.list_keys(), findings)
        check_audit(connection, ledger, findings)
    figures["refused or without an answer, had happened"] = ledger.settled["happened"]
    figures.update({kind: findings.counts[kind] for kind in KINDS})
    figures["files left in the spool"] = len(spooled)
    assert not findings, "\n".join(findings.details[:20])
    assert spooled == []


async def left_in_spool(deployment: Deployment) -> list[Path]:
    """Return what stays in the spool, where previews are made of files too."""
    deadline = time.monotonic() + SPOOL_SECONDS
    while (left := spool_files(deployment)) and time.monotonic() < deadline:  # noqa: ASYNC110 - files
        await asyncio.sleep(WATCH_SECONDS)
    return left


def spool_files(deployment: Deployment) -> list[Path]:
    """Return what lies in the spool of any process."""
    folders = (deployment.data_dir / "spool", blobs_folder(deployment) / ".spool")
    return [path for folder in folders for path in folder.glob("*/*") if path.name != ".lock"]


def connections(deployment: Deployment) -> int:
    """Count the service's connections, as the server sees them."""
    with deployment.connect() as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture
def s3_proxy(s3_server: S3Server) -> Iterator[S3Proxy]:
    """What stands between docvault and its store."""
    with S3Proxy(("127.0.0.1", int(s3_server.endpoint_url.rpartition(":")[2]))) as proxy:
        yield proxy


@pytest.fixture
def own_postgres() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL that this test may kill; what it acknowledged survives that."""
    folder = Path(tempfile.mkdtemp(prefix="docvault-own-"))
    folder.chmod(0o711)
    with EmbeddedPostgres(folder) as server:
        yield server
    shutil.rmtree(folder)


def end_at_once(deployment: Deployment) -> None:
    """End PostgreSQL as `pg_ctl stop -m immediate` does, and wait for it."""
    with deployment.connect() as connection:
        row = connection.execute("SHOW data_directory").fetchone()
    assert row is not None
    lock = Path(row[0]) / "postmaster.pid"
    os.kill(int(lock.read_text().split()[0]), signal.SIGQUIT)
    deadline = time.monotonic() + 20
    while lock.exists():
        assert time.monotonic() < deadline, "PostgreSQL does not end"
        time.sleep(0.01)
