"""Rate limits: per minute and for concurrent requests (T15)."""

import asyncio
import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from tests.api.raw_client import JSON, MULTIPART, Client
from tests.api.stored_state import stored_state
from tests.factories import files
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import CustomerClients, KeyClients
from tests.fixtures.problem_checks import ProblemCheckingTransport
from tests.fixtures.statements import sent_statements

from docvault.api.app import create_app
from docvault.auth.api_keys import generate_key
from docvault.auth.local_tokens import LocalIssuer
from docvault.db.engine import Database
from docvault.domain.scopes import Scope
from docvault.observability.metrics import REGISTRY
from docvault.server.listener import bind
from docvault.server.serve import Server, make_uvicorn_config
from docvault.server.startup import open_resources
from docvault.services.reaper import reap
from docvault.services.resources import Resources
from docvault.settings import Settings

PATH = "/v1/customer/documents/contract"
KEY_PATH = "/v1/integration/customers/c-1/documents/contract"
READ = "/v1/customer/gate"
BATCHES = "/v1/customer/document-batches"
TYPES = "/v1/admin/document-types"
KEY_READ = "/v1/integration/document-types"


@pytest.fixture
def limits() -> dict[str, int]:
    """The limits of the test; all others are disabled."""
    return {}


@pytest.fixture
def settings(tmp_path: Path, limits: dict[str, int]) -> Settings:
    off = {
        "customer_uploads_per_minute": 0,
        "customer_requests_per_minute": 0,
        "customer_value_changes_per_minute": 0,
        "api_key_requests_per_minute": 0,
        "failed_credentials_per_minute": 0,
        "customer_max_concurrent_uploads": 0,
        "customer_max_concurrent_downloads": 0,
        "api_key_max_concurrent_downloads": 0,
    }
    return Settings(data_dir=tmp_path / "data", **(off | limits))  # type: ignore[arg-type]


@pytest.fixture
async def contract(admin: httpx.AsyncClient) -> None:
    """Two types, and the customers c-1 and c-2."""
    for name in ("Contract", "Report"):
        await make_type(admin, name)
    for customer_id in ("c-1", "c-2"):
        await make_customer(admin, customer_id)


@pytest.fixture
def raw(app: FastAPI, http: httpx.AsyncClient) -> Client:
    del http  # it gives the application its resources
    return Client(app)


async def send_batch(customer: httpx.AsyncClient, *keys: str) -> httpx.Response:
    """Send one file for each of the documents."""
    batch = {"items": [{"key": key, "files": [n]} for n, key in enumerate(keys)]}
    parts = [("files", ("a.pdf", files.pdf())) for _ in keys]
    return await customer.post(BATCHES, data={"batch": json.dumps(batch)}, files=parts)


def is_limited(response: httpx.Response) -> bool:
    """Return whether the response is a 429, after checking its members."""
    if response.status_code != 429:
        return False
    assert response.json()["code"] == "rate-limited"
    assert 1 <= int(response.headers["retry-after"]) <= 65
    assert "www-authenticate" not in response.headers
    return True


def numbered(count: int) -> list[httpx.Headers]:
    """Return headers with different invalid tokens."""
    return [httpx.Headers({"Authorization": f"Bearer x{n}.y.z"}) for n in range(count)]


@asynccontextmanager
async def another_process(settings: Settings, database_url: str) -> AsyncIterator[FastAPI]:
    """A second application with its own memory and connections."""
    async with open_resources(settings, database_url) as opened:
        app = create_app()
        app.state.resources = opened
        yield app


def at(app: FastAPI, client: httpx.AsyncClient, address: str = "127.0.0.1") -> httpx.AsyncClient:
    """Return the client with another process and client address."""
    transport = ProblemCheckingTransport(
        httpx.ASGITransport(app, client=(address, 1), raise_app_exceptions=False)
    )
    return httpx.AsyncClient(
        transport=transport, base_url="http://docvault.test", headers=client.headers
    )


async def counts(resources: Resources) -> list[int]:
    async with resources.database.transaction() as session:
        return list(await session.scalars(text("SELECT number FROM rate_limits ORDER BY 1")))


async def end_windows(resources: Resources) -> None:
    """Move the counting windows a minute into the past."""
    async with resources.database.transaction() as session:
        await session.execute(
            text("UPDATE rate_limits SET ends_at = ends_at - interval '1 minute'")
        )


def reached(limit: str) -> float:
    return REGISTRY.get_sample_value("docvault_limits_reached_total", {"limit": limit}) or 0.0


@pytest.mark.usefixtures("contract")
@pytest.mark.parametrize("limits", [{"customer_uploads_per_minute": 3}])
class TestUploads:
    """DOCVAULT_CUSTOMER_UPLOADS_PER_MINUTE."""

    async def test_request_over_limit_is_rejected(self, customer_of: CustomerClients) -> None:
        before = reached("customer_uploads")
        responses = [await customer_of("c-1").put(PATH, **upload_of()) for _ in range(4)]
        assert [r.status_code for r in responses[:3]] == [201, 200, 200]
        assert is_limited(responses[3])
        assert responses[3].json()["detail"] == "At most 3 uploads a minute."
        assert reached("customer_uploads") == before + 1

    async def test_rejected_request_changes_nothing(
        self, customer_of: CustomerClients, resources: Resources
    ) -> None:
        for _ in range(3):
            await customer_of("c-1").put(PATH, **upload_of())
        before = await stored_state(resources)
        assert is_limited(await customer_of("c-1").put(PATH, **upload_of()))
        assert await stored_state(resources) == before

    async def test_request_is_rejected_before_reading_body(
        self, raw: Client, issuer: LocalIssuer, customer_of: CustomerClients
    ) -> None:
        for _ in range(3):
            await customer_of("c-1").put(PATH, **upload_of())
        token = {"authorization": f"Bearer {issuer.customer_token('c-1')}"}
        status, headers, _ = await raw.send("PUT", PATH, MULTIPART | token)
        assert (status, headers["connection"], raw.received) == (429, "close", 0)

    async def test_failed_attempts_are_counted(
        self, customer_of: CustomerClients, resources: Resources
    ) -> None:
        customer = customer_of("c-1")
        failed = [
            await customer.put(PATH, **upload_of(b"nothing", "a.exe")),
            await customer.put(PATH, content=b"{", headers={"Content-Type": "multipart/x"}),
        ]
        assert [r.status_code for r in failed] == [415, 415]
        assert await counts(resources) == [2]
        assert (await customer.put(PATH, **upload_of())).status_code == 201
        assert is_limited(await customer.put(PATH, **upload_of()))

    async def test_upload_sessions_and_batches_count_as_uploads(
        self, customer_of: CustomerClients
    ) -> None:
        customer = customer_of("c-1")
        declared = {"filename": "a.pdf", "size_bytes": 1, "sha256": "0" * 64}
        batch: dict[str, Any] = {
            "data": {"batch": '{"items": [{"key": "contract", "files": [0]}]}'}
        }
        responses = [
            await customer.post(f"{PATH}/uploads", json=declared),
            await customer.post(
                "/v1/customer/document-batches", files=[("files", ("a.pdf", files.pdf()))], **batch
            ),
            await customer.put(PATH, **upload_of()),
            await customer.post(f"{PATH}/uploads", json=declared),
        ]
        assert [r.status_code for r in responses[:3]] == [201, 207, 200]
        assert is_limited(responses[3])

    @pytest.mark.req("B-060")
    async def test_completing_a_session_counts_as_upload(
        self, customer_of: CustomerClients
    ) -> None:
        customer = customer_of("c-1")
        declared = {"filename": "a.pdf", "size_bytes": 1, "sha256": "0" * 64}
        session = await customer.post(f"{PATH}/uploads", json=declared)
        path = f"{session.headers['location']}/complete"
        responses = [await customer.post(path) for _ in range(3)]
        assert [r.status_code for r in responses[:2]] == [409, 409]
        assert is_limited(responses[2])

    @pytest.mark.req("B-065")
    async def test_each_batch_file_counts_as_upload(self, customer_of: CustomerClients) -> None:
        customer = customer_of("c-1")
        assert (await send_batch(customer, "contract", "report")).status_code == 207
        assert (await customer.put(PATH, **upload_of())).status_code == 200
        assert is_limited(await customer.put(PATH, **upload_of()))

    @pytest.mark.req("B-065")
    async def test_batch_over_remaining_allowance_is_rejected_as_a_whole(
        self, customer_of: CustomerClients, resources: Resources
    ) -> None:
        customer = customer_of("c-1")
        for _ in range(2):
            await customer.put(PATH, **upload_of())
        before = await stored_state(resources)
        assert is_limited(await send_batch(customer, "contract", "report"))
        assert await stored_state(resources) == before

    @pytest.mark.req("B-065")
    async def test_batch_files_are_counted_across_processes(
        self,
        customer_of: CustomerClients,
        settings: Settings,
        database_url: str,
        resources: Resources,
    ) -> None:
        for _ in range(2):
            await customer_of("c-1").put(PATH, **upload_of())
        before = await stored_state(resources)
        async with another_process(settings, database_url) as other:
            customer = at(other, customer_of("c-1"))
            assert is_limited(await send_batch(customer, "contract", "report"))
        assert await stored_state(resources) == before

    async def test_batch_items_without_files_are_not_counted(
        self, customer_of: CustomerClients
    ) -> None:
        customer = customer_of("c-1")
        items = json.dumps(
            {"items": [{"key": key, "field_values": {}} for key in ("contract", "report")]}
        )
        for _ in range(3):
            response = await customer.post(BATCHES, files={"batch": (None, items)})
            assert response.status_code == 207

    async def test_customers_are_counted_separately(self, customer_of: CustomerClients) -> None:
        for _ in range(4):
            last = await customer_of("c-1").put(PATH, **upload_of())
        assert is_limited(last)
        assert (await customer_of("c-2").put(PATH, **upload_of())).status_code == 201

    async def test_other_tokens_of_same_customer_share_limit(
        self, http: httpx.AsyncClient, issuer: LocalIssuer
    ) -> None:
        tokens = [issuer.customer_token("c-1") for _ in range(4)]
        responses = [
            await http.put(PATH, headers={"Authorization": f"Bearer {token}"}, **upload_of())
            for token in tokens
        ]
        assert is_limited(responses[-1])

    async def test_staff_and_integrations_are_not_limited(
        self, admin: httpx.AsyncClient, integration: httpx.AsyncClient
    ) -> None:
        path = "/v1/admin/customers/c-1/documents/contract"
        for _ in range(3):
            assert (await admin.put(path, **upload_of())).is_success
            assert (await integration.put(KEY_PATH, **upload_of())).is_success

    async def test_reads_are_not_limited(self, customer_of: CustomerClients) -> None:
        for _ in range(4):
            await customer_of("c-1").put(PATH, **upload_of())
        assert (await customer_of("c-1").get(READ)).status_code == 200

    async def test_limit_resets_after_a_minute(
        self,
        customer_of: CustomerClients,
        resources: Resources,
        settings: Settings,
        database_url: str,
    ) -> None:
        for _ in range(3):
            await customer_of("c-1").put(PATH, **upload_of())
        async with another_process(settings, database_url) as other:
            customer = at(other, customer_of("c-1"))
            assert is_limited(await customer.put(PATH, **upload_of()))
            await end_windows(resources)
            assert (await customer.put(PATH, **upload_of())).status_code == 200

    async def test_reaper_deletes_expired_windows(
        self, customer_of: CustomerClients, resources: Resources
    ) -> None:
        await customer_of("c-1").put(PATH, **upload_of())
        await end_windows(resources)
        await customer_of("c-2").put(PATH, **upload_of())
        await reap(resources)
        assert await counts(resources) == [1]

    async def test_erased_customer_is_not_named_in_counters(
        self, customer_of: CustomerClients, resources: Resources
    ) -> None:
        await customer_of("c-1").put(PATH, **upload_of())
        async with resources.database.transaction() as session:
            rows = (
                await session.execute(text("SELECT encode(id, 'escape') FROM rate_limits"))
            ).all()
        assert len(rows) == 1
        assert "c-1" not in str(rows)


@pytest.mark.usefixtures("contract")
@pytest.mark.parametrize(
    "limits", [{"customer_uploads_per_minute": 19, "max_concurrent_uploads": 20}]
)
class TestUploadRateUnderConcurrency:
    """The limit is exact under concurrent requests."""

    async def test_limit_is_exact_under_concurrency_in_one_process(
        self, customer_of: CustomerClients
    ) -> None:
        customer = customer_of("c-1")
        responses = await asyncio.gather(*(customer.put(PATH, **upload_of()) for _ in range(20)))
        assert sum(is_limited(response) for response in responses) == 1
        assert sum(response.is_success for response in responses) == 19

    async def test_limit_is_exact_under_concurrency_in_two_processes(
        self, app: FastAPI, settings: Settings, database_url: str, customer_of: CustomerClients
    ) -> None:
        async with another_process(settings, database_url) as other:
            clients = [at(one, customer_of("c-1")) for one in (app, other)]
            responses = await asyncio.gather(
                *(client.put(PATH, **upload_of()) for client in clients for _ in range(10))
            )
        assert sum(is_limited(response) for response in responses) == 1
        assert sum(response.is_success for response in responses) == 19


@pytest.mark.usefixtures("contract")
@pytest.mark.parametrize("limits", [{"customer_value_changes_per_minute": 1}])
async def test_json_body_over_limit_is_not_read(
    raw: Client, issuer: LocalIssuer, customer_of: CustomerClients
) -> None:
    await customer_of("c-1").patch(PATH, json={"field_values": {}})
    token = {"authorization": f"Bearer {issuer.customer_token('c-1')}"}
    status, headers, _ = await raw.send("PATCH", PATH, JSON | token)
    assert (status, headers["connection"], raw.received) == (429, "close", 0)


@pytest.mark.usefixtures("contract")
@pytest.mark.parametrize("limits", [{"customer_requests_per_minute": 4}])
class TestRequests:
    """DOCVAULT_CUSTOMER_REQUESTS_PER_MINUTE."""

    async def test_request_over_limit_is_rejected(self, customer_of: CustomerClients) -> None:
        customer = customer_of("c-1")
        responses = [
            await customer.get(READ),
            await customer.head(READ),
            await customer.get("/v1/customer/documents/nothing"),
            await customer.delete(PATH),
            await customer.get(READ),
        ]
        assert [is_limited(response) for response in responses] == [False] * 4 + [True]
        assert responses[4].json()["detail"] == "At most 4 requests a minute."

    async def test_limit_is_exact_under_concurrency(self, customer_of: CustomerClients) -> None:
        customer = customer_of("c-1")
        responses = await asyncio.gather(*(customer.get(READ) for _ in range(20)))
        assert sum(is_limited(response) for response in responses) == 16
        assert sum(response.is_success for response in responses) == 4

    async def test_rejected_request_does_not_query_database(
        self, customer_of: CustomerClients
    ) -> None:
        for _ in range(4):
            await customer_of("c-1").get(READ)
        with sent_statements() as seen:
            assert is_limited(await customer_of("c-1").get(READ))
        assert seen == []

    async def test_uploads_and_other_customers_are_not_limited(
        self, customer_of: CustomerClients
    ) -> None:
        for _ in range(5):
            last = await customer_of("c-1").get(READ)
        assert is_limited(last)
        assert (await customer_of("c-1").put(PATH, **upload_of())).status_code == 201
        assert (await customer_of("c-2").get(READ)).status_code == 200

    @pytest.mark.own_store("upload URLs lead to docvault only with the filesystem store")
    async def test_upload_to_signed_url_is_counted(
        self, http: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        customer = customer_of("c-1")
        declared = {"filename": "a.pdf", "size_bytes": 1, "sha256": "0" * 64}
        url = (await customer.post(f"{PATH}/uploads", json=declared)).json()["url"]
        responses = [await http.put(url, content=b"x") for _ in range(5)]
        assert [r.status_code for r in responses[:4]] == [422] * 4
        assert is_limited(responses[4])

    async def test_denied_requests_to_admin_api_are_counted(
        self, customer_of: CustomerClients
    ) -> None:
        responses = [await customer_of("c-1").get(TYPES) for _ in range(5)]
        assert [r.status_code for r in responses] == [403] * 4 + [429]

    async def test_token_of_unknown_customer_is_counted(self, customer_of: CustomerClients) -> None:
        responses = [await customer_of("unknown").get(READ) for _ in range(5)]
        assert [r.status_code for r in responses] == [403] * 4 + [429]

    async def test_staff_are_not_limited(self, admin: httpx.AsyncClient) -> None:
        assert {(await admin.get(TYPES)).status_code for _ in range(6)} == {200}

    async def test_counting_writes_nothing_to_database(
        self, customer_of: CustomerClients, resources: Resources
    ) -> None:
        await customer_of("c-1").get(READ)
        assert await counts(resources) == []


@pytest.mark.parametrize("limits", [{"api_key_requests_per_minute": 3}])
class TestKeys:
    """DOCVAULT_API_KEY_REQUESTS_PER_MINUTE."""

    async def test_each_key_has_own_limit(self, key_client: KeyClients) -> None:
        key, other = await key_client(), await key_client()
        responses = [await key.get(KEY_READ) for _ in range(4)]
        assert [is_limited(response) for response in responses] == [False] * 3 + [True]
        assert (await other.get(KEY_READ)).status_code == 200

    async def test_requests_without_the_scope_are_counted(self, key_client: KeyClients) -> None:
        key = await key_client(Scope.GATE_READ)
        responses = [await key.get(KEY_READ) for _ in range(4)]
        assert [r.status_code for r in responses] == [403] * 3 + [429]

    async def test_limit_is_exact_under_concurrency(self, key_client: KeyClients) -> None:
        key = await key_client()
        responses = await asyncio.gather(*(key.get(KEY_READ) for _ in range(20)))
        assert sum(is_limited(response) for response in responses) == 17

    @pytest.mark.usefixtures("contract")
    async def test_upload_is_rejected_before_reading_body(
        self, raw: Client, key_client: KeyClients
    ) -> None:
        key = await key_client()
        for _ in range(3):
            await key.get(KEY_READ)
        headers = MULTIPART | {"x-api-key": key.headers["x-api-key"]}
        status, response_headers, _ = await raw.send("PUT", KEY_PATH, headers)
        assert (status, response_headers["connection"], raw.received) == (429, "close", 0)


@pytest.mark.parametrize("limits", [{"failed_credentials_per_minute": 20}])
class TestFailedCredentials:
    """DOCVAULT_FAILED_CREDENTIALS_PER_MINUTE."""

    async def test_attempts_over_limit_from_one_address_are_rejected(
        self, http: httpx.AsyncClient
    ) -> None:
        responses = [await http.get(TYPES, headers=headers) for headers in numbered(21)]
        assert [r.status_code for r in responses] == [401] * 20 + [429]
        assert is_limited(responses[20])

    @pytest.mark.parametrize("path", [TYPES, READ])
    async def test_valid_credential_is_accepted_despite_failed_attempts(
        self, http: httpx.AsyncClient, issuer: LocalIssuer, path: str, admin: httpx.AsyncClient
    ) -> None:
        await make_customer(admin, "c-1")
        for headers in numbered(25):
            last = await http.get(path, headers=headers)
        assert is_limited(last)
        token = issuer.admin_token("s") if path == TYPES else issuer.customer_token("c-1")
        response = await http.get(path, headers={"Authorization": f"Bearer {token}"})
        assert response.status_code == 200

    async def test_valid_key_is_accepted_while_its_id_is_guessed(
        self, http: httpx.AsyncClient, key_client: KeyClients
    ) -> None:
        key = await key_client()
        public_id = key.headers["x-api-key"][8:16]
        for _ in range(21):
            guess = guessed(public_id)
            last = await http.get(KEY_READ, headers={"X-API-Key": guess})
        assert is_limited(last)
        assert (await key.get(KEY_READ)).status_code == 200

    @pytest.mark.parametrize("kind", ["token", "key"])
    async def test_limit_is_exact_under_concurrency_in_two_processes(
        self,
        app: FastAPI,
        http: httpx.AsyncClient,
        settings: Settings,
        database_url: str,
        kind: str,
    ) -> None:
        bad = numbered(21)
        if kind == "key":
            bad = [httpx.Headers({"X-API-Key": generate_key()[0]}) for _ in bad]
        path = TYPES if kind == "token" else KEY_READ
        async with another_process(settings, database_url) as other:
            clients = [at(app, http), at(other, http)] * 11
            pairs = zip(clients, bad, strict=False)
            responses = await asyncio.gather(
                *(client.get(path, headers=headers) for client, headers in pairs)
            )
        assert Counter(r.status_code for r in responses) == {401: 20, 429: 1}

    async def test_addresses_are_counted_separately(
        self, app: FastAPI, http: httpx.AsyncClient
    ) -> None:
        for headers in numbered(21):
            last = await http.get(TYPES, headers=headers)
        assert is_limited(last)
        elsewhere = at(app, http, "203.0.113.7")
        assert (await elsewhere.get(TYPES, headers=numbered(30)[-1])).status_code == 401

    async def test_ipv6_network_counts_as_one_address(
        self, app: FastAPI, http: httpx.AsyncClient
    ) -> None:
        clients = [at(app, http, f"2001:db8:0:7::{n:x}") for n in range(21)]
        pairs = list(zip(clients, numbered(21), strict=True))
        responses = [await client.get(TYPES, headers=headers) for client, headers in pairs]
        assert [r.status_code for r in responses] == [401] * 20 + [429]
        neighbour = at(app, http, "2001:db8:0:8::1")
        assert (await neighbour.get(TYPES, headers=numbered(30)[-1])).status_code == 401

    async def test_same_credential_from_many_addresses_is_limited(
        self, app: FastAPI, http: httpx.AsyncClient
    ) -> None:
        headers = numbered(1)[0]
        responses = [
            await at(app, http, f"203.0.113.{n}").get(TYPES, headers=headers) for n in range(21)
        ]
        assert [r.status_code for r in responses] == [401] * 20 + [429]

    async def test_expired_token_limits_only_its_holder(
        self, http: httpx.AsyncClient, issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("time.time", lambda: 1_700_000_000.0)
            old, other = issuer.admin_token("a"), issuer.admin_token("b")
        bearers = [httpx.Headers({"Authorization": f"Bearer {token}"}) for token in (old, other)]
        responses = [await http.get(TYPES, headers=bearers[0]) for _ in range(21)]
        assert [r.json()["code"] for r in responses] == ["token-expired"] * 20 + ["rate-limited"]
        assert (await http.get(TYPES, headers=bearers[1])).json()["code"] == "token-expired"
        assert (await http.get(TYPES, headers=numbered(1)[0])).json()["code"] == "invalid-token"

    async def test_missing_credential_is_not_counted(self, http: httpx.AsyncClient) -> None:
        assert {(await http.get(TYPES)).status_code for _ in range(25)} == {401}

    async def test_mistyped_key_is_counted_without_database(self, http: httpx.AsyncClient) -> None:
        with sent_statements() as seen:
            responses = [
                await http.get(KEY_READ, headers={"X-API-Key": f"dv_live_{n}"}) for n in range(21)
            ]
        assert [r.status_code for r in responses] == [401] * 20 + [429]
        assert seen == []

    async def test_rejected_attempts_do_not_query_database(self, http: httpx.AsyncClient) -> None:
        for headers in numbered(20):
            await http.get(TYPES, headers=headers)
        with sent_statements() as seen:
            assert is_limited(await http.get(TYPES, headers=numbered(21)[20]))
        assert seen == []

    async def test_valid_credential_writes_nothing(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await admin.get(TYPES)
        assert await counts(resources) == []

    async def test_counters_contain_neither_address_nor_credential(
        self, http: httpx.AsyncClient, resources: Resources
    ) -> None:
        await http.get(TYPES, headers={"Authorization": "Bearer canary.y.z"})
        async with resources.database.transaction() as session:
            ids = list(await session.scalars(text("SELECT id FROM rate_limits")))
        assert {len(id_) for id_ in ids} == {32}
        assert len(ids) == 2

    async def test_response_without_database_is_the_same(
        self, app: FastAPI, http: httpx.AsyncClient, resources: Resources
    ) -> None:
        dead = Database("postgresql://127.0.0.1:1/nothing")
        app.state.resources = dataclasses.replace(resources, database=dead)
        response = await http.get(TYPES, headers=numbered(1)[0])
        await dead.close()
        assert (response.status_code, response.json()["code"]) == (401, "invalid-token")

    async def test_attempt_is_rejected_before_reading_body(self, raw: Client) -> None:
        for n in range(21):
            bad = {"authorization": f"Bearer {n}.y.z"}
            status, headers, _ = await raw.send("POST", TYPES, JSON | bad)
        assert (status, headers["connection"], raw.received) == (429, "close", 0)

    async def test_limit_resets_after_a_minute(
        self,
        http: httpx.AsyncClient,
        resources: Resources,
        settings: Settings,
        database_url: str,
    ) -> None:
        for headers in numbered(20):
            await http.get(TYPES, headers=headers)
        async with another_process(settings, database_url) as other:
            client = at(other, http)
            assert is_limited(await client.get(TYPES, headers=numbered(21)[20]))
            await end_windows(resources)
            assert (await client.get(TYPES, headers=numbered(22)[21])).status_code == 401


def guessed(public_id: str) -> str:
    """Return a well-formed key with a known id and another secret."""
    from docvault.auth import api_keys

    body = f"dv_live_{public_id}_{generate_key()[1].secret}"
    return body + api_keys._compute_checksum(body)


@pytest.mark.parametrize("limits", [{"failed_credentials_per_minute": 2}])
class TestProxies:
    """DOCVAULT_TRUSTED_PROXIES, over sockets."""

    @asynccontextmanager
    async def served(self, resources: Resources, *trusted: str) -> AsyncIterator[httpx.AsyncClient]:
        app = create_app()  # its own, because it is marked as stopping afterwards
        app.state.resources = resources
        with bind("127.0.0.1", 0) as listener:
            server = Server(app, make_uvicorn_config(app, trusted))
            task = asyncio.create_task(server._serve([listener]))
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.01)
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
                yield client
            server.should_exit = True
            await task

    async def statuses(self, client: httpx.AsyncClient, *forwarded: str) -> list[int]:
        bad = numbered(len(forwarded))
        return [
            (await client.get(TYPES, headers=[*h.items(), ("X-Forwarded-For", f)])).status_code
            for h, f in zip(bad, forwarded, strict=True)
        ]

    async def test_forged_header_from_untrusted_address_does_not_reset_count(
        self, resources: Resources
    ) -> None:
        async with self.served(resources) as client:
            forged = [f"203.0.113.{n}" for n in range(3)]
            assert await self.statuses(client, *forged) == [401, 401, 429]

    @pytest.mark.parametrize("trusted", ["127.0.0.1", "127.0.0.0/8"])
    async def test_trusted_proxy_determines_client_address(
        self, resources: Resources, trusted: str
    ) -> None:
        async with self.served(resources, trusted) as client:
            one, other = "203.0.113.1", "203.0.113.2"
            assert await self.statuses(client, one, one, one, other) == [401, 401, 429, 401]

    async def test_last_untrusted_forwarded_address_counts(self, resources: Resources) -> None:
        async with self.served(resources, "127.0.0.1", "10.0.0.0/8") as client:
            forwarded = [f"198.51.100.{n}, 203.0.113.1, 10.0.0.{n}" for n in range(3)]
            assert await self.statuses(client, *forwarded) == [401, 401, 429]

    @pytest.mark.own_store("upload URLs lead to docvault only with the filesystem store")
    @pytest.mark.usefixtures("contract")
    @pytest.mark.parametrize(("trusted", "scheme"), [(["127.0.0.1"], "https"), ([], "http")])
    async def test_trusted_proxy_determines_public_url(
        self, resources: Resources, customer_of: CustomerClients, trusted: list[str], scheme: str
    ) -> None:
        headers = {**customer_of("c-1").headers, "X-Forwarded-Proto": "https"}
        declared = {"filename": "a.pdf", "size_bytes": 1, "sha256": "0" * 64}
        async with self.served(resources, *trusted) as client:
            response = await client.post(f"{PATH}/uploads", json=declared, headers=headers)
        assert response.json()["url"].startswith(f"{scheme}://")


@pytest.mark.usefixtures("contract")
@pytest.mark.parametrize("limits", [{"customer_max_concurrent_uploads": 2}])
class TestConcurrentUploads:
    """DOCVAULT_CUSTOMER_MAX_CONCURRENT_UPLOADS."""

    async def test_upload_over_limit_is_rejected_and_permit_is_released(
        self, customer_of: CustomerClients
    ) -> None:
        customer = customer_of("c-1")
        async with uploads_in_progress(customer, 2):
            assert is_limited(await customer.put(PATH, **upload_of()))
            assert (await customer_of("c-2").put(PATH, **upload_of())).status_code == 201
        assert (await customer.put(PATH, **upload_of())).is_success

    async def test_upload_is_rejected_before_reading_body(
        self, raw: Client, issuer: LocalIssuer, customer_of: CustomerClients
    ) -> None:
        token = {"authorization": f"Bearer {issuer.customer_token('c-1')}"}
        async with uploads_in_progress(customer_of("c-1"), 2):
            status, headers, body = await raw.send("PUT", PATH, MULTIPART | token)
        assert (status, body["detail"], raw.received) == (429, "At most 2 uploads at once.", 0)
        assert (headers["connection"], headers["retry-after"]) == ("close", "2")

    async def test_staff_and_integrations_use_no_customer_permits(
        self, integration: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        async with uploads_in_progress(integration, 2, KEY_PATH):
            assert (await integration.put(KEY_PATH, **upload_of())).is_success
            assert (await customer_of("c-1").put(PATH, **upload_of())).is_success

    @pytest.mark.own_store("upload URLs lead to docvault only with the filesystem store")
    async def test_upload_to_session_url_uses_permit(
        self, http: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        customer, body = customer_of("c-1"), files.pdf()
        digest = hashlib.sha256(body).hexdigest()
        declared = {"filename": "a.pdf", "size_bytes": len(body), "sha256": digest}
        url = (await customer.post(f"{PATH}/uploads", json=declared)).json()["url"]
        async with uploads_in_progress(customer, 2):
            assert is_limited(await http.put(url, content=body))
        assert (await http.put(url, content=body)).status_code == 204


@asynccontextmanager
async def uploads_in_progress(
    client: httpx.AsyncClient, number: int, path: str = PATH
) -> AsyncIterator[None]:
    """Keep uploads in progress until the block ends."""
    resume = asyncio.Event()
    begun = [asyncio.Event() for _ in range(number)]

    async def body(mine: asyncio.Event) -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.pdf"\r\n\r\n'
        mine.set()
        await resume.wait()
        yield files.pdf() + b"\r\n--b--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    tasks = [
        asyncio.create_task(client.put(path, content=body(mine), headers=headers)) for mine in begun
    ]
    await asyncio.gather(*(mine.wait() for mine in begun))
    try:
        yield
    finally:
        resume.set()
    responses = await asyncio.gather(*tasks)
    assert all(response.is_success for response in responses), [r.text for r in responses]


@pytest.mark.usefixtures("contract")
async def test_disabled_limits_count_nothing(
    http: httpx.AsyncClient, customer_of: CustomerClients, resources: Resources
) -> None:
    for _ in range(2):
        assert (await customer_of("c-1").put(PATH, **upload_of())).is_success
    await http.get(TYPES, headers=numbered(1)[0])
    assert await counts(resources) == []


@pytest.mark.parametrize("network", ["10.0.0.0/8", "10.1.2.3"])
def test_ipv4_network_matches_on_ipv6_socket(network: str) -> None:
    trusted = make_uvicorn_config(create_app(), [network]).forwarded_allow_ips
    addresses = ("10.1.2.3", "::ffff:10.1.2.3", "11.1.2.3", "::ffff:11.1.2.3", "::1")
    known = {
        address
        for address in addresses
        if any(ip_address(address) in ip_network(one) for one in trusted)
    }
    assert known == {"10.1.2.3", "::ffff:10.1.2.3"}
