"""An older copy of the database or of the store: nothing dangles, the erased stay erased (T62)."""

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
from tests.torture.load import make_known, make_types
from tests.torture.model import Change, Content, Ledger, SlotModel, stored
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
    """A deployment under way, and what it should hold."""

    deployment: Deployment
    settler: Settler
    resources: Resources
    ledger: Ledger = field(default_factory=Ledger)
    findings: Differences = field(default_factory=Differences)

    async def upload(self, customer: str, text: str) -> SlotModel:
        """Upload a document whose bytes nobody else has, without previews."""
        client = self.deployment.client
        assert client is not None
        await make_known(client, customer)
        slot = self.ledger.slot(customer, "type-0")
        content = Content(f"{customer} {text}\n".encode(), f"{text}.txt", "text/plain")
        slot.doubt = Change(stored(content))
        answer = await client.put(slot.path, files={"file": (content.filename, content.body)})
        assert answer.is_success, answer.text
        slot.confirm()
        return slot

    async def ask_to_delete(self, path: str) -> None:
        """Delete a document or a customer."""
        assert self.deployment.client is not None
        assert (await self.deployment.client.delete(path)).is_success

    async def check(self, slots: list[SlotModel]) -> None:
        """Read documents back."""
        assert self.deployment.client is not None
        await self.ledger.check_documents(self.deployment.client, self.findings, slots)

    async def known(self, customers: list[str]) -> int:
        """Return how many of these the service knows."""
        client = self.deployment.client
        assert client is not None
        answers = [await client.get(f"/v1/admin/customers/{customer}") for customer in customers]
        return sum(answer.status_code != 404 for answer in answers)

    def run(self, *arguments: str) -> int:
        """Run a command of docvault's own; return its exit status."""
        return self.deployment.run(list(arguments)).wait()


@asynccontextmanager
async def bench_of(deployment: Deployment) -> AsyncIterator[Bench]:
    async with settler_of(deployment) as settler:
        deployment.start()
        yield Bench(deployment, settler, settler.resources)
        deployment.kill_process()
        await deployment.hang_up()


def customers(kind: str, number: int) -> list[str]:
    return [f"{kind}-{n}" for n in range(number)]


async def copy_of_store(resources: Resources) -> dict[str, bytes]:
    """Return what is in the store, the ledger included."""
    keys = [blob.key async for blob in resources.store.list_blobs()]
    keys += [record.key async for record in resources.store.list_folder(LEDGER_FOLDER)]
    copied = {}
    for key in keys:
        reader = await resources.store.open(key)
        copied[key] = b"".join([part async for part in reader.chunks(0, reader.size_bytes)])
        await reader.close()
    return copied


async def bring_back(resources: Resources, copied: dict[str, bytes]) -> None:
    """Leave in the store exactly what was in it then."""
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
    """What is stored is old enough for `verify` to tell an orphan."""
    clock = SimpleNamespace(time=lambda: time.time() + DAY + 60)
    monkeypatch.setattr(verification, "time", clock)


@pytest.mark.guarantee(
    "T62",
    promise="A database that is restored from an older dump finds every byte, and nobody who was "
    "erased.",
    tried="Customers upload; the database is dumped. After that documents are deleted, replaced "
    "and uploaded and customers are erased, one of them known again under the same id; the worker "
    "does all it has to. The dump is restored into a new database on the same store, with "
    "`DOCVAULT_BACKUP_WINDOW_HOURS` set; `docvault erasures reapply`, the worker, `docvault "
    "verify --rehash`. Every document of the time of the dump is read back; the orphans have to "
    "be exactly the files that came after it.",
    not_shown="A dump that is older than the window: what was deleted meanwhile is `missing` then.",
)
@pytest.mark.parametrize("store", ["filesystem", "s3"])
@pytest.mark.usefixtures("a_day_later")
async def test_an_older_database_finds_every_byte_and_no_erased_customer(
    store: str,
    make_deployment: MakeDeployment,
    postgres: EmbeddedPostgres,
    size: Size,
    figures: dict[str, Figure],
) -> None:
    number = size.of(ci=5, full=25)
    settings = {
        "DOCVAULT_WORKER": "separate",
        "DOCVAULT_KEEP_VERSIONS": "1",
        "DOCVAULT_BACKUP_WINDOW_HOURS": WINDOW_HOURS,
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
        then = [dataclasses.replace(slot) for slot in kept]
        for slot in kept[number : 2 * number]:
            await bench.ask_to_delete(slot.path)
        for customer in customers("replaced", number):
            await bench.upload(customer, "after")
        for customer in erased:
            await bench.ask_to_delete(f"/v1/admin/customers/{customer}")
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
        figures["documents of the time of the dump"] = len(then)
        figures["of those deleted or replaced after it"] = 2 * number
        figures["lost or changed"] = len(bench.findings.details)
        figures["dangling"] = len(after.missing)
        figures["damaged"] = len(after.damaged)
        figures["files that came after the dump"] = len(expected)
        figures["reported as orphans"] = len(after.orphaned)
        figures["customers erased after the dump"] = ERASED
        figures["reported as to be erased again"] = len(before.unapplied)
        figures["of the erased, still known after that"] = await bench.known(erased)
    assert not bench.findings, "\n".join(bench.findings.details)
    assert (after.missing, after.damaged, after.unapplied) == ([], [], [])
    assert len(expected) == 2 * number + 1
    assert set(after.orphaned) == expected
    assert len(before.unapplied) == ERASED
    assert figures["of the erased, still known after that"] == 0


@pytest.mark.guarantee(
    "T62",
    promise="A store that is restored from an older copy is told apart exactly, and holds nobody "
    "who was erased.",
    tried="Customers upload; the store is copied, ledger included. After that documents are "
    "deleted and uploaded and customers are erased, and the worker does all it has to. The store "
    "is brought back to the copy under the newer database. `verify` has to report as missing "
    "exactly what was uploaded and as orphaned exactly what was deleted since; after `docvault "
    "erasures reapply` and the worker no byte of the erased may be there, and their records have "
    "to be in the ledger again.",
    not_shown="How a vendor's store restores.",
)
@pytest.mark.parametrize("store", ["filesystem", "s3"])
@pytest.mark.usefixtures("a_day_later")
async def test_an_older_store_is_told_apart_exactly(
    store: str, make_deployment: MakeDeployment, size: Size, figures: dict[str, Figure]
) -> None:
    number = size.of(ci=5, full=25)
    deployment = make_deployment(store, DOCVAULT_WORKER="separate")
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
        for slot in deleted:
            await bench.ask_to_delete(slot.path)
        for customer in erased:
            await bench.ask_to_delete(f"/v1/admin/customers/{customer}")
        await bench.settler.settle()
        of_kept = stored_keys(deployment)
        for customer in customers("later", number):
            await bench.upload(customer, "after")
        of_later = stored_keys(deployment) - of_kept
        await bring_back(bench.resources, copied)
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
    figures["reported as to be erased again"] = len(before.unapplied)
    figures["of the erased, with bytes after that"] = len(owners & left)
    figures["other documents lost or changed"] = len(bench.findings.details)
    assert not bench.findings, "\n".join(bench.findings.details)
    assert (len(of_later), len(with_deleted - of_kept)) == (number, number)
    for found in (before, after):
        assert set(found.missing) == of_later
        assert set(found.orphaned) == with_deleted - of_kept
    assert (set(before.unapplied), after.unapplied) == (owners, [])
    assert (owners & left, recorded) == (set(), owners)


def stored_keys(deployment: Deployment) -> set[str]:
    """Return the keys that the database says are stored."""
    with deployment.connect() as connection:
        rows = connection.execute("SELECT key FROM blobs WHERE state = 'stored'").fetchall()
    return {key for (key,) in rows}


async def check_rows(bench: Bench) -> Findings:
    """Do what `docvault verify --rehash` does, a day later."""
    return await verify(bench.resources, rehash=True, progress=lambda _: None)
