"""Requests of web pages from other origins."""

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from tests.factories import files
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import CustomerClients
from tests.fixtures.sockets import served

from docvault.api.app import create_app
from docvault.services.resources import Resources
from docvault.settings import Settings

PORTAL = "https://portal.example.org"
OTHER = "https://evil.example"
DOCUMENTS = "/v1/customer/documents"
PATH = f"{DOCUMENTS}/contract"
FROM_PORTAL = {"Origin": PORTAL}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path / "data",
        failed_credentials_per_minute=0,
        cors_origins=(PORTAL, "https://other.example.org"),
    )


@pytest.fixture
async def customer(admin: httpx.AsyncClient, customer_of: CustomerClients) -> httpx.AsyncClient:
    """A customer with a document type to upload to."""
    await make_type(admin, "Contract")
    await make_customer(admin, "c-1")
    return customer_of("c-1")


def allows(response: httpx.Response) -> str | None:
    """Return the origin whose pages may read the response."""
    assert "access-control-allow-credentials" not in response.headers
    origin: str | None = response.headers.get("access-control-allow-origin")
    assert origin != "*"
    return origin


async def ask(
    http: httpx.AsyncClient, path: str, method: str, headers: str = "", origin: str = PORTAL
) -> httpx.Response:
    """Send the preflight of a request."""
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    if headers:
        asked["Access-Control-Request-Headers"] = headers
    return await http.options(path, headers=asked)


@pytest.mark.req("B-151")
class TestPreflight:
    """Preflight requests."""

    async def test_preflight_needs_no_credential(self, http: httpx.AsyncClient) -> None:
        response = await ask(http, PATH, "PUT", "authorization,content-type,idempotency-key")
        assert (response.status_code, response.content, allows(response)) == (204, b"", PORTAL)
        assert "PUT" in response.headers["access-control-allow-methods"].split(", ")
        assert "Authorization" in response.headers["access-control-allow-headers"].split(", ")
        assert response.headers["access-control-max-age"] == "600"
        assert response.headers.get_list("vary") == ["Origin"]

    @pytest.mark.parametrize("method", ["TRACE", "PROPFIND", "put", "POST", "\u00e9", "*"])
    async def test_other_methods_get_no_permission(
        self, http: httpx.AsyncClient, method: str
    ) -> None:
        headers = [
            (b"origin", PORTAL.encode()),
            (b"access-control-request-method", method.encode()),
        ]
        response = await http.request("OPTIONS", PATH, headers=headers)
        assert (response.status_code, allows(response)) == (405, None)
        assert "access-control-allow-methods" not in response.headers

    @pytest.mark.parametrize(
        "headers", ["x-api-key", "authorization,cookie", "*", "x" * 5000, "\u00ff", "a b", ",,x,"]
    )
    async def test_other_headers_get_no_permission(
        self, http: httpx.AsyncClient, headers: str
    ) -> None:
        fields = [
            (b"origin", PORTAL.encode()),
            (b"access-control-request-method", b"GET"),
            (b"access-control-request-headers", headers.encode("latin-1")),
        ]
        response = await http.request("OPTIONS", PATH, headers=fields)
        assert (response.status_code, allows(response)) == (405, None)

    @pytest.mark.parametrize("origin", [OTHER, "null", f"{PORTAL}.evil.example", ""])
    async def test_other_origins_get_no_permission(
        self, http: httpx.AsyncClient, origin: str
    ) -> None:
        response = await ask(http, PATH, "GET", origin=origin)
        assert (response.status_code, allows(response)) == (405, None)
        assert response.headers.get_list("vary") == ["Origin"]

    @pytest.mark.parametrize("path", ["/v1/integration/document-types", "/v1/admin/customers"])
    async def test_other_apis_get_no_permission(self, http: httpx.AsyncClient, path: str) -> None:
        response = await ask(http, path, "GET")
        assert (response.status_code, allows(response)) == (405, None)
        assert "vary" not in response.headers

    async def test_page_may_learn_that_a_path_does_not_exist(self, http: httpx.AsyncClient) -> None:
        assert allows(await ask(http, "/v1/customer/nothing", "GET", "authorization")) == PORTAL
        response = await http.get("/v1/customer/nothing", headers=FROM_PORTAL)
        assert (response.status_code, allows(response)) == (404, PORTAL)

    async def test_signed_upload_url_has_preflights_too(self, http: httpx.AsyncClient) -> None:
        assert allows(await ask(http, "/uploads/abc", "PUT", "content-type")) == PORTAL

    async def test_plain_options_request_is_refused(self, http: httpx.AsyncClient) -> None:
        response = await http.options(PATH, headers=FROM_PORTAL)
        assert (response.status_code, response.json()["code"]) == (405, "method-not-allowed")


@pytest.mark.req("B-150")
class TestResponse:
    """What pages may read."""

    async def test_page_of_a_listed_origin_may_read_everything_it_needs(
        self, customer: httpx.AsyncClient
    ) -> None:
        response = await customer.put(PATH, **upload_of(), headers=FROM_PORTAL)
        assert (response.status_code, allows(response)) == (201, PORTAL)
        assert response.headers.get_list("vary") == ["Origin"]
        exposed = set(response.headers["access-control-expose-headers"].split(", "))
        assert exposed >= {
            "ETag", "Location", "Retry-After", "Content-Disposition", "X-Request-Id",
            "RateLimit", "RateLimit-Policy", "Repr-Digest", "Content-Range",
        }  # fmt: skip
        content = await customer.get(f"{PATH}/content", headers=FROM_PORTAL)
        assert (content.status_code, allows(content)) == (200, PORTAL)

    @pytest.mark.parametrize("origin", [OTHER, None])
    @pytest.mark.req("B-151")
    async def test_other_pages_may_read_nothing(
        self, customer: httpx.AsyncClient, origin: str | None
    ) -> None:
        headers = {} if origin is None else {"Origin": origin}
        response = await customer.get(DOCUMENTS, headers=headers)
        assert (response.status_code, allows(response)) == (200, None)
        assert "access-control-expose-headers" not in response.headers
        # A cache must not give this response to a page that may read it, nor the other way round.
        assert response.headers.get_list("vary") == ["Origin"]

    async def test_two_origins_count_as_none(self, customer: httpx.AsyncClient) -> None:
        headers = [
            ("Authorization", customer.headers["authorization"]),
            ("Origin", PORTAL),
            ("Origin", PORTAL),
        ]
        assert allows(await customer.get(DOCUMENTS, headers=headers)) is None

    @pytest.mark.parametrize("path", ["/v1/admin/document-types", "/livez", "/openapi.json"])
    async def test_other_paths_stay_closed(self, admin: httpx.AsyncClient, path: str) -> None:
        assert allows(await admin.get(path, headers=FROM_PORTAL)) is None

    async def test_not_modified_may_be_read(self, customer: httpx.AsyncClient) -> None:
        etag = (await customer.get(PATH)).headers["etag"]
        response = await customer.get(PATH, headers={**FROM_PORTAL, "If-None-Match": etag})
        assert (response.status_code, allows(response)) == (304, PORTAL)


@pytest.mark.req("B-150")
class TestProblem:
    """Errors, which pages show to people."""

    @pytest.mark.parametrize(
        ("method", "path", "arguments", "status"),
        [
            ("GET", f"{DOCUMENTS}/unknown", {}, 404),
            ("POST", PATH, {}, 405),
            ("GET", f"{DOCUMENTS}?limit=0", {}, 422),
            ("GET", "/v1/customer%2fdocuments", {}, 404),
            ("PUT", PATH, upload_of(b"\x00\x01", "a.pdf"), 415),
            ("PUT", PATH, {"content": b"", "headers": {"Content-Length": "9" * 12}}, 415),
            ("PUT", "/uploads/abc", {"content": b"x"}, 404),
        ],
    )
    async def test_problem_may_be_read(
        self,
        customer: httpx.AsyncClient,
        method: str,
        path: str,
        arguments: dict[str, Any],
        status: int,
    ) -> None:
        headers = {**FROM_PORTAL, **arguments.get("headers", {})}
        response = await customer.request(method, path, **{**arguments, "headers": headers})
        assert (response.status_code, allows(response)) == (status, PORTAL)
        assert response.headers["x-request-id"] in response.json()["instance"]

    async def test_missing_credential_may_be_read(self, http: httpx.AsyncClient) -> None:
        response = await http.get(DOCUMENTS, headers=FROM_PORTAL)
        assert (response.status_code, allows(response)) == (401, PORTAL)

    async def test_file_that_is_too_large_may_be_read(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await make_type(admin, "Small", max_size_bytes=10)
        response = await customer.put(
            f"{DOCUMENTS}/small", **upload_of(files.pdf()), headers=FROM_PORTAL
        )
        assert (response.status_code, allows(response)) == (413, PORTAL)

    async def test_refusal_without_a_permit_may_be_read(
        self, app: FastAPI, resources: Resources, customer: httpx.AsyncClient
    ) -> None:
        app.state.resources = dataclasses.replace(resources, upload_permits=asyncio.Semaphore(0))
        response = await customer.put(PATH, **upload_of(), headers=FROM_PORTAL)
        assert (response.status_code, allows(response)) == (503, PORTAL)
        assert "retry-after" in response.headers

    async def test_unexpected_error_may_be_read(
        self, customer: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("docvault.api.customer.documents.document_page", None)
        response = await customer.get(DOCUMENTS, headers=FROM_PORTAL)
        assert (response.status_code, allows(response)) == (500, PORTAL)


@pytest.mark.req("B-150")
class TestRefusedHead:
    """Refusals before a request reaches the application (`server/http_protocol.py`)."""

    @pytest.mark.parametrize(
        ("origin", "path", "allowed"),
        [(PORTAL, PATH, True), (OTHER, PATH, False), (PORTAL, "/v1/integration/gate", False)],
    )
    @pytest.mark.parametrize(
        ("rest", "status"),
        [("Host: a\r\n\r\n", 400), (f"X: {'x' * 40_000}\r\n\r\n", 431)],
        ids=["malformed", "too large"],
    )
    async def test_refusal_may_be_read_by_the_page_that_sent_it(
        self,
        resources: Resources,
        origin: str,
        path: str,
        allowed: bool,
        rest: str,
        status: int,
    ) -> None:
        app = create_app()
        app.state.resources = resources
        head = f"GET {path} HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\n{rest}"
        async with served(app) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head.encode())
            async with asyncio.timeout(15):
                response = await reader.read()
            writer.close()
        assert response.startswith(f"HTTP/1.1 {status} ".encode())
        expected = f"access-control-allow-origin: {origin}\r\n".encode()
        assert (expected in response) is allowed
        assert b"frame-ancestors 'none'" in response


@pytest.mark.req("B-150")
class TestAdmin:
    """DOCVAULT_CORS_ADMIN."""

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Settings:
        return Settings(data_dir=tmp_path / "data", cors_origins=(PORTAL,), cors_admin=True)

    async def test_pages_for_staff_may_call_the_admin_api(self, admin: httpx.AsyncClient) -> None:
        response = await admin.get("/v1/admin/document-types", headers=FROM_PORTAL)
        assert (response.status_code, allows(response)) == (200, PORTAL)
        assert allows(await ask(admin, "/v1/admin/customers", "POST", "authorization")) == PORTAL

    async def test_integration_api_stays_closed(self, integration: httpx.AsyncClient) -> None:
        response = await integration.get("/v1/integration/document-types", headers=FROM_PORTAL)
        assert (response.status_code, allows(response)) == (200, None)


@pytest.mark.req("B-152")
class TestFraming:
    """Which responses a page may show in a frame."""

    @pytest.mark.parametrize("path", [DOCUMENTS, "/livez", "/nothing", "/docs", "/openapi.json"])
    async def test_only_stored_files_may_be_framed(
        self, customer: httpx.AsyncClient, path: str
    ) -> None:
        policy = (await customer.get(path)).headers.get_list("content-security-policy")
        assert len(policy) == 1
        assert policy[0].endswith("frame-ancestors 'none'")

    async def test_listed_origins_may_frame_stored_files(self, customer: httpx.AsyncClient) -> None:
        await customer.put(PATH, **upload_of(files.jpeg(), "a.jpg"))
        for path in (f"{PATH}/content", f"{PATH}/preview"):
            policy = (await customer.get(path)).headers.get_list("content-security-policy")
            ancestors = "https://other.example.org https://portal.example.org"
            assert policy == [f"default-src 'none'; sandbox; frame-ancestors {ancestors}"]
