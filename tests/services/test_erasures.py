"""The ledger of erasures: what was erased stays erased when older data come back (D8)."""

import json
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import uuid_utils.compat
from sqlalchemy import text
from tests.factories import files
from tests.factories.setups import make_customer, make_type, upload_of
from tests.factories.stored import overwrite, stored_bytes, stored_keys

from docvault.auth.principals import Access, System
from docvault.errors import StorageUnavailable
from docvault.rules.erasures import ErasureFacts
from docvault.services.erasure_ledger import recorded_customers, write_record
from docvault.services.erasures import finish_erasures, reapply_erasures
from docvault.services.resources import Resources
from docvault.services.verification import Findings, verify
from docvault.services.work import Asker
from docvault.storage.base import LEDGER_FOLDER, BlobExists, BlobMissing, BlobStore

pytestmark = pytest.mark.req("R-101")

CUSTOMERS = "/v1/admin/customers"


@pytest.fixture(autouse=True)
async def customers(admin: httpx.AsyncClient) -> None:
    """Customers c-1 and c-2 with a document each."""
    await make_type(admin, "Contract")
    for customer in ("c-1", "c-2"):
        await make_customer(admin, customer, name=f"Name of {customer}")
        path = f"{CUSTOMERS}/{customer}/documents/contract"
        await admin.put(path, **upload_of(files.pdf(customer)))


async def rows(resources: Resources, statement: str, **values: object) -> list[tuple[Any, ...]]:
    async with resources.database.transaction() as session:
        result = await session.execute(text(statement), values)
        return [tuple(row) for row in result] if result.returns_rows else []


async def internal_id(resources: Resources, customer: str) -> UUID:
    query = "SELECT id FROM customers WHERE external_id = :customer"
    ((customer_id,),) = await rows(resources, query, customer=customer)
    found: UUID = customer_id
    return found


async def erase(admin: httpx.AsyncClient, resources: Resources, customer: str = "c-1") -> UUID:
    """Erase a customer to the end; return the internal id it had."""
    customer_id = await internal_id(resources, customer)
    assert (await admin.delete(f"{CUSTOMERS}/{customer}")).status_code == 202
    await finish_erasures(resources)
    return customer_id


async def forget_erasures(resources: Resources) -> None:
    """Leave the database as it would be had the erased customers never been known."""
    await rows(resources, "DELETE FROM erasures")


async def record_as_erased(resources: Resources, customer: str) -> UUID:
    """Make the database one from before an erasure: its record and missing bytes are newer."""
    (erasure_row,) = await rows(
        resources, "SELECT id, now() - interval '1 hour' FROM customers WHERE external_id = :c",
        c=customer,
    )  # fmt: skip
    customer_id, requested_at = erasure_row
    pseudonym = resources.keyring.pseudonym(customer)
    counts = {"documents": 1, "versions": 1, "blobs": 1, "blobs_pending": 0}
    facts = ErasureFacts(
        id=uuid4(), customer_id=customer_id, customer_pseudonym=pseudonym,
        requested_at=requested_at, completed_at=requested_at, **counts,
    )  # fmt: skip
    await write_record(resources, facts)
    for blob in [blob async for blob in resources.store.list_folder(str(customer_id))]:
        await resources.store.delete(blob.key)
    found: UUID = customer_id
    return found


async def reapply(resources: Resources) -> int:
    asker = Asker(System(), uuid_utils.compat.uuid7(), resources.keyring, resources.settings)
    return await reapply_erasures(resources, asker)


async def check(resources: Resources) -> Findings:
    return await verify(resources, rehash=False, progress=lambda _: None)


class TestLedger:
    """What an erasure writes down."""

    async def test_a_completed_erasure_has_a_record(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        customer_id = await erase(admin, resources)
        assert await recorded_customers(resources) == {customer_id}

    async def test_the_record_does_not_say_who_it_was(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        customer_id = await erase(admin, resources)
        body = await stored_bytes(resources, f"{LEDGER_FOLDER}/{customer_id.hex}")
        assert json.loads(body).keys() == {"erasure_id", "customer_pseudonym", "requested_at"}
        assert json.loads(body)["customer_pseudonym"] == resources.keyring.pseudonym("c-1")

    async def test_no_erasure_is_completed_without_its_record(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        location = (await admin.delete(f"{CUSTOMERS}/c-1")).headers["location"]
        failing = replace(resources, store=ReadOnlyStore(resources.store))
        with pytest.raises(StorageUnavailable):
            await finish_erasures(failing)
        assert len(await stored_keys(resources)) == 2
        assert (await admin.get(location)).json()["state"] == "pending"

    async def test_a_record_that_another_worker_only_begins_is_none(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        location = (await admin.delete(f"{CUSTOMERS}/c-1")).headers["location"]
        busy = replace(resources, store=BusyStore(resources.store))
        with pytest.raises(BlobMissing):
            await finish_erasures(busy)
        assert (await admin.get(location)).json()["state"] == "pending"

    async def test_a_record_is_never_changed(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        customer_id = await record_as_erased(resources, "c-1")
        key = f"{LEDGER_FOLDER}/{customer_id.hex}"
        before = await stored_bytes(resources, key)
        await erase(admin, resources)
        assert await stored_bytes(resources, key) == before


class ReadOnlyStore:
    """A store that takes nothing."""

    def __init__(self, inner: BlobStore) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def put(self, key: str, source: object) -> None:
        raise StorageUnavailable(f"no {key} from {source}")


class BusyStore(ReadOnlyStore):
    """A store that is told by another to write just the same."""

    async def put(self, key: str, source: object) -> None:
        del source
        raise BlobExists(key)


class TestVerify:
    """verify(), about the erased."""

    async def test_after_an_erasure_nothing_is_to_do(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await erase(admin, resources)
        assert (await check(resources)).is_clean

    async def test_a_pending_erasure_is_none_to_reapply(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await admin.delete(f"{CUSTOMERS}/c-1")
        assert (await check(resources)).is_clean

    async def test_a_customer_that_came_back_is_named_by_internal_id(
        self, resources: Resources
    ) -> None:
        customer_id = await record_as_erased(resources, "c-1")
        findings = await check(resources)
        assert (findings.unapplied, findings.is_clean) == ([customer_id], False)

    async def test_bytes_that_came_back_are_no_orphans(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        customer_id = await erase(admin, resources)
        await overwrite(resources, f"{customer_id}/{uuid4().hex}", b"back")
        findings = await check(resources)
        assert (findings.unapplied, findings.orphaned) == ([customer_id], [])


class TestReapply:
    """reapply_erasures()."""

    async def test_a_customer_that_came_back_is_erased_again(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await record_as_erased(resources, "c-1")
        assert await reapply(resources) == 1
        await finish_erasures(resources)
        assert (await admin.get(f"{CUSTOMERS}/c-1")).status_code == 404
        assert await rows(resources, "SELECT external_id FROM customers") == [("c-2",)]
        assert (await check(resources)).is_clean

    async def test_others_stay_untouched(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await record_as_erased(resources, "c-1")
        await reapply(resources)
        await finish_erasures(resources)
        answer = await admin.get(f"{CUSTOMERS}/c-2/documents/contract/content")
        assert answer.content == files.pdf("c-2")

    async def test_an_erasure_is_known_again_even_where_its_customer_is_not(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        """Tokens from before the erasure have to stay refused when the id is taken again."""
        await erase(admin, resources)
        before = await rows(resources, "SELECT id, customer_pseudonym, requested_at FROM erasures")
        await forget_erasures(resources)
        assert await reapply(resources) == 1
        await finish_erasures(resources)
        after = await rows(resources, "SELECT id, customer_pseudonym, requested_at FROM erasures")
        assert after == before
        async with resources.unit(Access.everyone()) as unit:
            erased_at = await unit.customers.erased_at(resources.keyring.pseudonym("c-1"))
        assert erased_at == before[0][2]

    async def test_bytes_that_came_back_go(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        customer_id = await erase(admin, resources)
        await overwrite(resources, f"{customer_id}/{uuid4().hex}", b"back")
        assert await reapply(resources) == 1
        await finish_erasures(resources)
        assert len(await stored_keys(resources)) == 1
        assert (await check(resources)).is_clean

    async def test_a_record_that_the_store_has_lost_is_written_again(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        customer_id = await erase(admin, resources)
        await resources.store.delete(f"{LEDGER_FOLDER}/{customer_id.hex}")
        assert (await check(resources)).unapplied == [customer_id]
        await reapply(resources)
        await finish_erasures(resources)
        assert await recorded_customers(resources) == {customer_id}

    async def test_a_new_customer_with_the_id_of_an_erased_one_stays(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await erase(admin, resources)
        await make_customer(admin, "c-1")
        await forget_erasures(resources)
        await reapply(resources)
        await finish_erasures(resources)
        assert (await admin.get(f"{CUSTOMERS}/c-1")).status_code == 200

    async def test_twice_is_harmless(self, admin: httpx.AsyncClient, resources: Resources) -> None:
        await record_as_erased(resources, "c-1")
        assert [await reapply(resources) for _ in range(2)] == [1, 0]
        await finish_erasures(resources)
        assert await reapply(resources) == 0
        assert (await admin.get("/v1/admin/erasures")).json()["items"][0]["state"] == "completed"

    async def test_the_trail_says_that_it_was_done_again(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await record_as_erased(resources, "c-1")
        await reapply(resources)
        answer = await admin.get("/v1/admin/audit-events?action=customer.erase")
        (event,) = answer.json()["items"]
        assert event["actor"]["kind"] == "system"
        assert event["customer"] == resources.keyring.pseudonym("c-1")
