"""The guard of every operation: who may enter is settled before a byte of the body is read."""

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from tests.api.raw_client import CHUNKED, JSON, MULTIPART, Client
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import CustomerClients, KeyClients

from docvault.api.callers import AdminRoute
from docvault.api.contract import whole_contract
from docvault.app import create_app
from docvault.auth.local_tokens import LocalIssuer
from docvault.auth.scopes import Scope
from docvault.services.resources import Resources

ID = "0193602e-5f3c-7b1a-9d0e-2f6c8a4b1d3e"


def operations() -> Iterator[tuple[str, str]]:
    """Every method and path of the three audiences."""
    for path, item in whole_contract(create_app())["paths"].items():
        if path.startswith("/v1/"):
            for method in item:
                yield method.upper(), path


OPERATIONS = sorted(operations())
WITH_BODY = [(m, p) for m, p in OPERATIONS if m in {"POST", "PUT", "PATCH"}]


def concrete(path: str) -> str:
    return re.sub(r"\{[^}]+\}", ID, path)


@pytest.fixture
def raw(app: FastAPI, http: httpx.AsyncClient) -> Client:
    del http  # it gives the application its resources
    return Client(app)


def staff(issuer: LocalIssuer) -> dict[str, str]:
    return {"authorization": f"Bearer {issuer.admin_token('staff-1')}"}


def customer(issuer: LocalIssuer) -> dict[str, str]:
    return {"authorization": f"Bearer {issuer.customer_token('c-1')}"}


class TestEveryOperation:
    """Every method and path below /v1."""

    def test_there_are_as_many_as_the_contract_lists(self) -> None:
        assert len(OPERATIONS) >= 50

    @pytest.mark.req("R-065", "R-112")
    async def test_anonymous_callers_are_refused_everywhere(self, http: httpx.AsyncClient) -> None:
        answers = {
            (method, path): await http.request(method, concrete(path))
            for method, path in OPERATIONS
        }
        assert {o: a.status_code for o, a in answers.items() if a.status_code != 401} == {}
        assert [o for o, a in answers.items() if "www-authenticate" not in a.headers] == []

    @pytest.mark.req("R-065")
    async def test_a_customer_is_refused_by_every_operation_of_staff(
        self, admin: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        await make_customer(admin, "c-1")
        client = customer_of("c-1")
        answers = {
            (method, path): (await client.request(method, concrete(path))).status_code
            for method, path in OPERATIONS
            if not path.startswith("/v1/customer/")
        }
        assert set(answers.values()) == {401, 403}
        assert all(
            status == (403 if path.startswith("/v1/admin/") else 401)
            for (_, path), status in answers.items()
        )

    @pytest.mark.req("R-113")
    async def test_a_key_is_refused_by_every_operation_outside_its_scope(
        self, app: FastAPI, key_client: KeyClients
    ) -> None:
        del app
        client = await key_client(Scope.GATE_READ)
        answers = {
            (method, path): (await client.request(method, concrete(path))).status_code
            for method, path in OPERATIONS
            if path.startswith("/v1/integration/") and not path.endswith("/gate")
        }
        assert len(answers) >= 10
        assert {o: s for o, s in answers.items() if s != 403} == {}

    @pytest.mark.parametrize("body", [JSON, MULTIPART, CHUNKED], ids=["json", "parts", "chunked"])
    async def test_no_body_is_read_before_the_credential_is_checked(
        self, raw: Client, body: dict[str, str]
    ) -> None:
        for method, path in WITH_BODY:
            status, headers, _ = await raw.send(method, concrete(path), body)
            assert (status, headers.get("connection")) == (401, "close"), (method, path)
        assert raw.received == 0

    async def test_no_body_is_read_for_a_bad_credential(self, raw: Client) -> None:
        bad = {"authorization": "Bearer x.y.z", "x-api-key": "dv_live_x"}
        for method, path in WITH_BODY:
            status, headers, _ = await raw.send(method, concrete(path), JSON | bad)
            assert (status, headers.get("connection")) == (401, "close"), (method, path)
        assert raw.received == 0

    async def test_no_body_is_read_without_the_scope(
        self, raw: Client, admin: httpx.AsyncClient, issuer: LocalIssuer
    ) -> None:
        await make_customer(admin, "c-1")
        for method, path in WITH_BODY:
            if path.startswith("/v1/admin/"):
                status, headers, _ = await raw.send(method, concrete(path), JSON | customer(issuer))
                assert (status, headers.get("connection")) == (403, "close"), (method, path)
        assert raw.received == 0

    async def test_no_body_is_read_for_a_customer_nobody_knows(
        self, raw: Client, issuer: LocalIssuer
    ) -> None:
        paths = [(m, p) for m, p in WITH_BODY if "/customers/{id}/" in p and "/admin/" in p]
        assert paths
        for method, path in paths:
            headers = MULTIPART if method == "PUT" else JSON
            answer = await raw.send(method, concrete(path), headers | staff(issuer))
            assert answer[2]["code"] == "customer-unknown", (method, path)
            assert answer[1].get("connection") == "close"
        assert raw.received == 0


class TestNulInThePath:
    """No text in the database can hold it: 422 wherever a path has text, for everyone let in."""

    @pytest.mark.parametrize("scopes", [[Scope.GATE_READ], list(Scope)], ids=["scope", "all"])
    async def test_it_is_refused(
        self, admin: httpx.AsyncClient, key_client: KeyClients, scopes: list[Scope]
    ) -> None:
        await make_customer(admin, "c-1")
        key = await key_client(*scopes)
        path = "/v1/integration/customers/c-1/documents/a%00b"
        for answer in (await key.get(path), await key.put(path, **upload_of())):
            assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (422, "key")


class TestUploads:
    """PUT /v1/customer/documents/{key}: refused before the body."""

    path = "/v1/customer/documents/identity-card"

    @pytest.fixture(autouse=True)
    async def known(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "Identity card")
        await make_customer(admin, "c-1")

    async def put(
        self, raw: Client, issuer: LocalIssuer, path: str = path, **headers: str
    ) -> tuple[int, dict[str, str], Any]:
        return await raw.send("PUT", path, MULTIPART | customer(issuer) | headers)

    async def test_a_closed_section_reads_no_body(
        self, raw: Client, admin: httpx.AsyncClient, issuer: LocalIssuer
    ) -> None:
        path = "/v1/admin/settings/portal"
        etag = (await admin.get(path)).headers["etag"]
        await admin.patch(path, json={"section_enabled": False}, headers={"If-Match": etag})
        status, headers, body = await self.put(raw, issuer)
        assert (status, body["code"]) == (403, "portal-section-disabled")
        assert (raw.received, headers["connection"]) == (0, "close")

    @pytest.mark.req("R-034")
    async def test_an_admin_only_document_reads_no_body(
        self, raw: Client, admin: httpx.AsyncClient, issuer: LocalIssuer
    ) -> None:
        await make_type(admin, "Report", upload_mode="admin_only")
        status, headers, body = await self.put(raw, issuer, "/v1/customer/documents/report")
        assert (status, body["code"]) == (403, "admin-only-document")
        assert (raw.received, headers["connection"]) == (0, "close")

    async def test_an_unknown_type_reads_no_body(self, raw: Client, issuer: LocalIssuer) -> None:
        status, headers, _ = await self.put(raw, issuer, "/v1/customer/documents/nothing")
        assert (status, raw.received, headers["connection"]) == (404, 0, "close")

    async def test_a_body_announced_too_large_is_not_read(
        self, raw: Client, issuer: LocalIssuer
    ) -> None:
        status, headers, body = await self.put(raw, issuer, **{"content-length": str(200 << 20)})
        assert (status, body["code"]) == (413, "file-too-large")
        assert (raw.received, headers["connection"]) == (0, "close")

    async def test_another_media_type_is_not_read(self, raw: Client, issuer: LocalIssuer) -> None:
        status, headers, _ = await self.put(raw, issuer, **{"content-type": "application/json"})
        assert (status, raw.received, headers["connection"]) == (415, 0, "close")

    async def test_an_unknown_query_parameter_is_refused_unread(
        self, raw: Client, issuer: LocalIssuer
    ) -> None:
        status, headers, _ = await self.put(raw, issuer, self.path + "?force=true")
        assert (status, raw.received, headers["connection"]) == (422, 0, "close")

    async def test_a_busy_service_refuses_before_the_body(
        self, app: FastAPI, raw: Client, issuer: LocalIssuer, resources: Resources
    ) -> None:
        import asyncio

        app.state.resources = dataclasses.replace(resources, upload_slots=asyncio.Semaphore(0))
        status, headers, body = await self.put(raw, issuer)
        assert (status, body["code"]) == (503, "overloaded")
        assert (raw.received, headers["connection"]) == (0, "close")
        assert int(headers["retry-after"]) > 0

    async def test_a_busy_service_does_not_even_ask_the_database(
        self, app: FastAPI, raw: Client, issuer: LocalIssuer, resources: Resources
    ) -> None:
        import asyncio

        from docvault.database import Database

        # Nothing listens there: whoever asks is told `database-unavailable`.
        nowhere = Database("postgresql://docvault@127.0.0.1:1/docvault")
        app.state.resources = dataclasses.replace(
            resources, upload_slots=asyncio.Semaphore(0), database=nowhere
        )
        status, _, body = await self.put(raw, issuer)
        assert (status, body["code"]) == (503, "overloaded")

    async def test_a_key_that_is_still_running_refuses_before_the_body(
        self, raw: Client, issuer: LocalIssuer, resources: Resources
    ) -> None:
        from docvault.auth.principals import Access

        path = self.path
        async with resources.unit(Access.everyone()) as unit:
            found = await unit.customers.find("c-1")
            assert found is not None
            key = resources.keyring.idempotency_id("customer", "c-1", "PUT", path, "k")
            await unit.idempotency_keys.claim(key, found.id)
        status, headers, body = await self.put(raw, issuer, **{"idempotency-key": "k"})
        assert (status, body["code"]) == (409, "request-in-progress")
        assert (raw.received, headers["connection"]) == (0, "close")

    async def test_an_accepted_upload_keeps_the_connection(
        self, customer_of: CustomerClients
    ) -> None:
        answer = await customer_of("c-1").put(self.path, **upload_of())
        assert answer.status_code == 201
        assert "connection" not in answer.headers


class TestJsonBodies:
    """POST /v1/admin/document-types: limits of the body."""

    path = "/v1/admin/document-types"

    async def test_a_body_announced_too_large_is_not_read(
        self, raw: Client, issuer: LocalIssuer
    ) -> None:
        headers = JSON | staff(issuer) | {"content-length": str(65 * 1024)}
        status, answered, body = await raw.send("POST", self.path, headers)
        assert (status, body["code"], body["limit_bytes"]) == (413, "body-too-large", 64 * 1024)
        assert (raw.received, answered["connection"]) == (0, "close")

    async def test_a_chunked_body_is_counted(self, raw: Client, issuer: LocalIssuer) -> None:
        status, _, body = await raw.send(
            "POST", self.path, CHUNKED | staff(issuer), b"x" * (65 * 1024)
        )
        assert (status, body["code"]) == (413, "body-too-large")

    async def test_another_media_type_is_not_read(self, raw: Client, issuer: LocalIssuer) -> None:
        headers = JSON | staff(issuer) | {"content-type": "text/plain"}
        status, answered, body = await raw.send("POST", self.path, headers)
        assert (status, body["code"]) == (415, "media-type-not-allowed")
        assert (raw.received, answered["connection"]) == (0, "close")

    async def test_a_bad_body_of_a_stranger_is_401_not_422(self, http: httpx.AsyncClient) -> None:
        answer = await http.post(self.path, content=b"{", headers={"content-type": JSON_TYPE})
        assert answer.status_code == 401


JSON_TYPE = "application/json"


class TestDeclarations:
    """A route that does not say who may enter."""

    def test_a_route_without_a_declared_operation_fails_at_the_build(self) -> None:
        router = APIRouter(route_class=AdminRoute)

        async def admin_forget_guard() -> None: ...

        with pytest.raises(TypeError, match="admin_forget_guard"):
            router.get("/v1/admin/forgotten")(admin_forget_guard)

    def test_every_route_below_v1_is_guarded_or_the_contract_itself(self) -> None:
        from fastapi.routing import iter_route_contexts

        from docvault.api.operations import GuardedRoute

        open_paths = {
            context.path_format
            for context in iter_route_contexts(create_app().routes)
            if context.path_format
            and context.path_format.startswith("/v1/")
            and not isinstance(getattr(context, "route", None), GuardedRoute)
            and not isinstance(getattr(context, "original_route", None), GuardedRoute)
        }
        assert all(path.endswith("/openapi.json") for path in open_paths), open_paths
