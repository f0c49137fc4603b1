"""Each operation of the contract against the service: it exists, and answers as announced."""

import re
from typing import Any

import httpx
import pytest
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import CustomerClients

from docvault.api.contract import whole_contract
from docvault.app import create_app

WHOLE = whole_contract(create_app())
PATHS = [path for path in WHOLE["paths"] if path.startswith("/v1/")]
UNKNOWN = "0193602e-5f3c-7b1a-9d0e-2f6c8a4b1d3e"


def concrete(path: str) -> str:
    """A path to what exists, where the fixture makes it."""
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


def announced(operation: dict[str, Any], answer: httpx.Response) -> bool:
    """Whether the contract knows this status, and this code for an error."""
    response = operation["responses"].get(str(answer.status_code))
    if response is None:
        return False
    if answer.status_code < 400:
        return True
    examples = response["content"]["application/problem+json"]["examples"]
    return answer.json()["code"] in examples


class TestAnswers:
    """Every operation, asked in several ways: the answer is one the contract announces."""

    async def test_a_plain_request(self, clients: dict[str, httpx.AsyncClient]) -> None:
        wrong = {}
        # Deletions last: they take away what the others look at.
        order = ("get", "post", "put", "patch", "delete")
        requests = [(m, p) for m in order for p in PATHS if m in WHOLE["paths"][p]]
        for method, path in requests:
            answer = await client_of(path, clients).request(method.upper(), concrete(path))
            if not announced(WHOLE["paths"][path][method], answer):
                wrong[method, path] = (answer.status_code, answer.text[:200])
        assert len(requests) >= 50
        assert wrong == {}

    async def test_an_unknown_query_parameter_is_422_everywhere(
        self, clients: dict[str, httpx.AsyncClient]
    ) -> None:
        wrong = {}
        for path in PATHS:
            for method in WHOLE["paths"][path]:
                client = client_of(path, clients)
                answer = await client.request(method, concrete(path), params={"colour": "red"})
                if answer.status_code != 422 or "colour" not in answer.text:
                    wrong[method, path] = (answer.status_code, answer.text[:200])
        assert wrong == {}

    async def test_broken_json_is_400_everywhere(
        self, clients: dict[str, httpx.AsyncClient]
    ) -> None:
        wrong = {}
        for path in PATHS:
            for method, operation in WHOLE["paths"][path].items():
                if "application/json" not in operation.get("requestBody", {}).get("content", {}):
                    continue
                headers = {"Content-Type": "application/json", "If-Match": "*"}
                client = client_of(path, clients)
                answer = await client.request(
                    method, concrete(path), content=b'{"a":', headers=headers
                )
                # What the path names may not be there.
                if answer.status_code not in {400, 404}:
                    wrong[method, path] = (answer.status_code, answer.text[:200])
        assert wrong == {}

    async def test_another_method_is_405_with_the_allowed_ones(
        self, http: httpx.AsyncClient
    ) -> None:
        for path, item in WHOLE["paths"].items():
            answer = await http.request("TRACE", concrete(path))
            allowed = {method.upper() for method in item}
            assert answer.status_code == 405, path
            assert answer.json()["code"] == "method-not-allowed"
            assert set(answer.headers["allow"].split(", ")) - {"HEAD"} == allowed

    async def test_an_unknown_path_is_404(self, http: httpx.AsyncClient) -> None:
        for path in ("/", "/v1", "/v1/admin", "/v1/admin/nothing", "/v2/admin/customers"):
            answer = await http.get(path)
            assert (answer.status_code, answer.json()["code"]) == (404, "not-found")

    async def test_every_answer_is_marked(self, clients: dict[str, httpx.AsyncClient]) -> None:
        for path in PATHS:
            if "get" in WHOLE["paths"][path]:
                answer = await client_of(path, clients).get(concrete(path))
                assert answer.headers["x-content-type-options"] == "nosniff", path
                assert "x-request-id" in answer.headers
                assert "server" not in answer.headers


class TestHead:
    """HEAD wherever GET is."""

    async def test_head_answers_as_get_without_the_body(
        self, clients: dict[str, httpx.AsyncClient]
    ) -> None:
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
