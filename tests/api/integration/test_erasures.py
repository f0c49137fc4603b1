"""Erasures that the host asks for."""

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
    async def test_it_runs_is_watched_and_ends(
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

    async def test_reads_and_writes_while_it_runs(self, integration: httpx.AsyncClient) -> None:
        await integration.delete(CUSTOMER)
        for rest in ("", "/documents", "/documents/t", "/documents/t/content", "/gate"):
            answer = await integration.get(f"{CUSTOMER}{rest}")
            assert (answer.status_code, answer.json()["code"]) == (404, "customer-unknown"), rest
        answers = [
            await integration.put(CUSTOMER, json={}),
            await integration.patch(CUSTOMER, json={}),
            await integration.put(f"{CUSTOMER}/documents/t", **upload_of()),
        ]
        assert {(a.status_code, a.json()["code"]) for a in answers} == {
            (409, "customer-being-erased")
        }

    async def test_staff_and_host_are_told_of_the_same_erasure(
        self, admin: httpx.AsyncClient, integration: httpx.AsyncClient
    ) -> None:
        ours = (await integration.delete(CUSTOMER)).headers["location"]
        theirs = (await admin.delete("/v1/admin/customers/c-1")).headers["location"]
        assert (await integration.get(ours)).json() == (await admin.get(theirs)).json()


class TestRead:
    """GET /v1/integration/erasures/{id}."""

    async def test_an_unknown_one_is_not_found(self, integration: httpx.AsyncClient) -> None:
        answer = await integration.get(f"/v1/integration/erasures/{uuid.uuid4()}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
