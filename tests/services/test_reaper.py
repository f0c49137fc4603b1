"""The reaper deletes what has expired or was left behind, and nothing else."""

import asyncio

import httpx
import pytest
from tests.factories import files
from tests.factories.blobs import blob_states, leave_bytes, run_sql
from tests.factories.setups import make_customer, make_type, upload_of
from tests.factories.stored import stored_keys
from tests.fixtures.callers import CustomerClients

from docvault.services.erasures import finish_erasures
from docvault.services.reaper import reap
from docvault.services.resources import Resources

PATH = "/v1/admin/customers/c-1/documents/contract"


@pytest.fixture(autouse=True)
async def contract(admin: httpx.AsyncClient) -> None:
    await make_type(admin, "Contract")
    await make_customer(admin, "c-1")


class TestReap:
    """reap()."""

    async def test_live_intents_are_kept(self, resources: Resources) -> None:
        await leave_bytes(resources)
        await reap(resources)
        assert await blob_states(resources) == ["pending"]
        assert len(await stored_keys(resources)) == 1

    async def test_expired_intents_and_bytes_are_deleted(self, resources: Resources) -> None:
        await leave_bytes(resources, number=3)
        await run_sql(resources, "UPDATE blobs SET expires_at = now()")
        await reap(resources)
        assert (await blob_states(resources), await stored_keys(resources)) == ([], [])

    async def test_expired_intents_without_bytes_are_deleted(self, resources: Resources) -> None:
        await leave_bytes(resources)
        (key,) = await stored_keys(resources)
        await resources.store.delete(key)
        await run_sql(resources, "UPDATE blobs SET expires_at = now()")
        await reap(resources)
        assert await blob_states(resources) == []

    async def test_concurrent_reaping_is_safe(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await admin.put(PATH, **upload_of())
        await leave_bytes(resources, number=5)
        await run_sql(resources, "UPDATE blobs SET expires_at = now() WHERE state = 'pending'")
        await asyncio.gather(*(reap(resources) for _ in range(4)))
        assert await blob_states(resources) == ["stored"]
        assert (await admin.get(f"{PATH}/content")).content == files.pdf()

    async def test_responses_older_than_a_day_are_deleted(
        self, customer_of: CustomerClients, resources: Resources
    ) -> None:
        headers = {"Idempotency-Key": "k"}
        path = "/v1/customer/documents/contract"
        await customer_of("c-1").put(path, **upload_of(), headers=headers)
        await reap(resources)
        assert await run_sql(resources, "SELECT count(*) FROM idempotency_keys") == [(1,)]
        await run_sql(resources, "UPDATE idempotency_keys SET expires_at = now()")
        await reap(resources)
        assert await run_sql(resources, "SELECT count(*) FROM idempotency_keys") == [(0,)]

    @pytest.mark.req("R-107", "A-28")
    async def test_late_audit_details_of_erased_customer_are_deleted(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        details = "SELECT customer FROM audit_details ORDER BY customer"
        await make_customer(admin, "c-2")
        await admin.delete("/v1/admin/customers/c-1")
        await finish_erasures(resources)
        assert await run_sql(resources, details) == [("c-2",)]
        await run_sql(
            resources,
            "INSERT INTO audit_details (event_id, customer_id, customer)"
            " SELECT event.id, erasures.customer_id, 'c-1' FROM audit_events AS event, erasures"
            " WHERE NOT EXISTS (SELECT FROM audit_details WHERE event_id = event.id) LIMIT 1",
        )
        assert await run_sql(resources, details) == [("c-1",), ("c-2",)]
        await reap(resources)
        assert await run_sql(resources, details) == [("c-2",)]

    async def test_spool_of_dead_process_is_deleted(self, resources: Resources) -> None:
        folder = resources.store.spool_dir / "dead"
        folder.mkdir()
        (folder / "upload").write_bytes(b"canary")
        await reap(resources)
        assert not folder.exists()
