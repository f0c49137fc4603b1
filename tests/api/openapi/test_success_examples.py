"""The examples of successful responses are responses that the service gives."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

DOCUMENT = json.loads((Path(__file__).parents[3] / "openapi" / "openapi.json").read_text())
TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")
UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
SECRET = re.compile(r"dv_live_\w+")
PSEUDONYM = re.compile(r"anon-[0-9a-f]{32}")

CustomerOf = Callable[[str], httpx.AsyncClient]


def without_chance(value: Any) -> Any:
    """Replace times, ids, secrets and pseudonyms by their kind."""
    if isinstance(value, dict):
        return {name: without_chance(item) for name, item in value.items()}
    if isinstance(value, list):
        return [without_chance(item) for item in value]
    kinds = {"time": TIME, "id": UUID, "secret": SECRET, "pseudonym": PSEUDONYM}
    for kind, pattern in kinds.items():
        if isinstance(value, str) and pattern.fullmatch(value):
            return kind
    return value


def example(method: str, path: str) -> Any:
    responses = DOCUMENT["paths"][path][method]["responses"]
    (status,) = (s for s in responses if s in {"200", "207"}) if method != "post" else ("201",)
    return without_chance(responses[status]["content"]["application/json"]["example"])


@pytest.fixture
async def company(admin: httpx.AsyncClient) -> httpx.AsyncClient:
    """A client of staff; there are a document type, settings, a customer and a key."""
    document_type = {
        "name": "Identity card",
        "upload_mode": "required",
        "instructions": "Both sides, please.",
        "collects_fields": True,
        "fields": [{"label": "Date of issue"}],
        "accepted_media_types": ["image/jpeg", "image/png"],
    }
    created = await admin.post("/v1/admin/document-types", json=document_type)
    assert created.status_code == 201
    settings = await admin.get("/v1/admin/settings/portal")
    changes = {
        "section_enabled": True,
        "gate_enabled": True,
        "introduction": {"format": "markdown", "source": "**Welcome**"},
    }
    tag = {"If-Match": settings.headers["ETag"]}
    await admin.patch("/v1/admin/settings/portal", json=changes, headers=tag)
    customer = {"name": "A. Bakker", "email": "a.bakker@example.org", "tags": ["wholesale"]}
    await admin.put("/v1/admin/customers/c-1042", json=customer)
    return admin


@pytest.mark.req("B-143")
@pytest.mark.parametrize(
    "path",
    [
        "/livez",
        "/readyz",
        "/v1/admin/customers",
        "/v1/admin/customers/{id}",
        "/v1/admin/customers/{id}/gate",
        "/v1/admin/customers/{id}/summary",
        "/v1/admin/document-types",
        "/v1/admin/document-types/{key}",
        "/v1/admin/settings/portal",
    ],
)
async def test_example_for_staff_is_a_response(company: httpx.AsyncClient, path: str) -> None:
    response = await company.get(path.format(id="c-1042", key="identity-card"))
    assert without_chance(response.json()) == example("get", path)


@pytest.mark.req("B-143")
@pytest.mark.parametrize("path", ["/v1/customer/portal", "/v1/customer/gate"])
async def test_example_for_customers_is_a_response(
    company: httpx.AsyncClient, customer_of: CustomerOf, path: str
) -> None:
    assert company
    response = await customer_of("c-1042").get(path)
    assert without_chance(response.json()) == example("get", path)


@pytest.mark.req("B-143")
async def test_example_of_api_key_is_a_response(admin: httpx.AsyncClient) -> None:
    key = {"name": "CRM", "scopes": ["documents:read"], "expires_at": "2027-11-24T00:00:00Z"}
    created = await admin.post("/v1/admin/api-keys", json=key)
    assert without_chance(created.json()) == example("post", "/v1/admin/api-keys")
    read = await admin.get(f"/v1/admin/api-keys/{created.json()['id']}")
    assert without_chance(read.json()) == example("get", "/v1/admin/api-keys/{id}")


@pytest.mark.req("B-143")
def test_examples_have_no_placeholders() -> None:
    responses = [
        content.get("example")
        for path in DOCUMENT["paths"].values()
        for operation in path.values()
        for response in operation["responses"].values()
        for content in response.get("content", {}).values()
    ]
    assert [example for example in responses if '"text"' in json.dumps(list(leaves(example)))] == []


def leaves(value: Any) -> Any:
    """Yield the values of members that are not objects or lists, with the kind of a field."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name != "kind":
                yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value
