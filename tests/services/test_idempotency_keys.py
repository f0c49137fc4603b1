"""`Idempotency-Key`: a repeated request is done once."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from tests.factories import files
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import CustomerClients, KeyClients

from docvault.auth.principals import Access
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
        result = await session.execute(text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []


async def create(client: httpx.AsyncClient, name: str, **headers: str) -> httpx.Response:
    return await client.post(TYPES, json={"name": name}, headers=KEY | headers)


async def hold(resources: Resources, key: str = "key-1") -> None:
    """Claim the key as a request of staff-1 that is still running."""
    async with resources.unit(Access.everyone()) as unit:
        key_id = resources.keyring.idempotency_id("admin", "staff-1", "POST", TYPES, key)
        assert await unit.idempotency_keys.claim(key_id, None)


class TestJson:
    """POST /v1/admin/document-types."""

    @pytest.mark.req("R-117")
    async def test_a_repeated_request_gets_the_same_answer(self, admin: httpx.AsyncClient) -> None:
        first, again = await create(admin, "Contract"), await create(admin, "Contract")
        assert (again.status_code, again.json()) == (201, first.json())
        assert again.headers["etag"] == first.headers["etag"]
        assert again.headers["location"] == first.headers["location"]
        assert len((await admin.get(TYPES)).json()["items"]) == 1

    async def test_a_replay_says_so(self, admin: httpx.AsyncClient) -> None:
        first, again = await create(admin, "Contract"), await create(admin, "Contract")
        assert "idempotency-replayed" not in first.headers
        assert again.headers["idempotency-replayed"] == "true"

    async def test_another_payload_is_refused(self, admin: httpx.AsyncClient) -> None:
        await create(admin, "Contract")
        answer = await create(admin, "Passport")
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-key-reused")
        assert answer.json()["errors"][0]["parameter"] == "Idempotency-Key"

    async def test_a_request_that_still_runs_is_409(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await hold(resources)
        answer = await create(admin, "Contract")
        assert (answer.status_code, answer.json()["code"]) == (409, "request-in-progress")
        assert "retry-after" in answer.headers

    async def test_a_claim_of_a_crashed_request_is_taken_over_after_its_lease(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await hold(resources)
        await sql(resources, "UPDATE idempotency_keys SET locked_until = now()")
        assert (await create(admin, "Contract")).status_code == 201

    async def test_after_a_day_the_key_is_free_again(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await create(admin, "Contract")
        await sql(resources, "UPDATE idempotency_keys SET expires_at = now()")
        answer = await create(admin, "Passport")
        assert answer.status_code == 201, answer.text
        assert answer.json()["name"] == "Passport"

    async def test_the_answer_is_kept_for_a_day(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await create(admin, "Contract")
        query = "SELECT extract(epoch FROM expires_at - now()) FROM idempotency_keys"
        ((seconds,),) = await sql(resources, query)
        assert float(seconds) == pytest.approx(24 * 3600, abs=60)

    @pytest.mark.parametrize("body", [b"{", b'{"name": ""}', b'{"nome": "x"}', b"[1]"])
    async def test_a_refusal_is_not_kept(self, admin: httpx.AsyncClient, body: bytes) -> None:
        headers = KEY | {"Content-Type": "application/json"}
        assert (await admin.post(TYPES, content=body, headers=headers)).status_code in {400, 422}
        assert (await create(admin, "Contract")).status_code == 201

    async def test_a_conflict_is_not_kept(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "Contract")
        assert (await create(admin, "Contract")).status_code == 409
        assert (await create(admin, "Passport")).status_code == 201

    async def test_another_key_is_another_request(self, admin: httpx.AsyncClient) -> None:
        await create(admin, "Contract")
        answer = await create(admin, "Contract", **{"Idempotency-Key": "key-2"})
        assert answer.status_code == 409

    async def test_another_path_is_another_request(self, admin: httpx.AsyncClient) -> None:
        await create(admin, "Contract")
        answer = await admin.post("/v1/admin/customers", json={"id": "c-1"}, headers=KEY)
        assert answer.status_code == 201

    async def test_a_key_in_quotes_is_the_same_key(self, admin: httpx.AsyncClient) -> None:
        """The draft makes the header a quoted string; many clients leave the quotes out."""
        await create(admin, "Contract")
        answer = await create(admin, "Contract", **{"Idempotency-Key": '"key-1"'})
        assert answer.status_code == 201

    @pytest.mark.parametrize("value", ["", " ", "a b", "x" * 256, "é".encode().decode("latin-1")])
    async def test_a_key_that_is_no_key_is_refused(
        self, admin: httpx.AsyncClient, value: str
    ) -> None:
        headers = [(b"Idempotency-Key", value.encode("latin-1"))]
        answer = await admin.post(TYPES, json={"name": "Contract"}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (422, "validation-error")
        assert answer.json()["errors"][0]["parameter"] == "Idempotency-Key"

    @pytest.mark.req("R-117")
    async def test_of_twenty_at_once_one_is_done(self, admin: httpx.AsyncClient) -> None:
        answers = await asyncio.gather(*(create(admin, "Contract") for _ in range(20)))
        done = [a for a in answers if a.status_code == 201]
        assert done
        assert {a.status_code for a in answers} <= {201, 409}
        assert {a.json()["code"] for a in answers if a.status_code == 409} <= {
            "request-in-progress"
        }
        assert len((await admin.get(TYPES)).json()["items"]) == 1


class TestUploads:
    """PUT /v1/customer/documents/{key}."""

    @pytest.mark.req("R-117")
    async def test_a_repeated_upload_makes_one_version(self, customer: httpx.AsyncClient) -> None:
        answers = [await customer.put(PATH, **upload_of(), headers=KEY) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [201, 201, 201]
        assert len({answer.text for answer in answers}) == 1
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
    async def test_another_upload_under_the_key_is_refused(
        self, customer: httpx.AsyncClient, other: dict[str, Any]
    ) -> None:
        await customer.put(PATH, **upload_of(), headers=KEY)
        answer = await customer.put(PATH, **other, headers=KEY)
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-key-reused")

    async def test_another_boundary_is_the_same_upload(self, customer: httpx.AsyncClient) -> None:
        for boundary in ("one", "two"):
            headers = KEY | {"Content-Type": f"multipart/form-data; boundary={boundary}"}
            answer = await customer.put(PATH, **upload_of(), headers=headers)
            assert (answer.status_code, answer.json()["version"]) == (201, 1)

    async def test_another_customers_key_is_their_own(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        await make_customer(admin, "c-2")
        await customer.put(PATH, **upload_of(), headers=KEY)
        answer = await customer_of("c-2").put(PATH, **upload_of(files.png(), "a.png"), headers=KEY)
        assert (answer.status_code, answer.json()["files"][0]["filename"]) == (201, "a.png")

    async def test_another_api_keys_key_is_its_own(
        self, customer: httpx.AsyncClient, key_client: KeyClients
    ) -> None:
        del customer
        path = "/v1/integration/customers/c-1/documents/contract"
        one, two = await key_client(), await key_client()
        await one.put(path, **upload_of(), headers=KEY)
        answer = await two.put(path, **upload_of(files.png(), "a.png"), headers=KEY)
        assert (answer.status_code, answer.json()["version"]) == (200, 2)

    @pytest.mark.req("R-102")
    async def test_kept_answers_go_with_the_customer(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await customer.put(PATH, **upload_of(filename="canary.pdf"), headers=KEY)
        assert await sql(resources, "SELECT count(*) FROM idempotency_keys") == [(1,)]
        await admin.delete("/v1/admin/customers/c-1")
        assert await sql(resources, "SELECT count(*) FROM idempotency_keys") == [(0,)]

    async def test_a_refused_upload_gives_the_key_back(self, customer: httpx.AsyncClient) -> None:
        bad = await customer.put(PATH, **upload_of(files.executable(), "a.exe"), headers=KEY)
        assert bad.status_code == 415
        good = await customer.put(PATH, **upload_of(), headers=KEY)
        assert good.status_code == 201

    async def test_of_ten_at_once_one_is_stored(self, customer: httpx.AsyncClient) -> None:
        answers = await asyncio.gather(
            *(customer.put(PATH, **upload_of(), headers=KEY) for _ in range(10))
        )
        assert {answer.status_code for answer in answers} <= {201, 409}
        assert (await customer.get(PATH)).json()["version"] == 1


class TestApiKeys:
    """POST /v1/admin/api-keys: the one POST whose answer must not be kept."""

    async def test_a_made_key_is_never_kept_for_a_replay(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        body = {"name": "crm", "scopes": ["gate:read"]}
        made = await admin.post("/v1/admin/api-keys", json=body, headers=KEY)
        again = await admin.post("/v1/admin/api-keys", json=body, headers=KEY)
        assert await sql(resources, "SELECT id FROM idempotency_keys") == []
        assert made.json().get("key") not in again.text
