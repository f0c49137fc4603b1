"""Load that continues while a dependency of docvault is unavailable, and the responses it got."""

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
from tests.fixtures.seaweedfs import S3Server
from tests.torture.deployments import Deployment, blobs_folder
from tests.torture.figures import Figure
from tests.torture.load import LARGEST, Writer, make_types
from tests.torture.model import KINDS, DocumentModel, Findings, Ledger, check_audit, check_store
from tests.torture.settling import settler_of

from docvault.embedded.postgres import EmbeddedPostgres

WRITERS = 8
# The database connections of one process.
POOL = 10
READERS = 2
READER_PAUSE_SECONDS = 0.02
# How long a rejected client waits; `Retry-After` is too long for a short test.
REFUSED_PAUSE_SECONDS = 0.1
WATCH_SECONDS = 0.02
# Longer than rendering a preview takes.
SPOOL_SECONDS = 30
# Longer than any request may take.
CLIENT_SECONDS = 120


class Refused(Exception):
    """The response was 503."""


@dataclass(slots=True)
class Responses:
    """The responses to one kind of request, with their times on the monotonic clock."""

    done_at: list[float] = field(default_factory=list)
    refused_at: list[float] = field(default_factory=list)
    refused_seconds: list[float] = field(default_factory=list)
    broken_off: int = 0

    def refused(self, response: httpx.Response) -> None:
        """Record a 503; each must have `Retry-After`."""
        assert int(response.headers["retry-after"]) > 0
        self.refused_at.append(time.monotonic())
        self.refused_seconds.append(response.elapsed.total_seconds())

    def recovered_after(self, moment: float) -> float:
        """Return the seconds until a request succeeded and none was rejected any more."""
        first = min((at for at in self.done_at if at > moment), default=float("inf"))
        last_refusal = max(self.refused_at, default=moment)
        return max(first, last_refusal) - moment

    @property
    def slowest_refusal(self) -> float:
        """The duration of the slowest rejection in seconds."""
        return round(max(self.refused_seconds, default=0.0), 2)


@dataclass(slots=True)
class Load:
    """Writers and readers of one deployment, and the responses they got."""

    client: httpx.AsyncClient
    ledger: Ledger = field(default_factory=Ledger)
    changes: Responses = field(default_factory=Responses)
    lists: Responses = field(default_factory=Responses)
    contents: Responses = field(default_factory=Responses)
    wrong_bytes: int = 0
    is_over: bool = False

    async def until_done(self, since: float, seconds: float) -> None:
        """Wait for an upload that succeeds after the given time."""
        deadline = time.monotonic() + seconds
        while max(self.changes.done_at, default=0.0) <= since:
            assert time.monotonic() < deadline, f"no upload succeeded within {seconds} s"
            await asyncio.sleep(WATCH_SECONDS)

    def report(self, figures: dict[str, Figure]) -> None:
        """Record the figures; fail if a download was complete but wrong."""
        for name in ("uploads", "replacements", "deletions"):
            figures[f"acknowledged {name}"] = self.ledger.acknowledged[name]
        figures["changes rejected with 503"] = len(self.changes.refused_at)
        figures["slowest of these rejections, seconds"] = self.changes.slowest_refusal
        figures["changes without a response"] = self.changes.broken_off
        figures["lists read"] = len(self.lists.done_at)
        figures["lists rejected with 503"] = len(self.lists.refused_at)
        figures["files downloaded completely"] = len(self.contents.done_at)
        figures["files rejected with 503"] = len(self.contents.refused_at)
        figures["downloads interrupted"] = self.contents.broken_off
        figures["downloads complete but wrong"] = self.wrong_bytes
        assert self.wrong_bytes == 0


class PatientWriter(Writer):
    """A writer that continues with another document when it is rejected.

    The rejected document stays in doubt and is not used again: the 503 may stem from a commit
    whose response was lost.
    """

    def __init__(
        self, name: str, load: Load, seed: int, *, largest: int = LARGEST, pause: float = 0.0
    ) -> None:
        super().__init__(name, load.ledger, seed, largest=largest)
        self._load = load
        self._pause = pause

    async def run(self, client: httpx.AsyncClient) -> None:
        """Continue until the load ends."""
        while not self._load.is_over:
            try:
                await self._step(client)
            except Refused:
                await asyncio.sleep(REFUSED_PAUSE_SECONDS)
            except httpx.TransportError:
                self._load.changes.broken_off += 1
                await asyncio.sleep(REFUSED_PAUSE_SECONDS)
            self._sort_documents()
            await asyncio.sleep(self._pause)

    async def _upload(self, client: httpx.AsyncClient, document: DocumentModel) -> None:
        await super()._upload(client, document)
        # Not deletions: they do not need the store.
        self._load.changes.done_at.append(time.monotonic())

    def _expect(self, response: httpx.Response, statuses: set[int]) -> None:
        if response.status_code == 503:
            self._load.changes.refused(response)
            raise Refused
        super()._expect(response, statuses)


class Reader:
    """Reads the writers' documents: lists or files."""

    def __init__(self, load: Load, seed: int) -> None:
        self._load = load
        self._chance = random.Random(seed)

    async def read_lists(self) -> None:
        """Read lists until the load ends."""
        async for document in self._documents():
            path = f"/v1/admin/customers/{document.customer}/documents"
            await self._read(path, self._load.lists)

    async def read_contents(self) -> None:
        """Download files until the load ends; a complete download must be correct."""
        async for document in self._documents():
            response = await self._read(f"{document.path}/content", self._load.contents)
            if response is not None and response.status_code == 200:
                digest = hashlib.sha256(response.content).hexdigest()
                self._load.wrong_bytes += response.headers["etag"] != f'"{digest}"'

    async def _documents(self) -> AsyncIterator[DocumentModel]:
        while not self._load.is_over:
            if documents := list(self._load.ledger.documents.values()):
                yield self._chance.choice(documents)
            await asyncio.sleep(READER_PAUSE_SECONDS)

    async def _read(self, path: str, responses: Responses) -> httpx.Response | None:
        try:
            response = await self._load.client.get(path)
        except httpx.TransportError:
            responses.broken_off += 1
            return None
        if response.status_code == 503:
            responses.refused(response)
            return None
        # The customer may not be registered yet, or the file may have been deleted.
        assert response.status_code in {200, 404}, (path, response.status_code, response.text)
        responses.done_at.append(time.monotonic())
        return response


@asynccontextmanager
async def load_on(
    deployment: Deployment, *, largest: int = LARGEST, pause: float = 0.0, writers: int = WRITERS
) -> AsyncIterator[Load]:
    """Start a deployment and load it until the block ends and every request has a response."""
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
    """Read everything back, stop the service, run the jobs and compare everything.

    Records the figures, and fails on any violation.
    """
    findings = Findings()
    assert deployment.client is not None
    await ledger.settle(deployment.client)
    await ledger.check_documents(deployment.client, findings)
    spooled = await left_in_spool(deployment)
    deployment.kill_process()
    await deployment.close_client()
    async with settler_of(deployment) as settler:
        await settler.settle()
    with deployment.connect() as connection:
        check_store(connection, deployment.list_keys(), findings)
        check_audit(connection, ledger, findings)
    figures["rejected or no response, but applied"] = ledger.settled["applied"]
    figures.update({kind: findings.counts[kind] for kind in KINDS})
    figures["files left in the spool"] = len(spooled)
    assert not findings, "\n".join(findings.details[:20])
    assert spooled == []


async def left_in_spool(deployment: Deployment) -> list[Path]:
    """Return the files that remain in the spool, which previews use as well."""
    deadline = time.monotonic() + SPOOL_SECONDS
    while (left := spool_files(deployment)) and time.monotonic() < deadline:  # noqa: ASYNC110 - files
        await asyncio.sleep(WATCH_SECONDS)
    return left


def spool_files(deployment: Deployment) -> list[Path]:
    """Return the files in the spools of all processes."""
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
    """The proxy between docvault and its store."""
    with S3Proxy(("127.0.0.1", int(s3_server.endpoint_url.rpartition(":")[2]))) as proxy:
        yield proxy


@pytest.fixture
def own_postgres() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL that this test may kill, with durable commits."""
    folder = Path(tempfile.mkdtemp(prefix="docvault-own-"))
    folder.chmod(0o711)
    with EmbeddedPostgres(folder) as server:
        yield server
    shutil.rmtree(folder)


def stop_immediately(deployment: Deployment) -> None:
    """End PostgreSQL as `pg_ctl stop -m immediate` does, and wait for it."""
    with deployment.connect() as connection:
        row = connection.execute("SHOW data_directory").fetchone()
    assert row is not None
    lock = Path(row[0]) / "postmaster.pid"
    os.kill(int(lock.read_text().split()[0]), signal.SIGQUIT)
    deadline = time.monotonic() + 20
    while lock.exists():
        assert time.monotonic() < deadline, "PostgreSQL did not exit"
        time.sleep(0.01)
