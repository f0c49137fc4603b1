"""The ledger of erasures: erased customers stay erased after a restore."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text
from tests.factories import files
from tests.factories.setups import make_customer, make_type, upload_of
from tests.factories.stored import overwrite, stored_bytes, stored_keys

from docvault.domain.erasures import Erasure
from docvault.errors import StorageUnavailable
from docvault.services.erasure_ledger import recorded_customers, write_record
from docvault.services.erasures import (
    erased_customers,
    finish_erasures,
    reapply_erasures,
)
from docvault.services.resources import Resources
from docvault.services.verification import Findings, verify
from docvault.storage.base import (
    LEDGER_FOLDER,
    BlobExists,
    BlobMissing,
    BlobStore,
    StoredBlob,
)

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
        result: Any = await session.execute(text(statement), values)
        return [tuple(row) for row in result] if result.returns_rows else []


async def internal_id(resources: Resources, customer: str) -> UUID:
    query = "SELECT id FROM customers WHERE external_id = :customer"
    ((customer_id,),) = await rows(resources, query, customer=customer)
    found: UUID = customer_id
    return found


async def erase(admin: httpx.AsyncClient, resources: Resources, customer: str = "c-1") -> UUID:
    """Erase a customer completely; return its former internal id."""
    customer_id = await internal_id(resources, customer)
    assert (await admin.delete(f"{CUSTOMERS}/{customer}")).status_code == 202
    await finish_erasures(resources)
    return customer_id


async def forget_erasures(resources: Resources) -> None:
    """Delete all erasures, as if the erased customers had never existed."""
    await rows(resources, "DELETE FROM erasures")


async def record_as_erased(resources: Resources, customer: str) -> UUID:
    """Turn the database into one from before an erasure, which is already in the ledger."""
    (erasure_row,) = await rows(
        resources, "SELECT id, now() - interval '1 hour' FROM customers WHERE external_id = :c",
        c=customer,
    )  # fmt: skip
    customer_id, requested_at = erasure_row
    pseudonym = resources.keyring.pseudonym(customer)
    counts = {"documents": 1, "versions": 1, "blobs": 1, "blobs_pending": 0}
    facts = Erasure(
        id=uuid4(), customer_id=customer_id, customer_pseudonym=pseudonym,
        requested_at=requested_at, completed_at=requested_at, **counts,
    )  # fmt: skip
    await write_record(resources, facts)
    for blob in [blob async for blob in resources.store.list_folder(str(customer_id))]:
        await resources.store.delete(blob.key)
    found: UUID = customer_id
    return found


async def reapply(resources: Resources) -> int:
    return await reapply_erasures(resources)


async def check(resources: Resources) -> Findings:
    return await verify(resources, rehash=False, progress=lambda _: None)


class TestLedger:
    """The records of erasures in the ledger."""

    async def test_completed_erasure_has_record(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        customer_id = await erase(admin, resources)
        assert await recorded_customers(resources) == {customer_id}

    async def test_record_does_not_identify_customer(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        customer_id = await erase(admin, resources)
        body = await stored_bytes(resources, f"{LEDGER_FOLDER}/{customer_id.hex}")
        assert json.loads(body).keys() == {"erasure_id", "customer_pseudonym", "requested_at"}
        assert json.loads(body)["customer_pseudonym"] == resources.keyring.pseudonym("c-1")

    async def test_erasure_is_not_completed_without_record(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        location = (await admin.delete(f"{CUSTOMERS}/c-1")).headers["location"]
        failing = replace(resources, store=ReadOnlyStore(resources.store))
        with pytest.raises(StorageUnavailable):
            await finish_erasures(failing)
        assert len(await stored_keys(resources)) == 2
        assert (await admin.get(location)).json()["state"] == "pending"

    async def test_record_in_progress_is_ignored(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        location = (await admin.delete(f"{CUSTOMERS}/c-1")).headers["location"]
        busy = replace(resources, store=BusyStore(resources.store))
        with pytest.raises(BlobMissing):
            await finish_erasures(busy)
        assert (await admin.get(location)).json()["state"] == "pending"

    async def test_record_is_immutable(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        customer_id = await record_as_erased(resources, "c-1")
        key = f"{LEDGER_FOLDER}/{customer_id.hex}"
        before = await stored_bytes(resources, key)
        await erase(admin, resources)
        assert await stored_bytes(resources, key) == before


class ReadOnlyStore:
    """A store that rejects all writes."""

    def __init__(self, inner: BlobStore) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def put(self, key: str, source: object) -> None:
        raise StorageUnavailable(f"no {key} from {source}")


class BusyStore(ReadOnlyStore):
    """A store where another process is writing the same key."""

    async def put(self, key: str, source: object) -> None:
        del source
        raise BlobExists(key)


class KeepingStore(ReadOnlyStore):
    """A store that writes, but has the objects of one customer under a lock."""

    def __init__(self, inner: BlobStore, customer_id: UUID) -> None:
        super().__init__(inner)
        self._customer_id = customer_id

    async def put(self, key: str, source: object) -> None:
        await self._inner.put(key, cast("Path", source))

    async def delete(self, key: str) -> None:
        if key.startswith(str(self._customer_id)):
            raise StorageUnavailable(cause="S3 responded AccessDenied (403)")
        await self._inner.delete(key)


class InterruptedStore(ReadOnlyStore):
    """A store where something happens before the first listing of a kind."""

    def __init__(self, inner: BlobStore) -> None:
        super().__init__(inner)
        self.before: dict[str, Callable[[], Awaitable[object]]] = {}

    async def list_blobs(self) -> AsyncIterator[StoredBlob]:
        await self._interrupt("list_blobs")
        async for blob in self._inner.list_blobs():
            yield blob

    async def list_folder(self, folder: str) -> AsyncIterator[StoredBlob]:
        await self._interrupt("list_folder")
        async for blob in self._inner.list_folder(folder):
            yield blob

    async def _interrupt(self, listing: str) -> None:
        happen = self.before.pop(listing, None)
        if happen is not None:
            await happen()


class TestVerify:
    """The findings of verify() about erased customers."""

    async def test_nothing_to_do_after_erasure(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await erase(admin, resources)
        assert (await check(resources)).is_clean

    async def test_pending_erasure_is_not_reapplied(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await admin.delete(f"{CUSTOMERS}/c-1")
        assert (await check(resources)).is_clean

    @pytest.mark.parametrize("listing", ["list_folder", "list_blobs"])
    async def test_erasure_that_runs_meanwhile_is_no_finding(
        self, admin: httpx.AsyncClient, resources: Resources, listing: str
    ) -> None:
        store = InterruptedStore(resources.store)
        store.before[listing] = lambda: erase(admin, resources)
        busy = replace(resources, store=cast("BlobStore", store))
        assert (await erased_customers(busy)).unapplied == set()
        assert (await admin.get(f"{CUSTOMERS}/c-1")).status_code == 404

    async def test_restored_customer_is_named_by_internal_id(self, resources: Resources) -> None:
        customer_id = await record_as_erased(resources, "c-1")
        findings = await check(resources)
        assert (findings.unapplied, findings.is_clean) == ([customer_id], False)

    async def test_restored_bytes_are_not_orphans(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        customer_id = await erase(admin, resources)
        await overwrite(resources, f"{customer_id}/{uuid4().hex}", b"back")
        findings = await check(resources)
        assert (findings.unapplied, findings.orphaned) == ([customer_id], [])


class TestFinishErasures:
    """finish_erasures()."""

    @pytest.mark.req("B-213")
    @pytest.mark.parametrize(("locked", "other"), [("c-1", "c-2"), ("c-2", "c-1")])
    async def test_failing_erasure_does_not_stop_others(
        self, admin: httpx.AsyncClient, resources: Resources, locked: str, other: str
    ) -> None:
        customer_id = await internal_id(resources, locked)
        location = (await admin.delete(f"{CUSTOMERS}/{other}")).headers["location"]
        assert (await admin.delete(f"{CUSTOMERS}/{locked}")).status_code == 202
        store = KeepingStore(resources.store, customer_id)
        with pytest.raises(StorageUnavailable):
            await finish_erasures(replace(resources, store=cast("BlobStore", store)))
        assert {key.partition("/")[0] for key in await stored_keys(resources)} == {str(customer_id)}
        assert (await admin.get(location)).json()["state"] == "completed"


class TestReapply:
    """reapply_erasures()."""

    async def test_restored_customer_is_erased_again(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await record_as_erased(resources, "c-1")
        assert await reapply(resources) == 1
        await finish_erasures(resources)
        assert (await admin.get(f"{CUSTOMERS}/c-1")).status_code == 404
        assert await rows(resources, "SELECT external_id FROM customers") == [("c-2",)]
        assert (await check(resources)).is_clean

    async def test_other_customers_are_untouched(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await record_as_erased(resources, "c-1")
        await reapply(resources)
        await finish_erasures(resources)
        response = await admin.get(f"{CUSTOMERS}/c-2/documents/contract/content")
        assert response.content == files.pdf("c-2")

    async def test_erasure_is_restored_without_its_customer(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        """Tokens from before the erasure have to stay invalid when the id is reused."""
        await erase(admin, resources)
        before = await rows(resources, "SELECT id, customer_pseudonym, requested_at FROM erasures")
        await forget_erasures(resources)
        assert await reapply(resources) == 1
        await finish_erasures(resources)
        after = await rows(resources, "SELECT id, customer_pseudonym, requested_at FROM erasures")
        assert after == before
        async with resources.transaction(resources.system_context()) as uow:
            erased_at = await uow.customers.erased_at(resources.keyring.pseudonyms("c-1"))
        assert erased_at == before[0][2]

    async def test_restored_blobs_of_erased_customer_are_deleted(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        customer_id = await erase(admin, resources)
        await overwrite(resources, f"{customer_id}/{uuid4().hex}", b"back")
        assert await reapply(resources) == 1
        await finish_erasures(resources)
        assert len(await stored_keys(resources)) == 1
        assert (await check(resources)).is_clean

    async def test_lost_record_is_rewritten(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        customer_id = await erase(admin, resources)
        await resources.store.delete(f"{LEDGER_FOLDER}/{customer_id.hex}")
        assert (await check(resources)).unapplied == [customer_id]
        await reapply(resources)
        await finish_erasures(resources)
        assert await recorded_customers(resources) == {customer_id}

    async def test_new_customer_with_erased_id_is_kept(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await erase(admin, resources)
        await make_customer(admin, "c-1")
        await forget_erasures(resources)
        await reapply(resources)
        await finish_erasures(resources)
        assert (await admin.get(f"{CUSTOMERS}/c-1")).status_code == 200

    async def test_reapply_is_idempotent(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await record_as_erased(resources, "c-1")
        assert [await reapply(resources) for _ in range(2)] == [1, 0]
        await finish_erasures(resources)
        assert await reapply(resources) == 0
        assert (await admin.get("/v1/admin/erasures")).json()["items"][0]["state"] == "completed"

    async def test_reapplication_is_audited(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await record_as_erased(resources, "c-1")
        await reapply(resources)
        response = await admin.get("/v1/admin/audit-events?action=customer.erase")
        (event,) = response.json()["items"]
        assert event["actor"]["kind"] == "system"
        assert event["customer"] == resources.keyring.pseudonym("c-1")
