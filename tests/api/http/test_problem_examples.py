"""The examples of problems in the contract are what the service sends."""

import gzip
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from tests.factories import files
from tests.factories.setups import make_customer, make_type

from docvault.api.http.problems import problem_examples

EXAMPLES = {example["value"]["code"]: example["value"] for example in problem_examples().values()}
TYPES = "/v1/admin/document-types"
DOCUMENTS = "/v1/admin/customers/c-1/documents"

Send = Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]


async def upload(admin: httpx.AsyncClient, body: bytes, number: int = 1) -> httpx.Response:
    return await admin.put(f"{DOCUMENTS}/licence", files=[("file", ("a.pdf", body))] * number)


async def new_type(admin: httpx.AsyncClient, **members: Any) -> httpx.Response:
    return await admin.post(TYPES, json={"name": "Passport", **members})


async def change(admin: httpx.AsyncClient, key: str, field: str) -> httpx.Response:
    return await admin.patch(f"{DOCUMENTS}/{key}", json={"field_values": {field: "1"}})


REQUESTS: dict[str, Send] = {
    "customer-exists": lambda admin: admin.post("/v1/admin/customers", json={"id": "c-1"}),
    "duplicate-label": lambda admin: new_type(
        admin, collects_fields=True, fields=[{"label": "Number"}, {"label": "Number"}]
    ),
    "empty-file": lambda admin: upload(admin, b""),
    "fields-not-enabled": lambda admin: change(admin, "plain", "number"),
    "too-many-files": lambda admin: upload(admin, files.pdf(), 3),
    "unknown-field": lambda admin: change(admin, "licence", "number"),
    "unknown-filter-type": lambda admin: admin.get("/v1/admin/customers?uploaded=nothing"),
    "invalid-cursor": lambda admin: admin.get(f"{TYPES}?cursor=x"),
    "unsupported-content-encoding": lambda admin: admin.post(
        TYPES,
        content=gzip.compress(b"{}"),
        headers={"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ),
    "validation-error": lambda admin: new_type(admin, name="x" * 201),
    "not-found": lambda admin: admin.get("/v1/admin/nothing"),
    "customer-not-found": lambda admin: admin.get("/v1/admin/customers/c-9"),
    "document-type-not-found": lambda admin: admin.get(f"{TYPES}/nothing"),
    "file-not-found": lambda admin: admin.get(f"{DOCUMENTS}/plain/content"),
}


@pytest.mark.req("B-125")
@pytest.mark.parametrize("code", REQUESTS)
async def test_example_is_what_the_service_sends(admin: httpx.AsyncClient, code: str) -> None:
    await make_type(
        admin, "Licence", max_files=2, collects_fields=True, fields=[{"label": "Issued"}]
    )
    await make_type(admin, "Plain")
    await make_customer(admin, "c-1")
    response = await REQUESTS[code](admin)
    example = EXAMPLES[code]
    assert response.json() == {**example, "instance": response.json()["instance"]}
