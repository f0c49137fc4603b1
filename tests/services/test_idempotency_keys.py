"""`Idempotency-Key`: a repeated request is executed once."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from tests.factories import files
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import CustomerClients, KeyClients

from docvault.repositories.idempotency_keys import KeyHolder
from docvault.services.resources import Resources

TYPES = "/v1/admin/document-types"
PATH = "/v1/customer/documents/contract"
KEY = {"Idempotency-Key": "key-1"}


@pytest.fixture
async def customer(admin: httpx.AsyncClient, customer_of: CustomerClients) -> httpx.AsyncClient:
    await make_type(admin, "Contract")
    await make_customer(admin, "c-1")
    return customer_of("c-1")


async def sql(resources: Resources, statement: str) -> list[tuple[Any, ...]]:
    async with resources.database.transaction() as session:
        result: Any = await session.execute(text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []


async def create(client: httpx.AsyncClient, name: str, **headers: str) -> httpx.Response:
    return await client.post(TYPES, json={"name": name}, headers=KEY | headers)


async def hold(resources: Resources, key: str = "key-1") -> None:
    """Claim the key like a request of staff-1 that is still in progress."""
    async with resources.transaction(resources.system_context()) as uow:
        key_id = resources.keyring.idempotency_id("admin", "staff-1", "POST", TYPES, key)
        assert await uow.idempotency_keys.claim(key_id, None, KeyHolder(b"caller", max_keys=10))


class TestJson:
    """POST /v1/admin/document-types."""

    @pytest.mark.req("R-117")
    async def test_repeated_request_is_replayed(self, admin: httpx.AsyncClient) -> None:
        first, again = await create(admin, "Contract"), await create(admin, "Contract")
        assert (again.status_code, again.json()) == (201, first.json())
        assert again.headers["etag"] == first.headers["etag"]
        assert again.headers["location"] == first.headers["location"]
        assert len((await admin.get(TYPES)).json()["items"]) == 1

    async def test_replay_is_marked(self, admin: httpx.AsyncClient) -> None:
        first, again = await create(admin, "Contract"), await create(admin, "Contract")
        assert "idempotency-replayed" not in first.headers
        assert again.headers["idempotency-replayed"] == "true"

    async def test_different_payload_is_rejected(self, admin: httpx.AsyncClient) -> None:
        await create(admin, "Contract")
        response = await create(admin, "Passport")
        assert (response.status_code, response.json()["code"]) == (422, "idempotency-key-reused")
        assert response.json()["errors"][0]["parameter"] == "Idempotency-Key"

    async def test_request_in_progress_is_409(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await hold(resources)
        response = await create(admin, "Contract")
        assert (response.status_code, response.json()["code"]) == (409, "request-in-progress")
        assert "retry-after" in response.headers

    async def test_claim_of_crashed_request_is_taken_over_after_lease(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await hold(resources)
        await sql(resources, "UPDATE idempotency_keys SET locked_until = now()")
        assert (await create(admin, "Contract")).status_code == 201

    async def test_key_is_free_after_a_day(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await create(admin, "Contract")
        await sql(resources, "UPDATE idempotency_keys SET expires_at = now()")
        response = await create(admin, "Passport")
        assert response.status_code == 201, response.text
        assert response.json()["name"] == "Passport"

    async def test_response_is_kept_for_a_day(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await create(admin, "Contract")
        query = "SELECT extract(epoch FROM expires_at - now()) FROM idempotency_keys"
        ((seconds,),) = await sql(resources, query)
        assert float(seconds) == pytest.approx(24 * 3600, abs=60)

    @pytest.mark.parametrize("body", [b"{", b'{"name": ""}', b'{"nome": "x"}', b"[1]"])
    async def test_rejection_is_not_stored(self, admin: httpx.AsyncClient, body: bytes) -> None:
        headers = KEY | {"Content-Type": "application/json"}
        assert (await admin.post(TYPES, content=body, headers=headers)).status_code in {400, 422}
        assert (await create(admin, "Contract")).status_code == 201

    async def test_conflict_is_not_stored(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "Contract")
        assert (await create(admin, "Contract")).status_code == 409
        assert (await create(admin, "Passport")).status_code == 201

    async def test_different_key_is_different_request(self, admin: httpx.AsyncClient) -> None:
        await create(admin, "Contract")
        response = await create(admin, "Contract", **{"Idempotency-Key": "key-2"})
        assert response.status_code == 409

    async def test_different_path_is_different_request(self, admin: httpx.AsyncClient) -> None:
        await create(admin, "Contract")
        response = await admin.post("/v1/admin/customers", json={"id": "c-1"}, headers=KEY)
        assert response.status_code == 201

    async def test_quoted_key_equals_unquoted_key(self, admin: httpx.AsyncClient) -> None:
        """The draft defines the header as a quoted string; many clients omit the quotes."""
        await create(admin, "Contract")
        response = await create(admin, "Contract", **{"Idempotency-Key": '"key-1"'})
        assert response.status_code == 201

    @pytest.mark.parametrize("value", ["", " ", "a b", "x" * 256, "é".encode().decode("latin-1")])
    async def test_invalid_key_is_rejected(self, admin: httpx.AsyncClient, value: str) -> None:
        headers = [(b"Idempotency-Key", value.encode("latin-1"))]
        response = await admin.post(TYPES, json={"name": "Contract"}, headers=headers)
        assert (response.status_code, response.json()["code"]) == (422, "validation-error")
        assert response.json()["errors"][0]["parameter"] == "Idempotency-Key"

    @pytest.mark.req("R-117")
    async def test_one_concurrent_request_is_processed(self, admin: httpx.AsyncClient) -> None:
        responses = await asyncio.gather(*(create(admin, "Contract") for _ in range(20)))
        done = [r for r in responses if r.status_code == 201]
        assert done
        assert {r.status_code for r in responses} <= {201, 409}
        assert {r.json()["code"] for r in responses if r.status_code == 409} <= {
            "request-in-progress"
        }
        assert len((await admin.get(TYPES)).json()["items"]) == 1


class TestUploads:
    """PUT /v1/customer/documents/{key}."""

    @pytest.mark.req("R-117")
    async def test_repeated_upload_creates_one_version(self, customer: httpx.AsyncClient) -> None:
        responses = [await customer.put(PATH, **upload_of(), headers=KEY) for _ in range(3)]
        assert [response.status_code for response in responses] == [201, 201, 201]
        assert len({response.text for response in responses}) == 1
        assert (await customer.get(PATH)).json()["version"] == 1

    @pytest.mark.parametrize(
        "other",
        [
            upload_of(files.pdf("another")),
            upload_of(filename="other.pdf"),
            upload_of(field_values="{}"),
        ],
        ids=["bytes", "name", "values"],
    )
    async def test_different_upload_with_same_key_is_rejected(
        self, customer: httpx.AsyncClient, other: dict[str, Any]
    ) -> None:
        await customer.put(PATH, **upload_of(), headers=KEY)
        response = await customer.put(PATH, **other, headers=KEY)
        assert (response.status_code, response.json()["code"]) == (422, "idempotency-key-reused")

    async def test_boundary_does_not_affect_payload_hash(self, customer: httpx.AsyncClient) -> None:
        for boundary in ("one", "two"):
            headers = KEY | {"Content-Type": f"multipart/form-data; boundary={boundary}"}
            response = await customer.put(PATH, **upload_of(), headers=headers)
            assert (response.status_code, response.json()["version"]) == (201, 1)

    async def test_keys_of_other_customers_are_separate(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        await make_customer(admin, "c-2")
        await customer.put(PATH, **upload_of(), headers=KEY)
        response = await customer_of("c-2").put(
            PATH, **upload_of(files.png(), "a.png"), headers=KEY
        )
        assert (response.status_code, response.json()["files"][0]["filename"]) == (201, "a.png")

    async def test_keys_of_other_api_keys_are_separate(
        self, customer: httpx.AsyncClient, key_client: KeyClients
    ) -> None:
        del customer
        path = "/v1/integration/customers/c-1/documents/contract"
        one, two = await key_client(), await key_client()
        await one.put(path, **upload_of(), headers=KEY)
        response = await two.put(path, **upload_of(files.png(), "a.png"), headers=KEY)
        assert (response.status_code, response.json()["version"]) == (200, 2)

    @pytest.mark.req("R-102")
    async def test_responses_are_deleted_with_customer(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await customer.put(PATH, **upload_of(filename="canary.pdf"), headers=KEY)
        assert await sql(resources, "SELECT count(*) FROM idempotency_keys") == [(1,)]
        await admin.delete("/v1/admin/customers/c-1")
        assert await sql(resources, "SELECT count(*) FROM idempotency_keys") == [(0,)]

    async def test_rejected_upload_releases_key(self, customer: httpx.AsyncClient) -> None:
        bad = await customer.put(PATH, **upload_of(files.executable(), "a.exe"), headers=KEY)
        assert bad.status_code == 415
        good = await customer.put(PATH, **upload_of(), headers=KEY)
        assert good.status_code == 201

    async def test_one_concurrent_upload_is_stored(self, customer: httpx.AsyncClient) -> None:
        responses = await asyncio.gather(
            *(customer.put(PATH, **upload_of(), headers=KEY) for _ in range(10))
        )
        assert {response.status_code for response in responses} <= {201, 409}
        assert (await customer.get(PATH)).json()["version"] == 1


class TestApiKeys:
    """POST /v1/admin/api-keys: the only POST whose response must not be stored."""

    async def test_created_key_is_not_stored_for_replay(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        body = {"name": "crm", "scopes": ["gate:read"]}
        made = await admin.post("/v1/admin/api-keys", json=body, headers=KEY)
        again = await admin.post("/v1/admin/api-keys", json=body, headers=KEY)
        assert await sql(resources, "SELECT id FROM idempotency_keys") == []
        assert made.json().get("key") not in again.text
