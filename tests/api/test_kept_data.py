"""Limits on what requests leave in the database: values, responses, idempotency keys."""

import asyncio
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt
from sqlalchemy import text
from tests.api.routing.test_rate_limits import another_process, at, is_limited, reached
from tests.factories import files
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import CustomerClients, with_headers

from docvault.auth.local_tokens import LocalIssuer
from docvault.domain.scopes import ADMIN_SCOPE
from docvault.services import idempotency_keys
from docvault.services.erasures import finish_erasures
from docvault.services.resources import Resources
from docvault.settings import Settings

PATH = "/v1/customer/documents/contract"
ADMIN_PATH = "/v1/admin/customers/c-1/documents/contract"
KEY_PATH = "/v1/integration/customers/c-1/documents/contract"
BATCHES = "/v1/customer/document-batches"
PDF = files.pdf()


@pytest.fixture
def limits() -> dict[str, int]:
    """The settings of the test; all others have their defaults."""
    return {}


@pytest.fixture
def settings(tmp_path: Path, limits: dict[str, int]) -> Settings:
    return Settings(data_dir=tmp_path / "data", **limits)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
async def contract(admin: httpx.AsyncClient) -> None:
    """Two types with fields, and the customers c-1 and c-2."""
    for name in ("Contract", "Report"):
        await make_type(admin, name, collects_fields=True, field_labels="F,G")
    for customer_id in ("c-1", "c-2"):
        await make_customer(admin, customer_id)


@pytest.fixture
def customer(customer_of: CustomerClients) -> httpx.AsyncClient:
    return customer_of("c-1")


async def rows(resources: Resources, query: str) -> list[tuple[Any, ...]]:
    async with resources.database.transaction() as session:
        return [tuple(row) for row in await session.execute(text(query))]


async def change(client: httpx.AsyncClient, value: str, path: str = PATH) -> httpx.Response:
    return await client.patch(path, json={"field_values": {"f": value}})


def batch_of(*items: dict[str, Any], **bodies: bytes) -> dict[str, Any]:
    parts = [("files", (f"{name}.pdf", body)) for name, body in bodies.items()]
    return {"files": [("batch", (None, json.dumps({"items": items}))), *parts]}


def values_alone(value: str, key: str = "contract") -> dict[str, Any]:
    return {"key": key, "files": [], "field_values": {"f": value}}


async def send_file(client: httpx.AsyncClient, http: httpx.AsyncClient, **members: Any) -> str:
    """Open an upload session and send its bytes; return the path of the session."""
    digest = hashlib.sha256(PDF).hexdigest()
    body = {"filename": "a.pdf", "size_bytes": len(PDF), "sha256": digest, **members}
    opened = await client.post(f"{PATH}/uploads", json=body)
    assert opened.status_code == 201, opened.text
    async with httpx.AsyncClient() as outside:
        url = opened.json()["url"]
        sender = http if url.startswith(str(http.base_url)) else outside
        response = await sender.put(url, content=PDF, headers=opened.json()["headers"])
    assert response.is_success
    return str(opened.headers["location"])


@pytest.mark.parametrize("limits", [{"customer_value_changes_per_minute": 2}])
class TestRateLimit:
    """DOCVAULT_CUSTOMER_VALUE_CHANGES_PER_MINUTE."""

    @pytest.mark.req("B-033")
    async def test_change_over_limit_is_rejected(self, customer: httpx.AsyncClient) -> None:
        before = reached("customer_value_changes")
        responses = [await change(customer, str(number)) for number in range(3)]
        assert [response.status_code for response in responses[:2]] == [200, 200]
        assert is_limited(responses[2])
        assert responses[2].json()["detail"] == "At most 2 changes of field values a minute."
        assert reached("customer_value_changes") == before + 1
        assert (await customer.get(PATH)).json()["field_values"] == {"f": "1"}

    async def test_limit_is_shared_between_processes(
        self, customer: httpx.AsyncClient, settings: Settings, database_url: str
    ) -> None:
        async with another_process(settings, database_url) as other:
            elsewhere = at(other, customer)
            responses = [
                await change(customer, "1"),
                await change(elsewhere, "2"),
                await change(elsewhere, "3"),
            ]
        assert [response.status_code for response in responses] == [200, 200, 429]

    async def test_uploads_and_value_changes_are_counted_separately(
        self, customer: httpx.AsyncClient, customer_of: CustomerClients, admin: httpx.AsyncClient
    ) -> None:
        for number in range(2):
            await change(customer, str(number))
        assert (await customer.put(PATH, **upload_of())).status_code == 201
        assert (await change(customer_of("c-2"), "x")).status_code == 200
        for number in range(3):
            assert (await change(admin, f"staff {number}", ADMIN_PATH)).status_code == 200

    @pytest.mark.req("B-033")
    async def test_batch_items_with_only_values_are_counted_individually(
        self, customer: httpx.AsyncClient
    ) -> None:
        await change(customer, "1")
        sent = batch_of(values_alone("2"), values_alone("3", "report"))
        results = (await customer.post(BATCHES, **sent)).json()["items"]
        assert [result["status"] for result in results] == [200, 429]
        assert results[1]["problem"]["code"] == "rate-limited"
        assert (await customer.get("/v1/customer/documents/report")).json()["field_values"] == {}

    async def test_batch_with_item_over_limit_can_be_repeated(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await change(customer, "1")
        sent = batch_of(values_alone("2"), values_alone("3", "report"))
        await customer.post(BATCHES, **sent, headers={"Idempotency-Key": "k"})
        kept = await rows(resources, "SELECT convert_from(body, 'UTF8') FROM idempotency_keys")
        # The response of the saved item.
        assert [json.loads(body)["type"]["key"] for (body,) in kept] == ["contract"]


class TestCallers:
    """The callers whose requests are counted."""

    def token(self, issuer: LocalIssuer, scope: str) -> dict[str, str]:
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": issuer.issuer,
            "aud": "docvault",
            "sub": "c-1",
            "scope": scope,
        }
        claims |= {"iat": now, "exp": now + 3600}
        key = issuer._key
        header = {"alg": "ES256", "typ": "at+jwt", "kid": key.kid}
        token = jwt.encode(header, claims, key, algorithms=["ES256"])
        return {"Authorization": f"Bearer {token}"}

    @pytest.mark.req("B-034")
    @pytest.mark.parametrize("limits", [{"customer_requests_per_minute": 2}])
    @pytest.mark.parametrize(
        ("scope", "path"),
        [
            ("", "/v1/admin/customers"),
            ("openid", "/v1/customer/gate"),
            (ADMIN_SCOPE, "/v1/customer/gate"),
        ],
        ids=["no scope, admin API", "no scope, customer API", "staff, customer API"],
    )
    async def test_callers_without_permission_are_limited(
        self,
        http: httpx.AsyncClient,
        issuer: LocalIssuer,
        customer: httpx.AsyncClient,
        scope: str,
        path: str,
    ) -> None:
        caller = with_headers(http, self.token(issuer, scope))
        responses = [await caller.get(path) for _ in range(3)]
        assert [response.status_code for response in responses[:2]] == [403, 403]
        assert is_limited(responses[2])
        # The customer with the same subject is a different caller.
        assert (await customer.get("/v1/customer/gate")).status_code == 200

    @pytest.mark.parametrize("limits", [{"customer_requests_per_minute": 2}])
    async def test_staff_are_not_limited_on_admin_api(self, admin: httpx.AsyncClient) -> None:
        for _ in range(4):
            assert (await admin.get("/v1/admin/customers")).status_code == 200


class TestQuota:
    """DOCVAULT_CUSTOMER_MAX_VALUE_BYTES."""

    @pytest.fixture
    def limits(self) -> dict[str, int]:
        return {"customer_max_value_bytes": 3000}

    async def fill(self, client: httpx.AsyncClient) -> None:
        """Exceed the quota with the last change."""
        for value in ("x" * 1000, "y" * 1000):
            assert (await change(client, value)).status_code == 200

    @pytest.mark.req("B-035")
    async def test_values_over_quota_are_not_stored(
        self,
        customer: httpx.AsyncClient,
        integration: httpx.AsyncClient,
        resources: Resources,
    ) -> None:
        await self.fill(customer)
        before = await rows(
            resources, "SELECT count(*), sum(octet_length(t::text)) FROM documents t"
        )
        count = reached("customer_value_bytes")
        batch = await customer.post(BATCHES, **batch_of(values_alone("z")))
        responses = [
            await change(customer, "z"),
            await change(integration, "z", KEY_PATH),
            await customer.put(PATH, **upload_of()),
            await customer.post(
                f"{PATH}/uploads",
                json={"filename": "a.pdf", "size_bytes": 3, "sha256": "0" * 64},
            ),
        ]
        problems = [batch.json()["items"][0]["problem"], *(r.json() for r in responses)]
        assert {(p["status"], p["code"], p["quota"]) for p in problems} == {
            (409, "quota-exceeded", "value_bytes")
        }
        assert {p["limit"] for p in problems} == {3000}
        assert {p["used"] >= 3000 for p in problems} == {True}
        assert reached("customer_value_bytes") == count + len(problems)
        after = await rows(
            resources, "SELECT count(*), sum(octet_length(t::text)) FROM documents t"
        )
        assert after == before
        for table in ("document_versions", "upload_sessions", "blobs", "idempotency_keys"):
            assert await rows(resources, f"SELECT count(*) FROM {table}") == [(0,)]

    @pytest.mark.req("B-035")
    async def test_staff_can_correct_and_replace_over_quota(
        self, customer: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        await self.fill(customer)
        assert (await change(admin, "z", ADMIN_PATH)).status_code == 200
        assert (await admin.put(ADMIN_PATH, **upload_of())).status_code == 201

    async def test_session_created_before_quota_was_reached_is_rejected_at_completion(
        self, customer: httpx.AsyncClient, http: httpx.AsyncClient, resources: Resources
    ) -> None:
        session = await send_file(customer, http)
        await self.fill(customer)
        response = await customer.post(f"{session}/complete", headers={"Idempotency-Key": "k"})
        assert (response.status_code, response.json()["quota"]) == (409, "value_bytes")
        assert await rows(resources, "SELECT completed_at FROM upload_sessions") == [(None,)]
        assert await rows(resources, "SELECT count(*) FROM document_versions") == [(0,)]
        assert await rows(resources, "SELECT count(*) FROM idempotency_keys") == [(0,)]

    @pytest.mark.parametrize(
        ("what", "size"),
        [("trail", 1800), ("versions", 900), ("sessions", 900), ("responses", 100)],
    )
    async def test_all_value_locations_count(
        self, customer: httpx.AsyncClient, http: httpx.AsyncClient, resources: Resources,
        what: str, size: int,
    ) -> None:  # fmt: skip
        value = "x" * 900
        if what == "trail":
            await change(customer, value)
            await change(customer, "")
        elif what == "versions":
            await customer.put(PATH, **upload_of(field_values=json.dumps({"f": value})))
        elif what == "sessions":
            await send_file(customer, http, field_values={"f": value})
        else:
            await customer.put(PATH, **upload_of(), headers={"Idempotency-Key": "k"})
        table, column, emptied = {
            "trail": ("audit_details", "value_bytes", "changes = NULL"),
            "versions": ("document_versions", "value_bytes", "field_values = '{}'"),
            "sessions": ("upload_sessions", "value_bytes", "field_values = '{}'"),
            "responses": ("idempotency_keys", "octet_length(body)", "body = ''"),
        }[what]
        ((stored,),) = await rows(resources, f"SELECT sum({column}) FROM {table}")
        query = "SELECT customer_value_bytes(id) FROM customers ORDER BY external_id"
        (used,), (others,) = await rows(resources, query)
        assert size <= stored <= used
        assert others == 0
        async with resources.database.transaction() as session:
            await session.execute(text(f"UPDATE {table} SET {emptied}"))
        (left,), _ = await rows(resources, query)
        # An empty value takes two bytes: its brackets.
        assert used - stored <= left <= used - stored + 2

    async def test_customers_are_counted_separately(
        self, customer: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        await self.fill(customer)
        assert (await change(customer_of("c-2"), "z")).status_code == 200

    async def test_erasure_frees_quota(
        self, customer: httpx.AsyncClient, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await self.fill(customer)
        await admin.delete("/v1/admin/customers/c-1")
        await finish_erasures(resources)
        await make_customer(admin, "c-1")
        assert (await change(admin, "z", ADMIN_PATH)).status_code == 200

    @pytest.mark.parametrize("limits", [{"customer_max_value_bytes": 0}])
    async def test_zero_means_unlimited(self, customer: httpx.AsyncClient) -> None:
        await self.fill(customer)
        assert (await change(customer, "z")).status_code == 200
        assert (await customer.put(PATH, **upload_of())).status_code == 201


class TestUnchangedValues:
    """Idempotency keys of requests that changed nothing."""

    @pytest.mark.req("B-035")
    async def test_repeated_completion_stores_no_response(
        self, customer: httpx.AsyncClient, http: httpx.AsyncClient, resources: Resources
    ) -> None:
        path = f"{await send_file(customer, http)}/complete"
        first = await customer.post(path, headers={"Idempotency-Key": "k-0"})
        again = [
            await customer.post(path, headers={"Idempotency-Key": f"k-{n}"}) for n in range(1, 4)
        ]
        assert [response.status_code for response in (first, *again)] == [201, 200, 200, 200]
        assert {response.text for response in again} == {first.text}
        assert len(await rows(resources, "SELECT FROM idempotency_keys")) == 1

    @pytest.mark.req("B-035")
    async def test_unchanged_batch_stores_no_response(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await change(customer, "1")
        for number in range(3):
            headers = {"Idempotency-Key": f"k-{number}"}
            response = await customer.post(BATCHES, **batch_of(values_alone("1")), headers=headers)
            assert response.json()["items"][0]["status"] == 200
        assert await rows(resources, "SELECT FROM idempotency_keys") == []

    async def test_rejected_batch_stores_no_response(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        sent = batch_of(values_alone("1", "unknown"))
        response = await customer.post(BATCHES, **sent, headers={"Idempotency-Key": "k"})
        assert response.json()["items"][0]["status"] == 404
        assert await rows(resources, "SELECT FROM idempotency_keys") == []

    async def test_changing_batch_is_replayed(self, customer: httpx.AsyncClient) -> None:
        sent = batch_of(values_alone("1"), values_alone("2", "unknown"))
        headers = {"Idempotency-Key": "k"}
        first = await customer.post(BATCHES, **sent, headers=headers)
        again = await customer.post(BATCHES, **sent, headers=headers)
        assert (again.text, again.headers.get("idempotency-replayed")) == (first.text, "true")


class TestKeyLimit:
    """The limit of idempotency keys per caller."""

    @pytest.fixture(autouse=True)
    def low_limits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(idempotency_keys, "MAX_CUSTOMER_KEYS", 2)
        monkeypatch.setattr(idempotency_keys, "MAX_OTHER_KEYS", 3)

    async def put(self, client: httpx.AsyncClient, key: str, path: str = PATH) -> httpx.Response:
        return await client.put(path, **upload_of(), headers={"Idempotency-Key": key})

    @pytest.mark.req("B-035")
    async def test_key_over_limit_is_rejected_before_reading_body(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        before = reached("idempotency_keys")
        responses = [await self.put(customer, f"k-{number}") for number in range(3)]
        assert [response.status_code for response in responses] == [201, 200, 429]
        assert responses[2].json()["detail"] == "At most 2 idempotency keys within a day."
        assert 86_000 < int(responses[2].headers["retry-after"]) <= 86_400
        assert reached("idempotency_keys") == before + 1
        assert len(await rows(resources, "SELECT FROM idempotency_keys")) == 2
        assert len(await rows(resources, "SELECT FROM document_versions")) == 2

    async def test_known_keys_are_replayed_at_limit(self, customer: httpx.AsyncClient) -> None:
        for number in range(3):
            await self.put(customer, f"k-{number}")
        again = await self.put(customer, "k-1")
        assert (again.status_code, again.headers["idempotency-replayed"]) == (200, "true")

    async def test_rejected_requests_and_expired_keys_do_not_count(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        for number in range(3):
            headers = {"Idempotency-Key": f"r-{number}"}
            assert (await customer.put(PATH, **upload_of(b""), headers=headers)).is_client_error
        for number in range(2):
            assert (await self.put(customer, f"k-{number}")).is_success
        async with resources.database.transaction() as session:
            await session.execute(text("UPDATE idempotency_keys SET expires_at = now()"))
        assert (await self.put(customer, "k-2")).is_success

    async def test_callers_are_counted_separately(
        self,
        customer: httpx.AsyncClient,
        customer_of: CustomerClients,
        admin: httpx.AsyncClient,
        integration: httpx.AsyncClient,
    ) -> None:
        for number in range(2):
            assert (await self.put(customer, f"k-{number}")).is_success
        assert (await self.put(customer_of("c-2"), "k")).is_success
        assert (await self.put(admin, "k", ADMIN_PATH)).is_success
        statuses = [
            (await self.put(integration, f"k-{number}", KEY_PATH)).status_code
            for number in range(4)
        ]
        assert statuses == [200, 200, 200, 429]


class TestLease:
    """The claim of a key while the body arrives."""

    async def parts(self, resources: Resources, between: str) -> Any:
        """Return a body in two pieces; the statement runs between them."""
        raw = httpx.Request("PUT", "http://x", **upload_of(files.pdf("x" * 200)))
        body = raw.read()
        self.headers = {"Content-Type": raw.headers["content-type"], "Idempotency-Key": "k"}

        async def pieces() -> Any:
            yield body[:400]
            await asyncio.sleep(0.05)
            self.found = await rows(resources, between)
            yield body[400:]

        return pieces()

    async def test_lease_is_extended_while_body_arrives(
        self, customer: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(idempotency_keys, "RENEW_SECONDS", 0)
        body = await self.parts(
            resources, "UPDATE idempotency_keys SET locked_until = now() RETURNING locked_until"
        )
        response = await customer.put(PATH, content=body, headers=self.headers)
        assert response.status_code == 201, response.text
        ((until,),) = await rows(resources, "SELECT locked_until FROM idempotency_keys")
        assert (until - self.found[0][0]).total_seconds() > 20

    async def test_lost_claim_aborts_body(
        self, customer: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(idempotency_keys, "RENEW_SECONDS", 0)
        body = await self.parts(
            resources, "UPDATE idempotency_keys SET token = gen_random_uuid() RETURNING token"
        )
        response = await customer.put(PATH, content=body, headers=self.headers)
        assert (response.status_code, response.json()["code"]) == (409, "request-in-progress")
        # The new holder keeps its claim.
        assert await rows(resources, "SELECT token FROM idempotency_keys") == self.found
        assert await rows(resources, "SELECT FROM document_versions") == []
        assert await rows(resources, "SELECT FROM blobs") == []
