"""The connection to PostgreSQL breaks at a commit: a retry applies the change once (T03)."""

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
from tests.torture.load import register_customer
from tests.torture.model import (
    KINDS,
    Change,
    Content,
    DocumentModel,
    Findings,
    Ledger,
    check_audit,
    check_store,
    stored,
)

from docvault.auth.local_tokens import LocalIssuer
from docvault.server.startup import open_resources
from docvault.services.reaper import reap
from docvault.services.resources import Resources
from docvault.settings import Settings

pytestmark = pytest.mark.torture

TRIES = 5
WRITES = ("INSERT", "UPDATE", "DELETE")


@dataclass(slots=True)
class Bench:
    """The service in this process, connected to its database through a proxy."""

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


Request = Callable[[Bench, DocumentModel], Awaitable[httpx.Response]]


def text(name: str) -> Content:
    return Content(f"{name}\n".encode() * 50, f"{name}.txt", "text/plain")


async def put(bench: Bench, document: DocumentModel, content: Content) -> httpx.Response:
    """Upload; the same content has the same idempotency key."""
    return await bench.client.put(
        document.path,
        files={"file": (content.filename, content.body)},
        headers={"Idempotency-Key": f"{document.customer}-{content.filename}"},
    )


class Upload:
    """A request whose commit is interrupted, and the change it makes."""

    async def prepare(self, bench: Bench, document: DocumentModel) -> None:
        await register_customer(bench.client, document.customer)

    def change(self) -> Change:
        return Change(stored(text("second")))

    async def ask(self, bench: Bench, document: DocumentModel) -> httpx.Response:
        return await put(bench, document, text("second"))


class Replace(Upload):
    async def prepare(self, bench: Bench, document: DocumentModel) -> None:
        await super().prepare(bench, document)
        response = await put(bench, document, text("first"))
        assert response.status_code == 201, response.text
        document.doubt = Change(stored(text("first")))
        document.confirm()


class Delete(Replace):
    def change(self) -> Change:
        return Change(None)

    async def ask(self, bench: Bench, document: DocumentModel) -> httpx.Response:
        return await bench.client.delete(document.path)


REQUESTS = (Upload(), Replace(), Delete())


def settling(round_trips: Sequence[Sequence[str]]) -> list[int]:
    """Return the positions of the round trips that make something durable.

    Those are commits, and statements that write outside a transaction.
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


async def repeated(bench: Bench, document: DocumentModel, request: Upload) -> list[int]:
    """Retry until there is a final response, like a client; return all statuses."""
    statuses = []
    for _ in range(TRIES):
        response = await request.ask(bench, document)
        statuses.append(response.status_code)
        if response.status_code == 503:
            assert "retry-after" in response.headers
        elif response.status_code == 409:
            assert response.json()["code"] == "request-in-progress"
        else:
            break
        # The claim of the lost request is held for half a minute.
        bench.database.execute("UPDATE idempotency_keys SET locked_until = now()")
    return statuses


async def check(bench: Bench, document: DocumentModel, findings: Findings) -> None:
    """Check one document, and the store and the audit trail as a whole."""
    bench.database.execute("UPDATE blobs SET expires_at = now() WHERE state = 'pending'")
    await reap(bench.resources)
    await bench.ledger.check_documents(bench.client, findings, [document])
    check_store(bench.database, files_below(bench.resources.store.spool_dir.parent), findings)
    check_audit(bench.database, bench.ledger, findings)


@pytest.mark.guarantee(
    "T03",
    promise="When the database connection breaks at a commit, the response is correct and a retry "
    "applies the change once.",
    tried="A proxy in front of PostgreSQL cuts the connection at a commit of an upload, a "
    "replacement or a deletion: before the server has received it, while the server processes it, "
    "or after it has responded. The client repeats the request with the same idempotency key as "
    "long as it receives 503 or 409.",
    not_shown="A failover to a server with an older state.",
)
async def test_commit_in_doubt_is_applied_once(
    bench: Bench, size: Size, figures: dict[str, Figure]
) -> None:
    findings, first_responses, cuts = Findings(), Counter[int](), Counter[str]()
    places: dict[Upload, list[int]] = {}
    for request in REQUESTS:
        document = bench.ledger.document(f"warm-{type(request).__name__}", "contract")
        await request.prepare(bench, document)
        seen = bench.proxy.record()
        assert (await request.ask(bench, document)).is_success
        document.doubt = request.change()
        document.confirm()
        places[request] = settling(seen)
    cases = [
        (request, place, moment)
        for request in REQUESTS
        for place, moment in product(places[request], Moment)
    ]
    rounds = size.of(ci=40, full=400)
    for number, (request, place, moment) in enumerate(islice(cycle(cases), rounds)):
        document = bench.ledger.document(f"c-{number}", "contract")
        await request.prepare(bench, document)
        cut = bench.proxy.cut_at(lambda _: True, moment, skip=place)
        statuses = await repeated(bench, document, request)
        cuts[moment.name.lower()] += cut.happened.is_set()
        first_responses[statuses[0]] += 1
        # A deletion that was already applied is a 404 on retry.
        assert statuses[-1] in {200, 201, 204, 404}, statuses
        document.doubt = request.change()
        document.confirm()
        await check(bench, document, findings)
    figures["commits interrupted"] = sum(cuts.values())
    for moment in Moment:
        figures[f"cut {moment.value}"] = cuts[moment.name.lower()]
    for status, number in sorted(first_responses.items()):
        figures[f"first response {status}"] = number
    figures.update({kind: findings.counts[kind] for kind in KINDS})
    assert not findings, "\n".join(findings.details[:20])
    assert sum(cuts.values()) == rounds
    assert set(first_responses) <= {200, 201, 204, 503}
