"""Each operation of the contract against the service: it exists and responds as documented."""

import re
from typing import Any

import httpx
import pytest
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import CustomerClients

from docvault.api.app import create_app
from docvault.api.openapi.spec import build_openapi

WHOLE = build_openapi(create_app())
PATHS = [path for path in WHOLE["paths"] if path.startswith("/v1/")]
UNKNOWN = "0193602e-5f3c-7b1a-9d0e-2f6c8a4b1d3e"


def concrete(path: str) -> str:
    """Return the path with the ids of the fixtures, or with unknown ones."""
    path = path.replace("/customers/{id}", "/customers/c-1").replace("{key}", "contract")
    return re.sub(r"\{[^}]+\}", UNKNOWN, path)


def client_of(path: str, clients: dict[str, httpx.AsyncClient]) -> httpx.AsyncClient:
    return clients[path.split("/")[2]]


@pytest.fixture
async def clients(
    admin: httpx.AsyncClient, customer_of: CustomerClients, integration: httpx.AsyncClient
) -> dict[str, httpx.AsyncClient]:
    await make_type(admin, "Contract")
    await make_customer(admin, "c-1")
    customer = customer_of("c-1")
    await customer.put("/v1/customer/documents/contract", **upload_of())
    return {"admin": admin, "customer": customer, "integration": integration}


def is_documented(operation: dict[str, Any], response: httpx.Response) -> bool:
    """Return whether the contract documents the status and, for an error, the code."""
    declared = operation["responses"].get(str(response.status_code))
    if declared is None:
        return False
    if response.status_code < 400:
        return True
    examples = declared["content"]["application/problem+json"]["examples"]
    return response.json()["code"] in examples


class TestResponses:
    """Different requests to every operation: each response is documented."""

    async def test_valid_request_matches_schema(
        self, clients: dict[str, httpx.AsyncClient]
    ) -> None:
        wrong = {}
        # Deletions last: the other requests need what they delete.
        order = ("get", "post", "put", "patch", "delete")
        requests = [(m, p) for m in order for p in PATHS if m in WHOLE["paths"][p]]
        for method, path in requests:
            response = await client_of(path, clients).request(method.upper(), concrete(path))
            if not is_documented(WHOLE["paths"][path][method], response):
                wrong[method, path] = (response.status_code, response.text[:200])
        assert len(requests) >= 50
        assert wrong == {}

    async def test_unknown_query_parameter_is_422(
        self, clients: dict[str, httpx.AsyncClient]
    ) -> None:
        wrong = {}
        for path in PATHS:
            for method in WHOLE["paths"][path]:
                client = client_of(path, clients)
                response = await client.request(method, concrete(path), params={"colour": "red"})
                if response.status_code != 422 or "colour" not in response.text:
                    wrong[method, path] = (response.status_code, response.text[:200])
        assert wrong == {}

    async def test_malformed_json_is_400(self, clients: dict[str, httpx.AsyncClient]) -> None:
        wrong = {}
        for path in PATHS:
            for method, operation in WHOLE["paths"][path].items():
                if "application/json" not in operation.get("requestBody", {}).get("content", {}):
                    continue
                headers = {"Content-Type": "application/json", "If-Match": "*"}
                client = client_of(path, clients)
                response = await client.request(
                    method, concrete(path), content=b'{"a":', headers=headers
                )
                # The resource of the path may not exist.
                if response.status_code not in {400, 404}:
                    wrong[method, path] = (response.status_code, response.text[:200])
        assert wrong == {}

    async def test_other_method_is_405_with_allow(self, http: httpx.AsyncClient) -> None:
        for path, item in WHOLE["paths"].items():
            response = await http.request("TRACE", concrete(path))
            allowed = {method.upper() for method in item}
            assert response.status_code == 405, path
            assert response.json()["code"] == "method-not-allowed"
            assert set(response.headers["allow"].split(", ")) - {"HEAD"} == allowed

    async def test_unknown_path_is_404(self, http: httpx.AsyncClient) -> None:
        for path in ("/", "/v1", "/v1/admin", "/v1/admin/nothing", "/v2/admin/customers"):
            response = await http.get(path)
            assert (response.status_code, response.json()["code"]) == (404, "not-found")

    async def test_every_response_has_standard_headers(
        self, clients: dict[str, httpx.AsyncClient]
    ) -> None:
        for path in PATHS:
            if "get" in WHOLE["paths"][path]:
                response = await client_of(path, clients).get(concrete(path))
                assert response.headers["x-content-type-options"] == "nosniff", path
                assert "x-request-id" in response.headers
                assert "server" not in response.headers


class TestHead:
    """HEAD for every path with GET."""

    async def test_head_is_get_without_body(self, clients: dict[str, httpx.AsyncClient]) -> None:
        for path in PATHS:
            if "get" not in WHOLE["paths"][path]:
                continue
            client = client_of(path, clients)
            head = await client.head(concrete(path))
            get = await client.get(concrete(path))
            assert (head.status_code, head.content) == (get.status_code, b""), path
            assert head.headers.get("etag") == get.headers.get("etag"), path
            if get.is_success:
                assert head.headers["content-length"] == get.headers["content-length"], path
