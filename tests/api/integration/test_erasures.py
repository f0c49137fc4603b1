"""Erasures requested by the host."""

import uuid

import httpx
import pytest
from tests.factories.setups import make_customer, make_type, upload_of

from docvault.services.erasures import finish_erasures
from docvault.services.resources import Resources

CUSTOMER = "/v1/integration/customers/c-1"


@pytest.fixture(autouse=True)
async def customer(admin: httpx.AsyncClient) -> None:
    """A customer c-1 with a document."""
    await make_type(admin, "T")
    await make_customer(admin, "c-1")
    await admin.put("/v1/admin/customers/c-1/documents/t", **upload_of())


class TestDelete:
    """DELETE /v1/integration/customers/{id}."""

    @pytest.mark.req("R-100", "R-105")
    async def test_erasure_can_be_started_watched_and_completes(
        self, integration: httpx.AsyncClient, resources: Resources
    ) -> None:
        first = await integration.delete(CUSTOMER)
        again = await integration.delete(CUSTOMER)
        location = first.headers["location"]
        assert (first.status_code, again.status_code) == (202, 202)
        assert again.headers["location"] == location
        assert location.startswith("/v1/integration/erasures/")
        assert (await integration.get(location)).json()["state"] == "pending"
        await finish_erasures(resources)
        done = (await integration.get(location)).json()
        assert (done["state"], done["counts"]["blobs_deleted"]) == ("completed", 1)
        assert (await integration.delete(CUSTOMER)).status_code == 404

    async def test_reads_and_writes_during_erasure(self, integration: httpx.AsyncClient) -> None:
        await integration.delete(CUSTOMER)
        for rest in ("", "/documents", "/documents/t", "/documents/t/content", "/gate"):
            response = await integration.get(f"{CUSTOMER}{rest}")
            assert (response.status_code, response.json()["code"]) == (404, "customer-not-found"), (
                rest
            )
        responses = [
            await integration.put(CUSTOMER, json={}),
            await integration.patch(CUSTOMER, json={}),
            await integration.put(f"{CUSTOMER}/documents/t", **upload_of()),
        ]
        assert {(r.status_code, r.json()["code"]) for r in responses} == {
            (409, "customer-being-erased")
        }

    async def test_staff_and_integration_see_same_erasure(
        self, admin: httpx.AsyncClient, integration: httpx.AsyncClient
    ) -> None:
        ours = (await integration.delete(CUSTOMER)).headers["location"]
        theirs = (await admin.delete("/v1/admin/customers/c-1")).headers["location"]
        assert (await integration.get(ours)).json() == (await admin.get(theirs)).json()


class TestRead:
    """GET /v1/integration/erasures/{id}."""

    async def test_unknown_erasure_is_not_found(self, integration: httpx.AsyncClient) -> None:
        response = await integration.get(f"/v1/integration/erasures/{uuid.uuid4()}")
        assert (response.status_code, response.json()["code"]) == (404, "not-found")
