"""The guard of every operation: access is decided before the body is read."""

import dataclasses
import inspect
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from tests.api.raw_client import CHUNKED, JSON, MULTIPART, Client
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import CustomerClients, KeyClients

from docvault.api.app import create_app
from docvault.api.openapi.spec import build_openapi
from docvault.api.routing.operation import NoBody, Read, operation
from docvault.api.routing.requests import ApiRequest, CustomerRequest
from docvault.api.routing.routes import AdminRoute, CustomerRoute
from docvault.auth.local_tokens import LocalIssuer
from docvault.domain.audit import AuditAction
from docvault.domain.scopes import Scope
from docvault.repositories.idempotency_keys import KeyHolder
from docvault.services.resources import Resources

ID = "0193602e-5f3c-7b1a-9d0e-2f6c8a4b1d3e"


def operations() -> Iterator[tuple[str, str]]:
    """Yield every method and path of the three audiences."""
    for path, item in build_openapi(create_app())["paths"].items():
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

    def test_openapi_lists_enough_operations(self) -> None:
        assert len(OPERATIONS) >= 50

    @pytest.mark.req("R-065", "R-112")
    async def test_anonymous_callers_are_rejected_everywhere(self, http: httpx.AsyncClient) -> None:
        responses = {
            (method, path): await http.request(method, concrete(path))
            for method, path in OPERATIONS
        }
        assert {o: a.status_code for o, a in responses.items() if a.status_code != 401} == {}
        assert [o for o, a in responses.items() if "www-authenticate" not in a.headers] == []

    @pytest.mark.req("R-065")
    async def test_customer_is_rejected_by_every_admin_operation(
        self, admin: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        await make_customer(admin, "c-1")
        client = customer_of("c-1")
        responses = {
            (method, path): (await client.request(method, concrete(path))).status_code
            for method, path in OPERATIONS
            if not path.startswith("/v1/customer/")
        }
        assert set(responses.values()) == {401, 403}
        assert all(
            status == (403 if path.startswith("/v1/admin/") else 401)
            for (_, path), status in responses.items()
        )

    @pytest.mark.req("R-113")
    async def test_key_is_rejected_by_every_operation_outside_its_scope(
        self, app: FastAPI, key_client: KeyClients
    ) -> None:
        del app
        client = await key_client(Scope.GATE_READ)
        responses = {
            (method, path): (await client.request(method, concrete(path))).status_code
            for method, path in OPERATIONS
            if path.startswith("/v1/integration/") and not path.endswith(("/gate", "/key"))
        }
        assert len(responses) >= 10
        assert {o: s for o, s in responses.items() if s != 403} == {}

    @pytest.mark.parametrize("body", [JSON, MULTIPART, CHUNKED], ids=["json", "parts", "chunked"])
    async def test_body_is_not_read_without_credential(
        self, raw: Client, body: dict[str, str]
    ) -> None:
        for method, path in WITH_BODY:
            status, headers, _ = await raw.send(method, concrete(path), body)
            assert (status, headers.get("connection")) == (401, "close"), (method, path)
        assert raw.received == 0

    async def test_body_is_not_read_for_bad_credential(self, raw: Client) -> None:
        bad = {"authorization": "Bearer x.y.z", "x-api-key": "dv_live_x"}
        for method, path in WITH_BODY:
            status, headers, _ = await raw.send(method, concrete(path), JSON | bad)
            assert (status, headers.get("connection")) == (401, "close"), (method, path)
        assert raw.received == 0

    async def test_body_is_not_read_without_scope(
        self, raw: Client, admin: httpx.AsyncClient, issuer: LocalIssuer
    ) -> None:
        await make_customer(admin, "c-1")
        for method, path in WITH_BODY:
            if path.startswith("/v1/admin/"):
                status, headers, _ = await raw.send(method, concrete(path), JSON | customer(issuer))
                assert (status, headers.get("connection")) == (403, "close"), (method, path)
        assert raw.received == 0

    async def test_body_is_not_read_for_unknown_customer(
        self, raw: Client, issuer: LocalIssuer
    ) -> None:
        paths = [(m, p) for m, p in WITH_BODY if "/customers/{id}/" in p and "/admin/" in p]
        assert paths
        for method, path in paths:
            headers = MULTIPART if method == "PUT" else JSON
            response = await raw.send(method, concrete(path), headers | staff(issuer))
            assert response[2]["code"] == "customer-not-found", (method, path)
            assert response[1].get("connection") == "close"
        assert raw.received == 0


class TestNulInPath:
    """PostgreSQL cannot store NUL in text, so it is invalid in every path parameter."""

    @pytest.mark.parametrize("scopes", [[Scope.GATE_READ], list(Scope)], ids=["scope", "all"])
    async def test_nul_in_path_is_rejected(
        self, admin: httpx.AsyncClient, key_client: KeyClients, scopes: list[Scope]
    ) -> None:
        await make_customer(admin, "c-1")
        key = await key_client(*scopes)
        path = "/v1/integration/customers/c-1/documents/a%00b"
        for response in (await key.get(path), await key.put(path, **upload_of())):
            assert (response.status_code, response.json()["errors"][0]["parameter"]) == (422, "key")


class TestUploads:
    """PUT /v1/customer/documents/{key}: rejected before the body is read."""

    path = "/v1/customer/documents/identity-card"

    @pytest.fixture(autouse=True)
    async def known(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "Identity card")
        await make_customer(admin, "c-1")

    async def put(
        self, raw: Client, issuer: LocalIssuer, path: str = path, **headers: str
    ) -> tuple[int, dict[str, str], Any]:
        return await raw.send("PUT", path, MULTIPART | customer(issuer) | headers)

    async def test_body_is_not_read_while_portal_is_disabled(
        self, raw: Client, admin: httpx.AsyncClient, issuer: LocalIssuer
    ) -> None:
        path = "/v1/admin/settings/portal"
        etag = (await admin.get(path)).headers["etag"]
        await admin.patch(path, json={"section_enabled": False}, headers={"If-Match": etag})
        status, headers, body = await self.put(raw, issuer)
        assert (status, body["code"]) == (403, "portal-section-disabled")
        assert (raw.received, headers["connection"]) == (0, "close")

    @pytest.mark.req("R-034")
    async def test_body_is_not_read_for_admin_only_document(
        self, raw: Client, admin: httpx.AsyncClient, issuer: LocalIssuer
    ) -> None:
        await make_type(admin, "Report", upload_mode="admin_only")
        status, headers, body = await self.put(raw, issuer, "/v1/customer/documents/report")
        assert (status, body["code"]) == (403, "admin-only-document")
        assert (raw.received, headers["connection"]) == (0, "close")

    async def test_body_is_not_read_for_unknown_type(
        self, raw: Client, issuer: LocalIssuer
    ) -> None:
        status, headers, _ = await self.put(raw, issuer, "/v1/customer/documents/nothing")
        assert (status, raw.received, headers["connection"]) == (404, 0, "close")

    async def test_body_with_excessive_content_length_is_not_read(
        self, raw: Client, issuer: LocalIssuer
    ) -> None:
        status, headers, body = await self.put(raw, issuer, **{"content-length": str(200 << 20)})
        assert (status, body["code"]) == (413, "file-too-large")
        assert (raw.received, headers["connection"]) == (0, "close")

    async def test_body_of_other_content_type_is_not_read(
        self, raw: Client, issuer: LocalIssuer
    ) -> None:
        status, headers, _ = await self.put(raw, issuer, **{"content-type": "application/json"})
        assert (status, raw.received, headers["connection"]) == (415, 0, "close")

    async def test_unknown_query_parameter_is_rejected_before_reading(
        self, raw: Client, issuer: LocalIssuer
    ) -> None:
        status, headers, _ = await self.put(raw, issuer, self.path + "?force=true")
        assert (status, raw.received, headers["connection"]) == (422, 0, "close")

    async def test_busy_service_rejects_before_reading_body(
        self, app: FastAPI, raw: Client, issuer: LocalIssuer, resources: Resources
    ) -> None:
        import asyncio

        app.state.resources = dataclasses.replace(resources, upload_permits=asyncio.Semaphore(0))
        status, headers, body = await self.put(raw, issuer)
        assert (status, body["code"]) == (503, "overloaded")
        assert (raw.received, headers["connection"]) == (0, "close")
        assert int(headers["retry-after"]) > 0

    async def test_busy_service_does_not_query_database(
        self, app: FastAPI, raw: Client, issuer: LocalIssuer, resources: Resources
    ) -> None:
        import asyncio

        from docvault.db.engine import Database

        # Nothing listens there: any query would result in `database-unavailable`.
        unreachable = Database("postgresql://docvault@127.0.0.1:1/docvault")
        app.state.resources = dataclasses.replace(
            resources, upload_permits=asyncio.Semaphore(0), database=unreachable
        )
        status, _, body = await self.put(raw, issuer)
        assert (status, body["code"]) == (503, "overloaded")

    async def test_key_in_progress_is_rejected_before_reading_body(
        self, raw: Client, issuer: LocalIssuer, resources: Resources
    ) -> None:

        path = self.path
        async with resources.transaction(resources.system_context()) as uow:
            found = await uow.customers.find("c-1")
            assert found is not None
            key = resources.keyring.idempotency_id("customer", "c-1", "PUT", path, "k")
            await uow.idempotency_keys.claim(key, found.id, KeyHolder(b"caller", max_keys=10))
        status, headers, body = await self.put(raw, issuer, **{"idempotency-key": "k"})
        assert (status, body["code"]) == (409, "request-in-progress")
        assert (raw.received, headers["connection"]) == (0, "close")

    async def test_accepted_upload_keeps_connection_open(
        self, customer_of: CustomerClients
    ) -> None:
        response = await customer_of("c-1").put(self.path, **upload_of())
        assert response.status_code == 201
        assert "connection" not in response.headers


class TestJsonBodies:
    """POST /v1/admin/document-types: limits of the body."""

    path = "/v1/admin/document-types"

    async def test_body_with_excessive_content_length_is_not_read(
        self, raw: Client, issuer: LocalIssuer
    ) -> None:
        headers = JSON | staff(issuer) | {"content-length": str(65 * 1024)}
        status, response_headers, body = await raw.send("POST", self.path, headers)
        assert (status, body["code"], body["limit_bytes"]) == (413, "content-too-large", 64 * 1024)
        assert (raw.received, response_headers["connection"]) == (0, "close")

    async def test_chunked_body_is_limited(self, raw: Client, issuer: LocalIssuer) -> None:
        status, _, body = await raw.send(
            "POST", self.path, CHUNKED | staff(issuer), b"x" * (65 * 1024)
        )
        assert (status, body["code"]) == (413, "content-too-large")

    async def test_body_of_other_content_type_is_not_read(
        self, raw: Client, issuer: LocalIssuer
    ) -> None:
        headers = JSON | staff(issuer) | {"content-type": "text/plain"}
        status, response_headers, body = await raw.send("POST", self.path, headers)
        assert (status, body["code"]) == (415, "unsupported-media-type")
        assert (raw.received, response_headers["connection"]) == (0, "close")

    async def test_invalid_body_without_credential_is_401_not_422(
        self, http: httpx.AsyncClient
    ) -> None:
        response = await http.post(self.path, content=b"{", headers={"content-type": JSON_TYPE})
        assert response.status_code == 401


JSON_TYPE = "application/json"


class TestRouteRegistration:
    """Routes with missing or contradictory declarations."""

    def test_route_without_operation_fails_at_startup(self) -> None:
        router = APIRouter(route_class=AdminRoute)

        async def admin_forget_guard() -> None: ...

        with pytest.raises(TypeError, match="admin_forget_guard"):
            router.get("/v1/admin/forgotten")(admin_forget_guard)

    def test_get_that_declares_change_fails_at_build(self) -> None:
        @operation(NoBody(AuditAction.CUSTOMER_READ))
        async def admin_read(request: ApiRequest) -> None: ...

        with pytest.raises(TypeError, match="admin_read: a GET declares Read"):
            APIRouter(route_class=AdminRoute).get("/v1/admin/customers")(admin_read)

    def test_customer_request_without_customer_in_path_fails_at_build(self) -> None:
        @operation(Read(AuditAction.CUSTOMER_READ))
        async def admin_read(request: CustomerRequest) -> None: ...

        with pytest.raises(TypeError, match="admin_read: no customer in the path"):
            APIRouter(route_class=AdminRoute).get("/v1/admin/customers")(admin_read)

    def test_plain_request_in_customer_api_fails_at_build(self) -> None:
        @operation(Read(AuditAction.CUSTOMER_READ))
        async def customer_read(request: ApiRequest) -> None: ...

        with pytest.raises(TypeError, match="customer_read takes no CustomerRequest"):
            APIRouter(route_class=CustomerRoute).get("/v1/customer/thing")(customer_read)

    def test_endpoint_without_request_fails_at_build(self) -> None:
        @operation(Read(AuditAction.CUSTOMER_READ))
        async def admin_read() -> None: ...

        with pytest.raises(TypeError, match="admin_read takes no ApiRequest"):
            APIRouter(route_class=AdminRoute).get("/v1/admin/customers")(admin_read)

    def test_idempotent_change_within_guard_cannot_be_declared(self) -> None:
        with pytest.raises(TypeError, match="opens its own transactions"):
            NoBody(AuditAction.CUSTOMER_ERASE, idempotent=True)

    def test_every_v1_route_is_guarded_or_serves_openapi(self) -> None:
        from fastapi.routing import iter_route_contexts

        from docvault.api.routing.route import GuardedRoute

        guarded: set[str] = set()
        unguarded: set[str] = set()
        for context in iter_route_contexts(create_app().routes):
            if context.path_format and context.path_format.startswith("/v1/"):
                routes = (getattr(context, name, None) for name in ("route", "original_route"))
                is_guarded = any(isinstance(route, GuardedRoute) for route in routes)
                (guarded if is_guarded else unguarded).add(context.path_format)
        # The loop found every documented path.
        assert guarded == {path for _, path in OPERATIONS}
        assert unguarded == {
            f"/v1/{audience}/openapi.json" for audience in ("admin", "customer", "integration")
        }

    @pytest.mark.req("B-076")
    def test_endpoint_called_directly_has_documented_defaults(self) -> None:
        """Without a query, an endpoint gets the defaults of its signature from Python itself."""
        from docvault.api.routing.route import GuardedRoute

        called = 0
        for route in create_app().routes:
            if not isinstance(route, GuardedRoute) or route._needs_fastapi:
                continue
            parameters = inspect.signature(route.endpoint).parameters
            documented = {one.name: one.default for one in route.dependant.query_params}
            own = {name: one.default for name, one in parameters.items() if name != "request"}
            assert own == documented
            called += 1
        assert called > 20
