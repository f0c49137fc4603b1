"""Customers and their documents."""

import httpx
import pytest
from tests.factories import files
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import CustomerClients


@pytest.fixture
async def customer(admin: httpx.AsyncClient, customer_of: CustomerClients) -> httpx.AsyncClient:
    """A customer c-1 who is asked for an identity card."""
    await make_type(admin, "Identity card", upload_mode="required")
    await make_customer(admin, "c-1")
    return customer_of("c-1")


class TestUpload:
    """PUT /v1/customer/documents/{key}."""

    async def test_an_uploaded_file_comes_back_byte_for_byte(
        self, customer: httpx.AsyncClient
    ) -> None:
        body = files.jpeg()
        answer = await customer.put(
            "/v1/customer/documents/identity-card", **upload_of(body, "card.jpg")
        )
        assert answer.status_code == 201, answer.text
        content = await customer.get("/v1/customer/documents/identity-card/content")
        assert content.content == body
