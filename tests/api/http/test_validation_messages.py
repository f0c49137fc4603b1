"""Messages of validation errors."""

from typing import Any

import httpx
import pytest
from tests.factories.setups import make_customer, make_type
from tests.fixtures.callers import CustomerClients


@pytest.mark.parametrize(
    ("document", "pointer", "message"),
    [
        ({"filename": "x" * 2000}, "/filename", "Must be at most 1024 characters."),
        ({"filename": ""}, "/filename", "Must be at least 1 character."),
    ],
)
async def test_length_of_text_is_given_in_characters(
    admin: httpx.AsyncClient,
    customer_of: CustomerClients,
    document: dict[str, str],
    pointer: str,
    message: str,
) -> None:
    await make_type(admin, "Contract")
    await make_customer(admin, "c-1")
    response = await customer_of("c-1").post(
        "/v1/customer/documents/contract/uploads",
        json={"size_bytes": 1, "sha256": "0" * 64, **document},
    )
    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert (error["pointer"], error["detail"]) == (pointer, message)


async def test_length_of_list_is_given_in_items(integration: httpx.AsyncClient) -> None:
    response = await integration.post("/v1/integration/customer-batches", json={"items": []})
    assert response.json()["errors"][0]["detail"] == "Must be at least 1 item."


@pytest.mark.req("B-124")
@pytest.mark.parametrize(
    ("document_type", "code", "params"),
    [
        ({"name": "x" * 201}, "too-long", {"max": 200}),
        ({"name": ""}, "too-short", {"min": 1}),
        ({"name": "A", "max_files": 21}, "out-of-range", {"max": 20}),
        ({"name": "A", "max_files": 0}, "out-of-range", {"min": 1}),
        (
            {"name": "A", "upload_mode": "x"},
            "not-one-of",
            {"allowed": ["optional", "required", "admin_only"]},
        ),
        ({"name": "A", "x": 1}, "unknown-member", {}),
    ],
)
async def test_error_has_what_its_translation_needs(
    admin: httpx.AsyncClient, document_type: dict[str, Any], code: str, params: dict[str, Any]
) -> None:
    response = await admin.post("/v1/admin/document-types", json=document_type)
    (error,) = response.json()["errors"]
    assert (error["code"], error["params"]) == (code, params)
