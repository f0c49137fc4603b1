"""The connection to PostgreSQL breaks at a commit: done or not, a retry makes it once (T03)."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice, product

import httpx
import psycopg
import pytest
from fastapi import FastAPI
from tests.factories.setups import make_type
from tests.fixtures.faultproxy import Moment, PostgresProxy
from tests.torture.deployments import files_below
from tests.torture.figures import Figure, Size
from tests.torture.load import make_known
from tests.torture.model import (
    KINDS,
    Change,
    Content,
    Findings,
    Ledger,
    SlotModel,
    check_audit,
    check_store,
    stored,
)

from docvault.auth.local_tokens import LocalIssuer
from docvault.services.blobs import reap
from docvault.services.resources import Resources
from docvault.settings import Settings
from docvault.startup import open_resources

pytestmark = pytest.mark.torture

TRIES = 5
WRITES = ("INSERT", "UPDATE", "DELETE")


@dataclass(slots=True)
class Bench:
    """The service in this process, on a database that is reached through a proxy."""

    proxy: PostgresProxy
    client: httpx.AsyncClient
    resources: Resources
    database: psycopg.Connection[tuple[object, ...]]
    ledger: Ledger


@pytest.fixture
async def bench(
    app: FastAPI, settings: Settings, issuer: LocalIssuer, database_url: str
) -> AsyncIterator[Bench]:
    with (
        PostgresProxy(database_url) as proxy,
        psycopg.connect(database_url, autocommit=True) as database,
    ):
        async with open_resources(settings, proxy.url) as resources:
            app.state.resources = resources
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(
                transport=transport,
                base_url="http://docvault.test",
                headers={"Authorization": f"Bearer {issuer.admin_token('staff-1')}"},
            ) as client:
                await make_type(client, "Contract")
                yield Bench(proxy, client, resources, database, Ledger())


Request = Callable[[Bench, SlotModel], Awaitable[httpx.Response]]


def text(name: str) -> Content:
    return Content(f"{name}\n".encode() * 50, f"{name}.txt", "text/plain")


async def put(bench: Bench, slot: SlotModel, content: Content) -> httpx.Response:
    """Upload; the same content has the same idempotency key."""
    return await bench.client.put(
        slot.path,
        files={"file": (content.filename, content.body)},
        headers={"Idempotency-Key": f"{slot.customer}-{content.filename}"},
    )


class Upload:
    """A request to be cut off, and the change it makes."""

    async def prepare(self, bench: Bench, slot: SlotModel) -> None:
        await make_known(bench.client, slot.customer)

    def change(self) -> Change:
        return Change(stored(text("second")))

    async def ask(self, bench: Bench, slot: SlotModel) -> httpx.Response:
        return await put(bench, slot, text("second"))


class Replace(Upload):
    async def prepare(self, bench: Bench, slot: SlotModel) -> None:
        await super().prepare(bench, slot)
        answer = await put(bench, slot, text("first"))
        assert answer.status_code == 201, answer.text
        slot.doubt = Change(stored(text("first")))
        slot.confirm()


class Delete(Replace):
    def change(self) -> Change:
        return Change(None)

    async def ask(self, bench: Bench, slot: SlotModel) -> httpx.Response:
        return await bench.client.delete(slot.path)


REQUESTS = (Upload(), Replace(), Delete())


def settling(round_trips: Sequence[Sequence[str]]) -> list[int]:
    """Return the places of the round trips that make something durable.

    Those are commits, and statements that write outside of a transaction.
    """
    places, inside = [], False
    for place, statements in enumerate(round_trips):
        texts = [statement.strip().upper() for statement in statements]
        inside = inside or any(text.startswith("BEGIN") for text in texts)
        writes = any(word in text for text in texts for word in WRITES)
        if any(text.startswith("COMMIT") for text in texts):
            places.append(place)
            inside = False
        elif writes and not inside:
            places.append(place)
    return places


async def repeated(bench: Bench, slot: SlotModel, request: Upload) -> list[int]:
    """Ask until there is an answer, as a client does; return every status on the way."""
    statuses = []
    for _ in range(TRIES):
        answer = await request.ask(bench, slot)
        statuses.append(answer.status_code)
        if answer.status_code == 503:
            assert "retry-after" in answer.headers
        elif answer.status_code == 409:
            assert answer.json()["code"] == "request-in-progress"
        else:
            break
        # The claim of the lost request holds for half a minute.
        bench.database.execute("UPDATE idempotency_keys SET locked_until = now()")
    return statuses


async def check(bench: Bench, slot: SlotModel, findings: Findings) -> None:
    """Check one slot, and everything else as a whole."""
    bench.database.execute("UPDATE blobs SET expires_at = now() WHERE state = 'pending'")
    await reap(bench.resources)
    await bench.ledger.check_documents(bench.client, findings, [slot])
    check_store(bench.database, files_below(bench.resources.store.spool_dir.parent), findings)
    check_audit(bench.database, bench.ledger, findings)


@pytest.mark.guarantee(
    "T03",
    promise="When the database connection breaks at a commit, the answer is true and a retry "
    "does it once.",
    tried="A proxy in front of PostgreSQL cuts the connection at a commit of an upload, a "
    "replacement or a deletion: before the server has it, while it works on it, or when it has "
    "answered. The client repeats the request with the same idempotency key as long as it gets "
    "503 or 409.",
    not_shown="A server that fails over to another with an older state.",
)
async def test_a_commit_in_doubt_is_done_once(
    bench: Bench, size: Size, figures: dict[str, Figure]
) -> None:
    findings, first_answers, cuts = Findings(), Counter[int](), Counter[str]()
    places: dict[Upload, list[int]] = {}
    for request in REQUESTS:
        slot = bench.ledger.slot(f"warm-{type(request).__name__}", "contract")
        await request.prepare(bench, slot)
        seen = bench.proxy.record()
        assert (await request.ask(bench, slot)).is_success
        slot.doubt = request.change()
        slot.confirm()
        places[request] = settling(seen)
    cases = [
        (request, place, moment)
        for request in REQUESTS
        for place, moment in product(places[request], Moment)
    ]
    rounds = size.of(ci=40, full=400)
    for number, (request, place, moment) in enumerate(islice(cycle(cases), rounds)):
        slot = bench.ledger.slot(f"c-{number}", "contract")
        await request.prepare(bench, slot)
        cut = bench.proxy.cut_at(lambda _: True, moment, skip=place)
        statuses = await repeated(bench, slot, request)
        cuts[moment.name.lower()] += cut.happened.is_set()
        first_answers[statuses[0]] += 1
        # A deletion that had happened is a 404 the next time.
        assert statuses[-1] in {200, 201, 204, 404}, statuses
        slot.doubt = request.change()
        slot.confirm()
        await check(bench, slot, findings)
    figures["commits cut"] = sum(cuts.values())
    for moment in Moment:
        figures[f"cut {moment.value}"] = cuts[moment.name.lower()]
    for status, number in sorted(first_answers.items()):
        figures[f"first answer {status}"] = number
    figures.update({kind: findings.counts[kind] for kind in KINDS})
    assert not findings, "\n".join(findings.details[:20])
    assert sum(cuts.values()) == rounds
    assert set(first_answers) <= {200, 201, 204, 503}
