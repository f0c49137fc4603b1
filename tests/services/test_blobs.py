"""The jobs that delete bytes: they are idempotent and never delete attached blobs."""

import asyncio
import dataclasses
from typing import Any, cast
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from tests.factories import files
from tests.factories.blobs import blob_states, leave_bytes, run_sql
from tests.factories.setups import make_customer, make_type, upload_of
from tests.factories.stored import stored_keys

from docvault.errors import StorageUnavailable
from docvault.services.blobs import delete_queued_blobs, owner_of
from docvault.services.erasures import finish_erasures
from docvault.services.reaper import reap
from docvault.services.resources import Resources
from docvault.storage.base import BlobStore

PATH = "/v1/admin/customers/c-1/documents/contract"


@pytest.fixture(autouse=True)
async def contract(admin: httpx.AsyncClient) -> None:
    await make_type(admin, "Contract")
    await make_customer(admin, "c-1")


class FailingStore:
    """A store whose deletions fail."""

    def __init__(self, inner: BlobStore) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def delete(self, key: str) -> None:
        raise StorageUnavailable(f"no deletion of {key}")


class LockingStore(FailingStore):
    """A store that has one object under a lock."""

    def __init__(self, inner: BlobStore, locked: str) -> None:
        super().__init__(inner)
        self._locked = locked

    async def delete(self, key: str) -> None:
        if key == self._locked:
            await super().delete(key)
        await self._inner.delete(key)


class TestDeleteQueuedBlobs:
    """delete_queued_blobs()."""

    async def test_bytes_and_rows_of_deleted_document_are_removed(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await admin.put(PATH, **upload_of())
        assert (await admin.delete(PATH)).status_code == 204
        assert await blob_states(resources) == ["delete_queued"]
        assert len(await stored_keys(resources)) == 1
        await delete_queued_blobs(resources)
        assert (await blob_states(resources), await stored_keys(resources)) == ([], [])

    async def test_deleting_queues_a_job_in_the_same_transaction(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await admin.put(PATH, **upload_of())
        await admin.delete(PATH)
        jobs = await run_sql(resources, "SELECT task_name FROM procrastinate_jobs ORDER BY id")
        assert ("delete_blobs",) in jobs

    async def test_missing_bytes_count_as_deleted(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await admin.put(PATH, **upload_of())
        (key,) = await stored_keys(resources)
        await resources.store.delete(key)
        await admin.delete(PATH)
        await delete_queued_blobs(resources)
        assert await blob_states(resources) == []

    async def test_concurrent_workers_are_safe(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        for _ in range(4):
            await admin.put(PATH, **upload_of())
        await admin.delete(PATH)
        await asyncio.gather(*(delete_queued_blobs(resources) for _ in range(4)))
        assert (await blob_states(resources), await stored_keys(resources)) == ([], [])

    @pytest.mark.req("B-213")
    @pytest.mark.parametrize("position", [0, 60, 119])
    async def test_undeletable_blob_does_not_stop_others(
        self, resources: Resources, position: int
    ) -> None:
        await leave_bytes(resources, number=120)
        await run_sql(resources, "UPDATE blobs SET state = 'delete_queued', expires_at = NULL")
        locked = (await run_sql(resources, "SELECT key FROM blobs ORDER BY id"))[position][0]
        locking = dataclasses.replace(
            resources, store=cast("BlobStore", LockingStore(resources.store, locked))
        )
        with pytest.raises(StorageUnavailable):
            await delete_queued_blobs(locking)
        assert (await blob_states(resources), await stored_keys(resources)) == (
            ["delete_queued"],
            [locked],
        )

    async def test_more_than_one_batch_is_deleted(self, resources: Resources) -> None:
        await leave_bytes(resources, number=120)
        await run_sql(resources, "UPDATE blobs SET state = 'delete_queued', expires_at = NULL")
        await delete_queued_blobs(resources)
        assert (await blob_states(resources), await stored_keys(resources)) == ([], [])

    @pytest.mark.parametrize("act", ["delete", "replace"])
    async def test_bytes_are_kept_for_backup_retention(
        self, admin: httpx.AsyncClient, resources: Resources, app: FastAPI, act: str
    ) -> None:
        """A restored database from before the change still refers to them."""
        settings = {"deleted_blob_retention_hours": 2, "keep_versions": 1}
        app.state.resources = dataclasses.replace(
            resources, settings=resources.settings.model_copy(update=settings)
        )
        await admin.put(PATH, **upload_of(files.pdf("1")))
        (key,) = await stored_keys(resources)
        if act == "delete":
            await admin.delete(PATH)
        else:
            await admin.put(PATH, **upload_of(files.pdf("2")))
        await reap(resources)
        assert key in await stored_keys(resources)
        await run_sql(resources, "UPDATE blobs SET expires_at = expires_at - interval '2 hours'")
        await reap(resources)
        assert key not in await stored_keys(resources)

    @pytest.mark.req("R-101")
    async def test_erasure_ignores_backup_retention(
        self, admin: httpx.AsyncClient, resources: Resources, app: FastAPI
    ) -> None:
        app.state.resources = dataclasses.replace(
            resources,
            settings=resources.settings.model_copy(update={"deleted_blob_retention_hours": 2}),
        )
        await admin.put(PATH, **upload_of(files.pdf("1")))
        await admin.delete(PATH)
        await admin.put(PATH, **upload_of(files.pdf("2")))
        await admin.delete("/v1/admin/customers/c-1")
        await finish_erasures(resources)
        assert (await blob_states(resources), await stored_keys(resources)) == ([], [])

    @pytest.mark.req("R-103")
    async def test_failing_store_keeps_rows_for_retry(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await admin.put(PATH, **upload_of())
        await admin.delete(PATH)
        failing = dataclasses.replace(resources, store=FailingStore(resources.store))
        with pytest.raises(StorageUnavailable):
            await delete_queued_blobs(failing)
        assert await blob_states(resources) == ["delete_queued"]
        await delete_queued_blobs(resources)
        assert (await blob_states(resources), await stored_keys(resources)) == ([], [])

    @pytest.mark.req("R-107")
    async def test_attached_bytes_of_others_are_kept(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await make_customer(admin, "c-2")
        other = PATH.replace("c-1", "c-2")
        for path in (PATH, other):
            await admin.put(path, **upload_of())
        await admin.delete(PATH)
        await delete_queued_blobs(resources)
        assert (await admin.get(f"{other}/content")).content == files.pdf()

    @pytest.mark.req("A-02")
    async def test_bytes_of_pruned_versions_are_deleted(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        for _ in range(12):
            assert (await admin.put(PATH, **upload_of())).status_code in {200, 201}
        await delete_queued_blobs(resources)
        versions = (await admin.get(f"{PATH}/versions")).json()["items"]
        assert [v["version"] for v in versions] == list(range(12, 2, -1))
        assert len(await stored_keys(resources)) == 10


class TestOwnerOf:
    """owner_of()."""

    def test_first_key_part_is_owner(self) -> None:
        customer_id = uuid4()
        assert owner_of(f"{customer_id}/{uuid4().hex}") == customer_id

    @pytest.mark.parametrize("key", ["read.me", "backup/2026", ""])
    def test_foreign_object_has_no_owner(self, key: str) -> None:
        assert owner_of(key) is None
