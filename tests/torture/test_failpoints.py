"""kill -9 before and after each durable step of an operation (T02)."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from tests.factories import files
from tests.factories.previews import MAKE_OVERDUE
from tests.torture.deployments import Deployment, MakeDeployment
from tests.torture.failpoints import AUTOCOMMITTED, STATEMENT
from tests.torture.figures import Figure, Size
from tests.torture.load import make_types, register_customer
from tests.torture.model import (
    COPY,
    KINDS,
    Change,
    Content,
    DocumentModel,
    Findings,
    Ledger,
    check_audit,
    check_store,
    is_idle,
    stored,
)
from tests.torture.settling import Settler, settler_of

pytestmark = pytest.mark.torture

ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Point:
    """Where to die: the name of a point, its occurrence, and whether before or after it."""

    name: str
    call: int
    before: bool

    def failpoint(self) -> dict[str, Any]:
        """Return it in the format of `failpoints.py`."""
        return asdict(self)


@dataclass(slots=True)
class Bench:
    """One deployment, its expected state, and the customer of this round."""

    deployment: Deployment
    settler: Settler
    ledger: Ledger
    round: int = 0

    @property
    def client(self) -> httpx.AsyncClient:
        """The client of the running server."""
        assert self.deployment.client is not None
        return self.deployment.client

    @property
    def customer(self) -> str:
        """The customer of this round."""
        return f"c-{self.round}"

    def document(self, key: str = "type-0") -> DocumentModel:
        """A document of this round's customer."""
        return self.ledger.document(self.customer, key)

    async def upload(self, content: Content) -> None:
        """Upload with an idempotency key specific to this round and content."""
        document = self.document()
        document.doubt = Change(stored(content))
        response = await self.client.put(
            document.path,
            files={"file": (content.filename, content.body, content.media_type)},
            headers=self.key(content.filename),
        )
        assert response.status_code in {200, 201}, response.text

    async def delete(self) -> None:
        """Delete the document if it exists."""
        document = self.document()
        document.doubt = None if document.current is None else Change(None)
        response = await self.client.delete(document.path)
        assert response.status_code in {204, 404}, response.text

    def key(self, name: str) -> dict[str, str]:
        """Return the header that lets a request of this round be repeated."""
        return {"Idempotency-Key": f"{self.round}-{name}"}


def text(name: str) -> Content:
    """Return a document without a preview, so that it causes no job."""
    return Content(f"{name}\n".encode() * 100, f"{name}.txt", "text/plain")


def picture() -> Content:
    """A document that has a preview."""
    return Content(files.pdf(), "picture.pdf", "application/pdf")


class Operation:
    """An operation to interrupt. Its request can be repeated and takes effect once."""

    async def prepare(self, bench: Bench) -> None:
        """Create what the operation needs."""
        await register_customer(bench.client, bench.customer)

    async def run(self, bench: Bench) -> None:
        """Perform it; the process may die at any moment."""
        raise NotImplementedError

    async def settle(self, bench: Bench) -> None:
        """Find out whether it was applied."""
        await bench.ledger.settle(bench.client)


class Upload(Operation):
    async def run(self, bench: Bench) -> None:
        await bench.upload(text("first"))


class Replace(Operation):
    """Replaces a document; with one version retained, the previous one is deleted."""

    async def prepare(self, bench: Bench) -> None:
        await super().prepare(bench)
        await bench.upload(text("first"))
        bench.document().confirm()

    async def run(self, bench: Bench) -> None:
        await bench.upload(text("second"))


class Delete(Replace):
    async def run(self, bench: Bench) -> None:
        await bench.delete()


class Erase(Replace):
    async def run(self, bench: Bench) -> None:
        response = await bench.client.delete(f"/v1/admin/customers/{bench.customer}")
        assert response.status_code in {202, 404}, response.text

    async def settle(self, bench: Bench) -> None:
        """When the worker is done, the customer is unchanged or unknown."""
        response = await bench.client.get(f"/v1/admin/customers/{bench.customer}")
        if response.status_code == 404:
            bench.ledger.forget(bench.customer)


class UploadBySession(Operation):
    """Create an upload session, send the bytes, complete it."""

    async def run(self, bench: Bench) -> None:
        document, sent = bench.document(), text("first")
        declared = {
            "filename": sent.filename,
            "size_bytes": len(sent.body),
            "sha256": sent.sha256,
        }
        uploads = f"{document.path}/uploads"
        opened = await bench.client.post(uploads, json=declared, headers=bench.key("open"))
        assert opened.status_code == 201, opened.text
        session = opened.json()
        await self._send(bench, session, sent)
        document.doubt = Change(stored(sent))
        done = await bench.client.post(f"{uploads}/{session['id']}/complete")
        assert done.status_code in {200, 201}, done.text

    async def _send(self, bench: Bench, session: dict[str, Any], sent: Content) -> None:
        url = session["url"]
        path = urlsplit(url).path
        if path.startswith("/uploads/"):
            # The server's own address, whose port may have changed since.
            url = str(bench.client.base_url.join(path))
        async with httpx.AsyncClient(trust_env=False, timeout=30) as anyone:
            response = await anyone.put(url, content=sent.body, headers=session["headers"])
        # 412: the bytes were stored by the first attempt.
        assert response.status_code in {200, 201, 204, 412}, response.text


class CopyFiles(Replace):
    async def run(self, bench: Bench) -> None:
        target = bench.document("type-1")
        target.doubt = Change(bench.document().current, COPY)
        response = await bench.client.post(
            f"{target.path}/copy",
            json={"from": {"key": "type-0"}},
            headers=bench.key("copy"),
        )
        assert response.status_code in {200, 201}, response.text


class Job(Operation):
    """A job that the worker runs on what `prepare` has created."""


class DeleteBlobs(Job):
    async def prepare(self, bench: Bench) -> None:
        await super().prepare(bench)
        for change in (bench.upload(text("first")), bench.delete()):
            await change
            bench.document().confirm()


class FinishErasure(Job):
    async def prepare(self, bench: Bench) -> None:
        await super().prepare(bench)
        await bench.upload(text("first"))
        await bench.client.delete(f"/v1/admin/customers/{bench.customer}")
        bench.ledger.forget(bench.customer)


class RenderPreviews(Job):
    async def prepare(self, bench: Bench) -> None:
        await super().prepare(bench)
        await bench.upload(picture())
        bench.document().confirm()
        with bench.deployment.connect() as connection:
            connection.execute(MAKE_OVERDUE)


class Reap(Job):
    """Bytes were reserved and written, but never attached."""

    async def prepare(self, bench: Bench) -> None:
        await bench.settler.write_expired_bytes()
        await bench.settler.defer_reaper()


OPERATIONS: dict[str, Operation] = {
    "upload": Upload(),
    "replace": Replace(),
    "delete": Delete(),
    "erase": Erase(),
    "upload session": UploadBySession(),
    "copy": CopyFiles(),
    "job: delete bytes": DeleteBlobs(),
    "job: erase": FinishErasure(),
    "job: previews": RenderPreviews(),
    "job: reaper": Reap(),
}


class Interrupter:
    """Interrupts one operation at each of its points, and checks the state each time."""

    def __init__(self, bench: Bench, operation: Operation) -> None:
        self._bench = bench
        self._operation = operation
        self._armed = bench.deployment.folder / "armed"
        self._trace = bench.deployment.folder / "trace"
        self.unreached: list[Point] = []

    async def find_points(self, *, everything: bool) -> list[Point]:
        """Return every point of the operation, recorded in one uninterrupted run.

        The end of a point is close to the start of the next: CI tests only the end of the last.
        """
        await self._restart({"trace": str(self._trace)})
        # The first run creates directories that remain; the second is recorded.
        await self._attempt({"trace": str(self._trace)})
        await self._look()
        self._trace.unlink()
        await self._attempt({"trace": str(self._trace)})
        counts: Counter[str] = Counter()
        points = []
        for name in self._trace.read_text().splitlines():
            counts[name] += 1
            if everything or name != STATEMENT:
                points.append(Point(name, counts[name], before=True))
                points.append(Point(name, counts[name], before=False))
        return points if everything else [*points[::2], *points[-1:]]

    async def visit(self, points: Sequence[Point]) -> None:
        """Die at each point; the next server reports the resulting state."""
        for point in points:
            await self._restart(point.failpoint())
            await self._look()
            if not await self._reach(point):
                self.unreached.append(point)
        await self._restart(None)
        await self._look()

    async def _reach(self, point: Point) -> bool:
        """Run up to a point; which directories are created depends on the customer's random id."""
        for _ in range(ATTEMPTS):
            if await self._attempt(point.failpoint()):
                return True
            await self._restart(point.failpoint())
        return False

    async def _attempt(self, failpoint: dict[str, Any]) -> bool:
        """Run the operation with a new customer; return whether the process died."""
        bench = self._bench
        bench.round += 1
        await self._operation.prepare(bench)
        self._armed.touch()
        try:
            if isinstance(self._operation, Job):
                return self._run_worker(failpoint)
            with suppress(httpx.TransportError):
                await self._operation.run(bench)
            assert bench.deployment.process is not None
            return "trace" not in failpoint and bench.deployment.process.was_killed()
        finally:
            self._armed.unlink()

    async def _look(self) -> None:
        """Check that it was applied completely or not at all, and that it can be repeated."""
        bench, findings = self._bench, Findings()
        if bench.round == 0:
            return
        await bench.settler.settle()
        await self._operation.settle(bench)
        await self._check(findings)
        if not isinstance(self._operation, Job):
            with suppress(KeyError):
                await self._operation.run(bench)
            await bench.settler.settle()
            await self._operation.settle(bench)
            await self._check(findings)

    async def _check(self, findings: Findings) -> None:
        bench = self._bench
        documents = [
            document
            for document in bench.ledger.documents.values()
            if document.customer == bench.customer
        ]
        await bench.ledger.check_documents(bench.client, findings, documents)
        with bench.deployment.connect() as connection:
            check_store(connection, bench.deployment.list_keys(), findings)
            check_audit(connection, bench.ledger, findings)
        assert not findings, "\n".join(findings.details)

    async def _restart(self, failpoint: dict[str, Any] | None) -> None:
        """Start a server to replace the dead one; jobs are interrupted in a worker instead."""
        deployment = self._bench.deployment
        if isinstance(self._operation, Job):
            failpoint = None
            if deployment.process is not None:
                return
        deployment.kill_process()
        await deployment.close_client()
        deployment.start(self._with_trigger(failpoint))
        deployment.wait_for_dead_clients()

    def _run_worker(self, failpoint: dict[str, Any]) -> bool:
        """Run a worker until it dies or is idle."""
        deployment = self._bench.deployment
        worker = deployment.start_worker(self._with_trigger(failpoint))
        with deployment.connect() as connection:
            while not worker.has_ended() and not is_idle(connection):
                connection.execute("SELECT pg_sleep(0.01)")
        died = "trace" not in failpoint and worker.was_killed()
        worker.kill()
        return died

    def _with_trigger(self, failpoint: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if failpoint is None else {"armed": str(self._armed), **failpoint}


@pytest.mark.guarantee(
    "T02",
    promise="Whatever a process is doing when it dies, the operation is applied completely or not "
    "at all.",
    tried="Each operation is run once to record the points it passes: commits, statements, spool, "
    "flushes, links, unlinks, directories, S3 requests, previews, ends of jobs, responses. It is "
    "then run once for each point, and the process is ended by SIGKILL before or after that "
    "point. The next process must find the old state or the new one, without stray bytes; the "
    "request, repeated with its idempotency key, must take effect exactly once.",
    not_shown="Points inside the kernel, PostgreSQL or the store.",
)
@pytest.mark.parametrize("store", ["filesystem", "s3"])
@pytest.mark.parametrize("name", OPERATIONS)
async def test_operations_are_atomic(
    store: str,
    name: str,
    make_deployment: MakeDeployment,
    size: Size,
    figures: dict[str, Figure],
) -> None:
    deployment = make_deployment(store, DOCVAULT_KEEP_VERSIONS="1", DOCVAULT_WORKER="external")
    async with settler_of(deployment) as settler:
        bench = Bench(deployment, settler, Ledger())
        await make_types(deployment.start())
        executioner = Interrupter(bench, OPERATIONS[name])
        points = await executioner.find_points(everything=size.is_full)
        await executioner.visit(points)
    figures["points"] = len({(point.name, point.call) for point in points})
    figures["kills"] = len(points) - len(executioner.unreached)
    figures["points not reached"] = len(executioner.unreached)
    figures.update(dict.fromkeys(KINDS, 0))
    # The number of new directories depends on random ids and on existing directories. An upload
    # reserves its blob in the first statement, or in one of its own after an unused reservation.
    assert {point.name for point in executioner.unreached} <= {"new folder", AUTOCOMMITTED}
