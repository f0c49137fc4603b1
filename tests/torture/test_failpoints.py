"""kill -9 at each point where something durable is about to happen or has just happened (T02)."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from tests.factories import files
from tests.torture.deployments import Deployment, MakeDeployment
from tests.torture.failpoints import STATEMENT
from tests.torture.figures import Figure, Size
from tests.torture.load import make_known, make_types
from tests.torture.model import (
    COPY,
    KINDS,
    Change,
    Content,
    Findings,
    Ledger,
    SlotModel,
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
    """Where to die: the how-manieth time a name is passed, and on which side of it."""

    name: str
    call: int
    before: bool

    def failpoint(self) -> dict[str, Any]:
        """Return it as `failpoints.py` takes it."""
        return asdict(self)


@dataclass(slots=True)
class Bench:
    """One deployment, what it should hold, and the customer of this round."""

    deployment: Deployment
    settler: Settler
    ledger: Ledger
    round: int = 0

    @property
    def client(self) -> httpx.AsyncClient:
        """The client of the server that runs now."""
        assert self.deployment.client is not None
        return self.deployment.client

    @property
    def customer(self) -> str:
        """A customer of this round's own."""
        return f"c-{self.round}"

    def slot(self, key: str = "type-0") -> SlotModel:
        """A slot of this round's customer."""
        return self.ledger.slot(self.customer, key)

    async def upload(self, content: Content) -> None:
        """Upload under an idempotency key of this round and content."""
        slot = self.slot()
        slot.doubt = Change(stored(content))
        answer = await self.client.put(
            slot.path,
            files={"file": (content.filename, content.body, content.media_type)},
            headers=self.key(content.filename),
        )
        assert answer.status_code in {200, 201}, answer.text

    async def delete(self) -> None:
        """Delete the document, if it is there."""
        slot = self.slot()
        slot.doubt = None if slot.current is None else Change(None)
        answer = await self.client.delete(slot.path)
        assert answer.status_code in {204, 404}, answer.text

    def key(self, name: str) -> dict[str, str]:
        """Return the header under which a request of this round can be repeated."""
        return {"Idempotency-Key": f"{self.round}-{name}"}


def text(name: str) -> Content:
    """A document without a preview, so that no job comes with it."""
    return Content(f"{name}\n".encode() * 100, f"{name}.txt", "text/plain")


def picture() -> Content:
    """A document that has a preview."""
    return Content(files.pdf(), "picture.pdf", "application/pdf")


class Operation:
    """Something to be interrupted. A request can be repeated, and then has happened once."""

    async def prepare(self, bench: Bench) -> None:
        """Make what the operation needs."""
        await make_known(bench.client, bench.customer)

    async def run(self, bench: Bench) -> None:
        """Do it; the process may die at any moment."""
        raise NotImplementedError

    async def settle(self, bench: Bench) -> None:
        """Find out whether it happened."""
        await bench.ledger.settle(bench.client)


class Upload(Operation):
    async def run(self, bench: Bench) -> None:
        await bench.upload(text("first"))


class Replace(Operation):
    """Where one version is kept, the one before goes."""

    async def prepare(self, bench: Bench) -> None:
        await super().prepare(bench)
        await bench.upload(text("first"))
        bench.slot().confirm()

    async def run(self, bench: Bench) -> None:
        await bench.upload(text("second"))


class Delete(Replace):
    async def run(self, bench: Bench) -> None:
        await bench.delete()


class Erase(Replace):
    async def run(self, bench: Bench) -> None:
        answer = await bench.client.delete(f"/v1/admin/customers/{bench.customer}")
        assert answer.status_code in {202, 404}, answer.text

    async def settle(self, bench: Bench) -> None:
        """Once the worker is done the customer is there as before, or unknown."""
        answer = await bench.client.get(f"/v1/admin/customers/{bench.customer}")
        if answer.status_code == 404:
            bench.ledger.forget(bench.customer)


class UploadBySession(Operation):
    """Announce, send, complete."""

    async def run(self, bench: Bench) -> None:
        slot, sent = bench.slot(), text("first")
        announced = {
            "filename": sent.filename,
            "size_bytes": len(sent.body),
            "sha256": sent.sha256,
        }
        uploads = f"{slot.path}/uploads"
        opened = await bench.client.post(uploads, json=announced, headers=bench.key("open"))
        assert opened.status_code == 201, opened.text
        session = opened.json()
        await self._send(bench, session, sent)
        slot.doubt = Change(stored(sent))
        done = await bench.client.post(f"{uploads}/{session['id']}/complete")
        assert done.status_code in {200, 201}, done.text

    async def _send(self, bench: Bench, session: dict[str, Any], sent: Content) -> None:
        url = session["url"]
        path = urlsplit(url).path
        if path.startswith("/uploads/"):
            # Our own address, which may have another port since.
            url = str(bench.client.base_url.join(path))
        async with httpx.AsyncClient(trust_env=False, timeout=30) as anyone:
            answer = await anyone.put(url, content=sent.body, headers=session["headers"])
        # 412: the bytes are there from the first try.
        assert answer.status_code in {200, 201, 204, 412}, answer.text


class CopyFiles(Replace):
    async def run(self, bench: Bench) -> None:
        target = bench.slot("type-1")
        target.doubt = Change(bench.slot().current, COPY)
        answer = await bench.client.post(
            f"{target.path}/copy",
            json={"from": {"key": "type-0"}},
            headers=bench.key("copy"),
        )
        assert answer.status_code in {200, 201}, answer.text


class Job(Operation):
    """Something the worker does with what `prepare` has left for it."""


class DeleteBlobs(Job):
    async def prepare(self, bench: Bench) -> None:
        await super().prepare(bench)
        for change in (bench.upload(text("first")), bench.delete()):
            await change
            bench.slot().confirm()


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
        bench.slot().confirm()


class Reap(Job):
    """Bytes were announced and written, and then nobody attached them."""

    async def prepare(self, bench: Bench) -> None:
        await bench.settler.leave_expired_bytes()
        await bench.settler.ask_for_reaper()


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


class Executioner:
    """Interrupts one operation at each of its points, and looks what is left each time."""

    def __init__(self, bench: Bench, operation: Operation) -> None:
        self._bench = bench
        self._operation = operation
        self._armed = bench.deployment.folder / "armed"
        self._trace = bench.deployment.folder / "trace"
        self.unreached: list[Point] = []

    async def find_points(self, *, everything: bool) -> list[Point]:
        """Return every point on the way, found by going it once undisturbed.

        Behind a point is before the next one: only CI leaves that side out, but for the last.
        """
        await self._restart({"trace": str(self._trace)})
        # The first time makes folders that then stay; what counts is the second.
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
        """Die at each point; the server that comes next is asked what is left."""
        for point in points:
            await self._restart(point.failpoint())
            await self._look()
            if not await self._reach(point):
                self.unreached.append(point)
        await self._restart(None)
        await self._look()

    async def _reach(self, point: Point) -> bool:
        """Go there; which folders have to be made depends on the random id of the customer."""
        for _ in range(ATTEMPTS):
            if await self._attempt(point.failpoint()):
                return True
            await self._restart(point.failpoint())
        return False

    async def _attempt(self, failpoint: dict[str, Any]) -> bool:
        """Go the way with a new customer; return whether the process died."""
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
        """Check that it has happened or has not, and that it can be repeated."""
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
        slots = [slot for slot in bench.ledger.slots.values() if slot.customer == bench.customer]
        await bench.ledger.check_documents(bench.client, findings, slots)
        with bench.deployment.connect() as connection:
            check_store(connection, bench.deployment.list_keys(), findings)
            check_audit(connection, bench.ledger, findings)
        assert not findings, "\n".join(findings.details)

    async def _restart(self, failpoint: dict[str, Any] | None) -> None:
        """Start a server in place of the dead one; jobs are interrupted in a worker instead."""
        deployment = self._bench.deployment
        if isinstance(self._operation, Job):
            failpoint = None
            if deployment.process is not None:
                return
        deployment.kill_process()
        await deployment.hang_up()
        deployment.start(self._with_trigger(failpoint))
        deployment.wait_for_dead_clients()

    def _run_worker(self, failpoint: dict[str, Any]) -> bool:
        """Run a worker until it dies or has nothing left to do."""
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
    promise="Whatever a process was just doing when it died, it has happened or it has not.",
    tried="Each operation is run once to learn the points it passes: commits, statements, spool, "
    "flushes, links, unlinks, folders, requests to S3, previews, ends of jobs, answers. Then "
    "it is run once for each point, and the process ends by SIGKILL before or behind it. The "
    "next process has to hold the old state or the new one, without stray bytes; the request, "
    "repeated under its idempotency key, has to have happened once.",
    not_shown="Points inside the kernel, PostgreSQL or the store.",
)
@pytest.mark.parametrize("store", ["filesystem", "s3"])
@pytest.mark.parametrize("name", OPERATIONS)
async def test_an_operation_happens_whole_or_not_at_all(
    store: str,
    name: str,
    make_deployment: MakeDeployment,
    size: Size,
    figures: dict[str, Figure],
) -> None:
    deployment = make_deployment(store, DOCVAULT_KEEP_VERSIONS="1", DOCVAULT_WORKER="separate")
    async with settler_of(deployment) as settler:
        bench = Bench(deployment, settler, Ledger())
        await make_types(deployment.start())
        executioner = Executioner(bench, OPERATIONS[name])
        points = await executioner.find_points(everything=size.is_full)
        await executioner.visit(points)
    figures["points"] = len({(point.name, point.call) for point in points})
    figures["kills"] = len(points) - len(executioner.unreached)
    figures["points not reached"] = len(executioner.unreached)
    figures.update(dict.fromkeys(KINDS, 0))
    # How many folders are new depends on random ids and on those that are there already.
    assert {point.name for point in executioner.unreached} <= {"new folder"}
