"""Restoring an older database or store: nothing dangles, erased customers stay erased (T62)."""

import dataclasses
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from types import SimpleNamespace

import pytest
from tests.fixtures.postgres_programs import postgres_program
from tests.torture.deployments import Deployment, MakeDeployment
from tests.torture.figures import Figure, Size
from tests.torture.load import make_types, register_customer
from tests.torture.model import Change, Content, DocumentModel, Ledger, stored
from tests.torture.model import Findings as Differences
from tests.torture.settling import Settler, settler_of

from docvault.embedded.postgres import EmbeddedPostgres
from docvault.services import verification
from docvault.services.blobs import owner_of
from docvault.services.erasure_ledger import recorded_customers
from docvault.services.resources import Resources
from docvault.services.verification import Findings, verify
from docvault.storage.base import LEDGER_FOLDER

pytestmark = pytest.mark.torture

_DATABASES = count()
DAY = 24 * 3600
WINDOW_HOURS = "48"
ERASED = 5


@dataclass(slots=True)
class Bench:
    """A running deployment and its expected state."""

    deployment: Deployment
    settler: Settler
    resources: Resources
    ledger: Ledger = field(default_factory=Ledger)
    findings: Differences = field(default_factory=Differences)

    async def upload(self, customer: str, text: str) -> DocumentModel:
        """Upload a document with unique bytes and without previews."""
        client = self.deployment.client
        assert client is not None
        await register_customer(client, customer)
        document = self.ledger.document(customer, "type-0")
        content = Content(f"{customer} {text}\n".encode(), f"{text}.txt", "text/plain")
        document.doubt = Change(stored(content))
        response = await client.put(document.path, files={"file": (content.filename, content.body)})
        assert response.is_success, response.text
        document.confirm()
        return document

    async def request_deletion(self, path: str) -> None:
        """Delete a document or a customer."""
        assert self.deployment.client is not None
        assert (await self.deployment.client.delete(path)).is_success

    async def check(self, documents: list[DocumentModel]) -> None:
        """Read documents back."""
        assert self.deployment.client is not None
        await self.ledger.check_documents(self.deployment.client, self.findings, documents)

    async def known(self, customers: list[str]) -> int:
        """Return how many of these customers exist."""
        client = self.deployment.client
        assert client is not None
        responses = [await client.get(f"/v1/admin/customers/{customer}") for customer in customers]
        return sum(response.status_code != 404 for response in responses)

    def run(self, *arguments: str) -> int:
        """Run a docvault command; return its exit status."""
        return self.deployment.run(list(arguments)).wait()


@asynccontextmanager
async def bench_of(deployment: Deployment) -> AsyncIterator[Bench]:
    async with settler_of(deployment) as settler:
        deployment.start()
        yield Bench(deployment, settler, settler.resources)
        deployment.kill_process()
        await deployment.close_client()


def customers(kind: str, number: int) -> list[str]:
    return [f"{kind}-{n}" for n in range(number)]


async def copy_of_store(resources: Resources) -> dict[str, bytes]:
    """Return the content of the store, including the ledger."""
    keys = [blob.key async for blob in resources.store.list_blobs()]
    keys += [record.key async for record in resources.store.list_folder(LEDGER_FOLDER)]
    copied = {}
    for key in keys:
        reader = await resources.store.open(key)
        copied[key] = b"".join([part async for part in reader.chunks(0, reader.size_bytes)])
        await reader.close()
    return copied


async def restore_store(resources: Resources, copied: dict[str, bytes]) -> None:
    """Reset the store to exactly that content."""
    now = await copy_of_store(resources)
    for key in now.keys() - copied.keys():
        await resources.store.delete(key)
    for key in copied.keys() - now.keys():
        spooled = resources.spool.create()
        await spooled.write(copied[key])
        await spooled.finish()
        await resources.store.put(key, spooled.path)
        spooled.discard()


@pytest.fixture
def a_day_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stored files are old enough for `verify` to report orphans."""
    clock = SimpleNamespace(time=lambda: time.time() + DAY + 60)
    monkeypatch.setattr(verification, "time", clock)


@pytest.mark.guarantee(
    "T62",
    promise="A database restored from an older dump finds every byte, and no erased customer.",
    tried="Customers upload; the database is dumped. Then documents are deleted, replaced and "
    "uploaded and customers are erased, one of which is registered again with the same id; the "
    "worker completes all jobs. The dump is restored into a new database on the same store, with "
    "`DOCVAULT_DELETED_BLOB_RETENTION_HOURS` set, followed by `docvault erasures reapply`, the "
    "worker and `docvault verify --rehash`. Every document from the time of the dump is read "
    "back; the orphans must be exactly the files uploaded after it.",
    not_shown="A dump older than the retention time: what was deleted since is reported as "
    "`missing`.",
)
@pytest.mark.parametrize("store", ["filesystem", "s3"])
@pytest.mark.usefixtures("a_day_later")
async def test_older_database_has_all_bytes_and_no_erased_customer(
    store: str,
    make_deployment: MakeDeployment,
    postgres: EmbeddedPostgres,
    size: Size,
    figures: dict[str, Figure],
) -> None:
    number = size.of(ci=3, full=25)
    settings = {
        "DOCVAULT_WORKER": "external",
        "DOCVAULT_KEEP_VERSIONS": "1",
        "DOCVAULT_DELETED_BLOB_RETENTION_HOURS": WINDOW_HOURS,
    }
    deployment = make_deployment(store, **settings)
    erased = customers("erased", ERASED)
    dump = deployment.folder / "dump"
    async with bench_of(deployment) as bench:
        assert deployment.client is not None
        await make_types(deployment.client)
        kept = [
            await bench.upload(customer, "before")
            for kind in ("kept", "deleted", "replaced")
            for customer in customers(kind, number)
        ]
        for customer in erased:
            await bench.upload(customer, "before")
        postgres_program("pg_dump", deployment.database_url, "--format=custom", f"--file={dump}")
        then = [dataclasses.replace(document) for document in kept]
        for document in kept[number : 2 * number]:
            await bench.request_deletion(document.path)
        for customer in customers("replaced", number):
            await bench.upload(customer, "after")
        for customer in erased:
            await bench.request_deletion(f"/v1/admin/customers/{customer}")
        await bench.settler.settle()
        for customer in [*customers("later", number), erased[0]]:
            await bench.upload(customer, "after")
        newest = stored_keys(deployment)
    restored = deployment.on_database(postgres.create_database(f"restored_{next(_DATABASES)}"))
    target = f"--dbname={restored.database_url}"
    postgres_program("pg_restore", dump, target, "--exit-on-error", "--no-owner")
    expected = newest - stored_keys(restored)
    async with bench_of(restored) as bench:
        before = await check_rows(bench)
        assert bench.run("verify") == 1
        assert bench.run("erasures", "reapply") == 0
        await bench.settler.settle()
        after = await check_rows(bench)
        assert bench.run("verify", "--rehash") == 0
        await bench.check(then)
        figures["documents at the time of the dump"] = len(then)
        figures["of those, deleted or replaced after it"] = 2 * number
        figures["lost or changed"] = len(bench.findings.details)
        figures["dangling"] = len(after.missing)
        figures["corrupt"] = len(after.corrupt)
        figures["files uploaded after the dump"] = len(expected)
        figures["reported as orphans"] = len(after.orphaned)
        figures["customers erased after the dump"] = ERASED
        figures["reported as pending erasure"] = len(before.unapplied)
        figures["erased customers still registered after that"] = await bench.known(erased)
    assert not bench.findings, "\n".join(bench.findings.details)
    assert (after.missing, after.corrupt, after.unapplied) == ([], [], [])
    assert len(expected) == 2 * number + 1
    assert set(after.orphaned) == expected
    assert len(before.unapplied) == ERASED
    assert figures["erased customers still registered after that"] == 0


@pytest.mark.guarantee(
    "T62",
    promise="The differences of a store restored from an older copy are reported exactly, and it "
    "contains no erased customer.",
    tried="Customers upload; the store is copied, including the ledger. Then documents are "
    "deleted and uploaded and customers are erased, and the worker completes all jobs. The store "
    "is reset to the copy under the newer database. `verify` must report as missing exactly what "
    "was uploaded and as orphaned exactly what was deleted since; after `docvault erasures "
    "reapply` and the worker no byte of an erased customer may remain, and the records of the "
    "erasures must be in the ledger again.",
    not_shown="The restore procedure of a particular vendor's store.",
)
@pytest.mark.parametrize("store", ["filesystem", "s3"])
@pytest.mark.usefixtures("a_day_later")
async def test_older_store_differences_are_reported_exactly(
    store: str, make_deployment: MakeDeployment, size: Size, figures: dict[str, Figure]
) -> None:
    number = size.of(ci=3, full=25)
    deployment = make_deployment(store, DOCVAULT_WORKER="external")
    erased = customers("erased", ERASED)
    async with bench_of(deployment) as bench:
        assert deployment.client is not None
        await make_types(deployment.client)
        kept = [await bench.upload(customer, "before") for customer in customers("kept", number)]
        deleted = [await bench.upload(name, "before") for name in customers("deleted", number)]
        with_deleted = stored_keys(deployment)
        for customer in erased:
            await bench.upload(customer, "before")
        of_erased = stored_keys(deployment) - with_deleted
        copied = await copy_of_store(bench.resources)
        for document in deleted:
            await bench.request_deletion(document.path)
        for customer in erased:
            await bench.request_deletion(f"/v1/admin/customers/{customer}")
        await bench.settler.settle()
        of_kept = stored_keys(deployment)
        for customer in customers("later", number):
            await bench.upload(customer, "after")
        of_later = stored_keys(deployment) - of_kept
        await restore_store(bench.resources, copied)
        before = await check_rows(bench)
        assert bench.run("erasures", "reapply") == 0
        await bench.settler.settle()
        after = await check_rows(bench)
        await bench.check(kept)
        left = {owner_of(key) for key in await copy_of_store(bench.resources)}
        recorded = await recorded_customers(bench.resources)
    owners = {owner_of(key) for key in of_erased}
    figures["files uploaded after the copy"] = len(of_later)
    figures["reported as missing"] = len(after.missing)
    figures["files deleted after the copy"] = number
    figures["reported as orphans"] = len(after.orphaned)
    figures["customers erased after the copy"] = ERASED
    figures["reported as pending erasure"] = len(before.unapplied)
    figures["erased customers with bytes after that"] = len(owners & left)
    figures["other documents lost or changed"] = len(bench.findings.details)
    assert not bench.findings, "\n".join(bench.findings.details)
    assert (len(of_later), len(with_deleted - of_kept)) == (number, number)
    for found in (before, after):
        assert set(found.missing) == of_later
        assert set(found.orphaned) == with_deleted - of_kept
    assert (set(before.unapplied), after.unapplied) == (owners, [])
    assert (owners & left, recorded) == (set(), owners)


def stored_keys(deployment: Deployment) -> set[str]:
    """Return the keys that are stored according to the database."""
    with deployment.connect() as connection:
        rows = connection.execute("SELECT key FROM blobs WHERE state = 'stored'").fetchall()
    return {key for (key,) in rows}


async def check_rows(bench: Bench) -> Findings:
    """Run `docvault verify --rehash` a day later."""
    return await verify(bench.resources, rehash=True, progress=lambda _: None)
