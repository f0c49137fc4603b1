"""Rate limits: how much one caller may do in a minute, and at once (SECURITY D18, T15)."""

import asyncio
import dataclasses
import hashlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from tests.api.holdings import holdings
from tests.api.raw_client import JSON, MULTIPART, Client
from tests.factories import files
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import CustomerClients, KeyClients
from tests.fixtures.refusals import JudgingTransport
from tests.fixtures.statements import sent_statements

from docvault.app import create_app
from docvault.auth.api_keys import generate_key
from docvault.auth.local_tokens import LocalIssuer
from docvault.auth.scopes import Scope
from docvault.database import Database
from docvault.metrics import REGISTRY
from docvault.server import Server, listen, uvicorn_config
from docvault.services.blobs import reap
from docvault.services.resources import Resources
from docvault.settings import Settings
from docvault.startup import open_resources

SLOT = "/v1/customer/documents/contract"
KEY_SLOT = "/v1/integration/customers/c-1/documents/contract"
READ = "/v1/customer/gate"
TYPES = "/v1/admin/document-types"
KEY_PATH = "/v1/integration/document-types"


@pytest.fixture
def limits() -> dict[str, int]:
    """The limits of the test; those it does not name are off."""
    return {}


@pytest.fixture
def settings(tmp_path: Path, limits: dict[str, int]) -> Settings:
    off = {
        "customer_uploads_per_minute": 0,
        "customer_requests_per_minute": 0,
        "api_key_requests_per_minute": 0,
        "failed_credentials_per_minute": 0,
        "customer_max_parallel_uploads": 0,
    }
    return Settings(data_dir=tmp_path / "data", **(off | limits))  # type: ignore[arg-type]


@pytest.fixture
async def contract(admin: httpx.AsyncClient) -> None:
    """A type, and the customers c-1 and c-2."""
    await make_type(admin, "Contract")
    for customer_id in ("c-1", "c-2"):
        await make_customer(admin, customer_id)


@pytest.fixture
def raw(app: FastAPI, http: httpx.AsyncClient) -> Client:
    del http  # it gives the application its resources
    return Client(app)


def limited(answer: httpx.Response) -> bool:
    """Whether it is the refusal, in full."""
    if answer.status_code != 429:
        return False
    assert answer.json()["code"] == "rate-limited"
    assert 1 <= int(answer.headers["retry-after"]) <= 65
    assert "www-authenticate" not in answer.headers
    return True


def numbered(count: int) -> list[httpx.Headers]:
    """Headers with bad tokens, each another."""
    return [httpx.Headers({"Authorization": f"Bearer x{n}.y.z"}) for n in range(count)]


@asynccontextmanager
async def another_process(settings: Settings, database_url: str) -> AsyncIterator[FastAPI]:
    """The application once more, with a memory and connections of its own."""
    async with open_resources(settings, database_url) as opened:
        app = create_app()
        app.state.resources = opened
        yield app


def at(app: FastAPI, client: httpx.AsyncClient, address: str = "127.0.0.1") -> httpx.AsyncClient:
    """The same client, asking a process from an address."""
    transport = JudgingTransport(
        httpx.ASGITransport(app, client=(address, 1), raise_app_exceptions=False)
    )
    return httpx.AsyncClient(
        transport=transport, base_url="http://docvault.test", headers=client.headers
    )


async def counts(resources: Resources) -> list[int]:
    async with resources.database.transaction() as session:
        return list(await session.scalars(text("SELECT number FROM rate_limits ORDER BY 1")))


async def end_windows(resources: Resources) -> None:
    """Let a minute pass in the database."""
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

    async def test_one_more_than_the_limit_is_refused(self, customer_of: CustomerClients) -> None:
        before = reached("customer_uploads")
        answers = [await customer_of("c-1").put(SLOT, **upload_of()) for _ in range(4)]
        assert [a.status_code for a in answers[:3]] == [201, 200, 200]
        assert limited(answers[3])
        assert answers[3].json()["detail"] == "At most 3 uploads a minute."
        assert reached("customer_uploads") == before + 1

    async def test_a_refused_one_changes_nothing(
        self, customer_of: CustomerClients, resources: Resources
    ) -> None:
        for _ in range(3):
            await customer_of("c-1").put(SLOT, **upload_of())
        before = await holdings(resources)
        assert limited(await customer_of("c-1").put(SLOT, **upload_of()))
        assert await holdings(resources) == before

    async def test_it_is_refused_before_its_body_is_read(
        self, raw: Client, issuer: LocalIssuer, customer_of: CustomerClients
    ) -> None:
        for _ in range(3):
            await customer_of("c-1").put(SLOT, **upload_of())
        token = {"authorization": f"Bearer {issuer.customer_token('c-1')}"}
        status, headers, _ = await raw.send("PUT", SLOT, MULTIPART | token)
        assert (status, headers["connection"], raw.received) == (429, "close", 0)

    async def test_attempts_that_fail_are_counted(
        self, customer_of: CustomerClients, resources: Resources
    ) -> None:
        customer = customer_of("c-1")
        failed = [
            await customer.put(SLOT, **upload_of(b"nothing", "a.exe")),
            await customer.put(SLOT, content=b"{", headers={"Content-Type": "multipart/x"}),
        ]
        assert [a.status_code for a in failed] == [415, 415]
        assert await counts(resources) == [2]
        assert (await customer.put(SLOT, **upload_of())).status_code == 201
        assert limited(await customer.put(SLOT, **upload_of()))

    async def test_announcing_a_file_and_a_batch_are_uploads_too(
        self, customer_of: CustomerClients
    ) -> None:
        customer = customer_of("c-1")
        announced = {"filename": "a.pdf", "size_bytes": 1, "sha256": "0" * 64}
        batch = {"data": {"items": '[{"key": "contract", "files": ["f"]}]'}}
        answers = [
            await customer.post(f"{SLOT}/uploads", json=announced),
            await customer.post(
                "/v1/customer/document-batches", files=[("f", ("a.pdf", files.pdf()))], **batch
            ),
            await customer.put(SLOT, **upload_of()),
            await customer.post(f"{SLOT}/uploads", json=announced),
        ]
        assert [a.status_code for a in answers[:3]] == [201, 207, 200]
        assert limited(answers[3])

    async def test_each_customer_is_counted_apart(self, customer_of: CustomerClients) -> None:
        for _ in range(4):
            last = await customer_of("c-1").put(SLOT, **upload_of())
        assert limited(last)
        assert (await customer_of("c-2").put(SLOT, **upload_of())).status_code == 201

    async def test_another_token_of_the_same_customer_is_no_way_round(
        self, http: httpx.AsyncClient, issuer: LocalIssuer
    ) -> None:
        tokens = [issuer.customer_token("c-1") for _ in range(4)]
        answers = [
            await http.put(SLOT, headers={"Authorization": f"Bearer {token}"}, **upload_of())
            for token in tokens
        ]
        assert limited(answers[-1])

    async def test_staff_and_third_parties_are_not_limited(
        self, admin: httpx.AsyncClient, integration: httpx.AsyncClient
    ) -> None:
        path = "/v1/admin/customers/c-1/documents/contract"
        for _ in range(3):
            assert (await admin.put(path, **upload_of())).is_success
            assert (await integration.put(KEY_SLOT, **upload_of())).is_success

    async def test_reading_goes_on(self, customer_of: CustomerClients) -> None:
        for _ in range(4):
            await customer_of("c-1").put(SLOT, **upload_of())
        assert (await customer_of("c-1").get(READ)).status_code == 200

    async def test_a_new_minute_begins_anew(
        self,
        customer_of: CustomerClients,
        resources: Resources,
        settings: Settings,
        database_url: str,
    ) -> None:
        for _ in range(3):
            await customer_of("c-1").put(SLOT, **upload_of())
        async with another_process(settings, database_url) as other:
            customer = at(other, customer_of("c-1"))
            assert limited(await customer.put(SLOT, **upload_of()))
            await end_windows(resources)
            assert (await customer.put(SLOT, **upload_of())).status_code == 200

    async def test_the_reaper_removes_what_is_over(
        self, customer_of: CustomerClients, resources: Resources
    ) -> None:
        await customer_of("c-1").put(SLOT, **upload_of())
        await end_windows(resources)
        await customer_of("c-2").put(SLOT, **upload_of())
        await reap(resources)
        assert await counts(resources) == [1]

    async def test_an_erased_customer_is_named_nowhere(
        self, customer_of: CustomerClients, resources: Resources
    ) -> None:
        await customer_of("c-1").put(SLOT, **upload_of())
        async with resources.database.transaction() as session:
            rows = (
                await session.execute(text("SELECT encode(id, 'escape') FROM rate_limits"))
            ).all()
        assert len(rows) == 1
        assert "c-1" not in str(rows)


@pytest.mark.usefixtures("contract")
@pytest.mark.parametrize(
    "limits", [{"customer_uploads_per_minute": 19, "max_parallel_uploads": 20}]
)
class TestUploadsAtTheSameTime:
    """Exactly as many as the limit, however many come at once."""

    async def test_of_twenty_in_one_process_one_is_refused(
        self, customer_of: CustomerClients
    ) -> None:
        customer = customer_of("c-1")
        answers = await asyncio.gather(*(customer.put(SLOT, **upload_of()) for _ in range(20)))
        assert sum(limited(answer) for answer in answers) == 1
        assert sum(answer.is_success for answer in answers) == 19

    async def test_of_twenty_in_two_processes_one_is_refused(
        self, app: FastAPI, settings: Settings, database_url: str, customer_of: CustomerClients
    ) -> None:
        async with another_process(settings, database_url) as other:
            clients = [at(one, customer_of("c-1")) for one in (app, other)]
            answers = await asyncio.gather(
                *(client.put(SLOT, **upload_of()) for client in clients for _ in range(10))
            )
        assert sum(limited(answer) for answer in answers) == 1
        assert sum(answer.is_success for answer in answers) == 19


@pytest.mark.usefixtures("contract")
@pytest.mark.parametrize("limits", [{"customer_requests_per_minute": 4}])
class TestRequests:
    """DOCVAULT_CUSTOMER_REQUESTS_PER_MINUTE."""

    async def test_one_more_than_the_limit_is_refused(self, customer_of: CustomerClients) -> None:
        customer = customer_of("c-1")
        answers = [
            await customer.get(READ),
            await customer.head(READ),
            await customer.get("/v1/customer/documents/nothing"),
            await customer.patch(SLOT, json={"field_values": {}}),
            await customer.get(READ),
        ]
        assert [limited(answer) for answer in answers] == [False] * 4 + [True]
        assert answers[4].json()["detail"] == "At most 4 requests a minute."

    async def test_of_twenty_at_once_all_but_the_limit_are_refused(
        self, customer_of: CustomerClients
    ) -> None:
        customer = customer_of("c-1")
        answers = await asyncio.gather(*(customer.get(READ) for _ in range(20)))
        assert sum(limited(answer) for answer in answers) == 16
        assert sum(answer.is_success for answer in answers) == 4

    async def test_a_refused_one_asks_nothing_of_the_database(
        self, customer_of: CustomerClients
    ) -> None:
        for _ in range(4):
            await customer_of("c-1").get(READ)
        with sent_statements() as seen:
            assert limited(await customer_of("c-1").get(READ))
        assert seen == []

    async def test_a_json_body_is_not_read(
        self, raw: Client, issuer: LocalIssuer, customer_of: CustomerClients
    ) -> None:
        for _ in range(4):
            await customer_of("c-1").get(READ)
        token = {"authorization": f"Bearer {issuer.customer_token('c-1')}"}
        status, headers, _ = await raw.send("PATCH", SLOT, JSON | token)
        assert (status, headers["connection"], raw.received) == (429, "close", 0)

    async def test_uploading_and_other_customers_go_on(self, customer_of: CustomerClients) -> None:
        for _ in range(5):
            last = await customer_of("c-1").get(READ)
        assert limited(last)
        assert (await customer_of("c-1").put(SLOT, **upload_of())).status_code == 201
        assert (await customer_of("c-2").get(READ)).status_code == 200

    async def test_knocking_at_the_doors_of_staff_is_counted(
        self, customer_of: CustomerClients
    ) -> None:
        answers = [await customer_of("c-1").get(TYPES) for _ in range(5)]
        assert [a.status_code for a in answers] == [403] * 4 + [429]

    async def test_a_token_for_nobody_is_counted(self, customer_of: CustomerClients) -> None:
        answers = [await customer_of("nobody").get(READ) for _ in range(5)]
        assert [a.status_code for a in answers] == [403] * 4 + [429]

    async def test_staff_are_not_limited(self, admin: httpx.AsyncClient) -> None:
        assert {(await admin.get(TYPES)).status_code for _ in range(6)} == {200}

    async def test_nothing_is_written(
        self, customer_of: CustomerClients, resources: Resources
    ) -> None:
        await customer_of("c-1").get(READ)
        assert await counts(resources) == []


@pytest.mark.parametrize("limits", [{"api_key_requests_per_minute": 3}])
class TestKeys:
    """DOCVAULT_API_KEY_REQUESTS_PER_MINUTE."""

    async def test_each_key_has_its_own_limit(self, key_client: KeyClients) -> None:
        key, other = await key_client(), await key_client()
        answers = [await key.get(KEY_PATH) for _ in range(4)]
        assert [limited(answer) for answer in answers] == [False] * 3 + [True]
        assert (await other.get(KEY_PATH)).status_code == 200

    async def test_requests_without_the_scope_are_counted(self, key_client: KeyClients) -> None:
        key = await key_client(Scope.GATE_READ)
        answers = [await key.get(KEY_PATH) for _ in range(4)]
        assert [a.status_code for a in answers] == [403] * 3 + [429]

    async def test_of_twenty_at_once_all_but_the_limit_are_refused(
        self, key_client: KeyClients
    ) -> None:
        key = await key_client()
        answers = await asyncio.gather(*(key.get(KEY_PATH) for _ in range(20)))
        assert sum(limited(answer) for answer in answers) == 17

    @pytest.mark.usefixtures("contract")
    async def test_an_upload_is_refused_before_its_body_is_read(
        self, raw: Client, key_client: KeyClients
    ) -> None:
        key = await key_client()
        for _ in range(3):
            await key.get(KEY_PATH)
        headers = MULTIPART | {"x-api-key": key.headers["x-api-key"]}
        status, answered, _ = await raw.send("PUT", KEY_SLOT, headers)
        assert (status, answered["connection"], raw.received) == (429, "close", 0)


@pytest.mark.parametrize("limits", [{"failed_credentials_per_minute": 20}])
class TestFailedCredentials:
    """DOCVAULT_FAILED_CREDENTIALS_PER_MINUTE."""

    async def test_one_more_than_the_limit_from_an_address_is_refused(
        self, http: httpx.AsyncClient
    ) -> None:
        answers = [await http.get(TYPES, headers=headers) for headers in numbered(21)]
        assert [a.status_code for a in answers] == [401] * 20 + [429]
        assert limited(answers[20])

    @pytest.mark.parametrize("path", [TYPES, READ])
    async def test_whoever_has_a_valid_one_is_let_in_all_the_same(
        self, http: httpx.AsyncClient, issuer: LocalIssuer, path: str, admin: httpx.AsyncClient
    ) -> None:
        await make_customer(admin, "c-1")
        for headers in numbered(25):
            last = await http.get(path, headers=headers)
        assert limited(last)
        token = issuer.admin_token("s") if path == TYPES else issuer.customer_token("c-1")
        answer = await http.get(path, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200

    async def test_a_valid_key_is_let_in_while_others_are_guessed_with_its_id(
        self, http: httpx.AsyncClient, key_client: KeyClients
    ) -> None:
        key = await key_client()
        public_id = key.headers["x-api-key"][8:16]
        for _ in range(21):
            guess = guessed(public_id)
            last = await http.get(KEY_PATH, headers={"X-API-Key": guess})
        assert limited(last)
        assert (await key.get(KEY_PATH)).status_code == 200

    @pytest.mark.parametrize("kind", ["token", "key"])
    async def test_of_twenty_one_at_once_in_two_processes_one_is_refused(
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
        path = TYPES if kind == "token" else KEY_PATH
        async with another_process(settings, database_url) as other:
            clients = [at(app, http), at(other, http)] * 11
            pairs = zip(clients, bad, strict=False)
            answers = await asyncio.gather(
                *(client.get(path, headers=headers) for client, headers in pairs)
            )
        assert Counter(a.status_code for a in answers) == {401: 20, 429: 1}

    async def test_another_address_is_counted_apart(
        self, app: FastAPI, http: httpx.AsyncClient
    ) -> None:
        for headers in numbered(21):
            last = await http.get(TYPES, headers=headers)
        assert limited(last)
        elsewhere = at(app, http, "203.0.113.7")
        assert (await elsewhere.get(TYPES, headers=numbered(30)[-1])).status_code == 401

    async def test_an_ipv6_network_is_one_address(
        self, app: FastAPI, http: httpx.AsyncClient
    ) -> None:
        clients = [at(app, http, f"2001:db8:0:7::{n:x}") for n in range(21)]
        pairs = list(zip(clients, numbered(21), strict=True))
        answers = [await client.get(TYPES, headers=headers) for client, headers in pairs]
        assert [a.status_code for a in answers] == [401] * 20 + [429]
        neighbour = at(app, http, "2001:db8:0:8::1")
        assert (await neighbour.get(TYPES, headers=numbered(30)[-1])).status_code == 401

    async def test_the_same_credential_from_many_addresses_is_refused(
        self, app: FastAPI, http: httpx.AsyncClient
    ) -> None:
        headers = numbered(1)[0]
        answers = [
            await at(app, http, f"203.0.113.{n}").get(TYPES, headers=headers) for n in range(21)
        ]
        assert [a.status_code for a in answers] == [401] * 20 + [429]

    async def test_an_expired_token_makes_its_holder_wait_and_nobody_else(
        self, http: httpx.AsyncClient, issuer: LocalIssuer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("time.time", lambda: 1_700_000_000.0)
            old, other = issuer.admin_token("a"), issuer.admin_token("b")
        bearers = [httpx.Headers({"Authorization": f"Bearer {token}"}) for token in (old, other)]
        answers = [await http.get(TYPES, headers=bearers[0]) for _ in range(21)]
        assert [a.json()["code"] for a in answers] == ["token-expired"] * 20 + ["rate-limited"]
        assert (await http.get(TYPES, headers=bearers[1])).json()["code"] == "token-expired"
        assert (await http.get(TYPES, headers=numbered(1)[0])).json()["code"] == "invalid-token"

    async def test_no_credential_is_no_attempt(self, http: httpx.AsyncClient) -> None:
        assert {(await http.get(TYPES)).status_code for _ in range(25)} == {401}

    async def test_a_mistyped_key_is_counted_without_asking_the_database(
        self, http: httpx.AsyncClient
    ) -> None:
        with sent_statements() as seen:
            answers = [
                await http.get(KEY_PATH, headers={"X-API-Key": f"dv_live_{n}"}) for n in range(21)
            ]
        assert [a.status_code for a in answers] == [401] * 20 + [429]
        assert seen == []

    async def test_beyond_the_limit_the_database_is_asked_no_more(
        self, http: httpx.AsyncClient
    ) -> None:
        for headers in numbered(20):
            await http.get(TYPES, headers=headers)
        with sent_statements() as seen:
            assert limited(await http.get(TYPES, headers=numbered(21)[20]))
        assert seen == []

    async def test_a_good_credential_writes_nothing(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await admin.get(TYPES)
        assert await counts(resources) == []

    async def test_the_rows_tell_neither_address_nor_credential(
        self, http: httpx.AsyncClient, resources: Resources
    ) -> None:
        await http.get(TYPES, headers={"Authorization": "Bearer canary.y.z"})
        async with resources.database.transaction() as session:
            ids = list(await session.scalars(text("SELECT id FROM rate_limits")))
        assert {len(id_) for id_ in ids} == {32}
        assert len(ids) == 2

    async def test_without_the_database_the_refusal_is_the_same(
        self, app: FastAPI, http: httpx.AsyncClient, resources: Resources
    ) -> None:
        dead = Database("postgresql://127.0.0.1:1/nothing")
        app.state.resources = dataclasses.replace(resources, database=dead)
        answer = await http.get(TYPES, headers=numbered(1)[0])
        await dead.close()
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid-token")

    async def test_it_is_refused_before_the_body_is_read(self, raw: Client) -> None:
        for n in range(21):
            bad = {"authorization": f"Bearer {n}.y.z"}
            status, headers, _ = await raw.send("POST", TYPES, JSON | bad)
        assert (status, headers["connection"], raw.received) == (429, "close", 0)

    async def test_a_new_minute_begins_anew(
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
            assert limited(await client.get(TYPES, headers=numbered(21)[20]))
            await end_windows(resources)
            assert (await client.get(TYPES, headers=numbered(22)[21])).status_code == 401


def guessed(public_id: str) -> str:
    """A well-formed key with a known id and some other secret."""
    from docvault.auth import api_keys

    body = f"dv_live_{public_id}_{generate_key()[1].secret}"
    return body + api_keys._checksum(body)


@pytest.mark.parametrize("limits", [{"failed_credentials_per_minute": 2}])
class TestProxies:
    """DOCVAULT_TRUSTED_PROXIES, over sockets."""

    @asynccontextmanager
    async def served(self, resources: Resources, *trusted: str) -> AsyncIterator[httpx.AsyncClient]:
        app = create_app()  # of its own: once it has served, it says that it is stopping
        app.state.resources = resources
        with listen("127.0.0.1", 0) as listener:
            server = Server(app, uvicorn_config(app, trusted), announcement=None)
            task = asyncio.create_task(server._serve([listener]))
            while not server.started:  # noqa: ASYNC110 - uvicorn announces nothing
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

    async def test_a_forged_header_from_elsewhere_does_not_reset_the_count(
        self, resources: Resources
    ) -> None:
        async with self.served(resources) as client:
            forged = [f"203.0.113.{n}" for n in range(3)]
            assert await self.statuses(client, *forged) == [401, 401, 429]

    @pytest.mark.parametrize("trusted", ["127.0.0.1", "127.0.0.0/8"])
    async def test_a_trusted_proxy_says_who_is_behind_it(
        self, resources: Resources, trusted: str
    ) -> None:
        async with self.served(resources, trusted) as client:
            one, other = "203.0.113.1", "203.0.113.2"
            assert await self.statuses(client, one, one, one, other) == [401, 401, 429, 401]

    async def test_only_the_last_address_that_is_no_proxys_counts(
        self, resources: Resources
    ) -> None:
        async with self.served(resources, "127.0.0.1", "10.0.0.0/8") as client:
            forwarded = [f"198.51.100.{n}, 203.0.113.1, 10.0.0.{n}" for n in range(3)]
            assert await self.statuses(client, *forwarded) == [401, 401, 429]

    @pytest.mark.own_store("the addresses of files are ours only where the store has none")
    @pytest.mark.usefixtures("contract")
    @pytest.mark.parametrize(("trusted", "scheme"), [(["127.0.0.1"], "https"), ([], "http")])
    async def test_a_trusted_proxy_says_how_clients_reach_it(
        self, resources: Resources, customer_of: CustomerClients, trusted: list[str], scheme: str
    ) -> None:
        headers = {**customer_of("c-1").headers, "X-Forwarded-Proto": "https"}
        announced = {"filename": "a.pdf", "size_bytes": 1, "sha256": "0" * 64}
        async with self.served(resources, *trusted) as client:
            answer = await client.post(f"{SLOT}/uploads", json=announced, headers=headers)
        assert answer.json()["url"].startswith(f"{scheme}://")


@pytest.mark.usefixtures("contract")
@pytest.mark.parametrize("limits", [{"customer_max_parallel_uploads": 2}])
class TestUploadsAtOnce:
    """DOCVAULT_CUSTOMER_MAX_PARALLEL_UPLOADS."""

    async def test_one_more_than_the_limit_is_refused_and_a_place_is_given_back(
        self, customer_of: CustomerClients
    ) -> None:
        customer = customer_of("c-1")
        async with under_way(customer, 2):
            assert limited(await customer.put(SLOT, **upload_of()))
            assert (await customer_of("c-2").put(SLOT, **upload_of())).status_code == 201
        assert (await customer.put(SLOT, **upload_of())).is_success

    async def test_it_is_refused_before_its_body_is_read(
        self, raw: Client, issuer: LocalIssuer, customer_of: CustomerClients
    ) -> None:
        token = {"authorization": f"Bearer {issuer.customer_token('c-1')}"}
        async with under_way(customer_of("c-1"), 2):
            status, headers, body = await raw.send("PUT", SLOT, MULTIPART | token)
        assert (status, body["detail"], raw.received) == (429, "At most 2 uploads at once.", 0)
        assert (headers["connection"], headers["retry-after"]) == ("close", "2")

    async def test_staff_and_third_parties_use_none_of_the_customers_places(
        self, integration: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        async with under_way(integration, 2, KEY_SLOT):
            assert (await integration.put(KEY_SLOT, **upload_of())).is_success
            assert (await customer_of("c-1").put(SLOT, **upload_of())).is_success

    @pytest.mark.own_store("the addresses of files are ours only where the store has none")
    async def test_the_bytes_of_an_announced_file_take_a_place(
        self, http: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        customer, body = customer_of("c-1"), files.pdf()
        digest = hashlib.sha256(body).hexdigest()
        announced = {"filename": "a.pdf", "size_bytes": len(body), "sha256": digest}
        url = (await customer.post(f"{SLOT}/uploads", json=announced)).json()["url"]
        async with under_way(customer, 2):
            assert limited(await http.put(url, content=body))
        assert (await http.put(url, content=body)).status_code == 204


@asynccontextmanager
async def under_way(
    client: httpx.AsyncClient, number: int, path: str = SLOT
) -> AsyncIterator[None]:
    """Uploads that have begun and go on until the block ends."""
    go_on = asyncio.Event()
    begun = [asyncio.Event() for _ in range(number)]

    async def body(mine: asyncio.Event) -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.pdf"\r\n\r\n'
        mine.set()
        await go_on.wait()
        yield files.pdf() + b"\r\n--b--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    tasks = [
        asyncio.create_task(client.put(path, content=body(mine), headers=headers)) for mine in begun
    ]
    await asyncio.gather(*(mine.wait() for mine in begun))
    try:
        yield
    finally:
        go_on.set()
    answers = await asyncio.gather(*tasks)
    assert all(answer.is_success for answer in answers), [a.text for a in answers]


@pytest.mark.usefixtures("contract")
async def test_with_every_limit_off_nothing_is_counted(
    http: httpx.AsyncClient, customer_of: CustomerClients, resources: Resources
) -> None:
    for _ in range(2):
        assert (await customer_of("c-1").put(SLOT, **upload_of())).is_success
    await http.get(TYPES, headers=numbered(1)[0])
    assert await counts(resources) == []


@pytest.mark.parametrize("network", ["10.0.0.0/8", "10.1.2.3"])
def test_an_ipv4_network_is_known_on_an_ipv6_socket_too(network: str) -> None:
    trusted = uvicorn_config(create_app(), [network]).forwarded_allow_ips
    addresses = ("10.1.2.3", "::ffff:10.1.2.3", "11.1.2.3", "::ffff:11.1.2.3", "::1")
    known = {
        address
        for address in addresses
        if any(ip_address(address) in ip_network(one) for one in trusted)
    }
    assert known == {"10.1.2.3", "::ffff:10.1.2.3"}
