"""How many statements the hot requests send; each is a round trip (decision 0026)."""

from typing import Any

import httpx
import pytest
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import CustomerClients
from tests.fixtures.statements import sent_statements

PATH = "/v1/customer/documents/identity-card"


@pytest.fixture
async def customer(admin: httpx.AsyncClient, customer_of: CustomerClients) -> httpx.AsyncClient:
    """A customer with a document that has fields, and with an empty slot."""
    await make_type(admin, "Identity card", collects_fields=True, fields=[{"label": "Number"}])
    await make_type(admin, "Diploma")
    await make_customer(admin, "c-1")
    client = customer_of("c-1")
    assert (await client.put(PATH, **upload_of())).status_code == 201
    return client


@pytest.mark.parametrize(
    ("method", "path", "arguments", "number"),
    [
        ("GET", "/v1/customer/documents", {}, 1),
        ("GET", PATH, {}, 1),
        ("GET", "/v1/customer/gate", {}, 1),
        # The second writes the audit event.
        ("GET", f"{PATH}/content", {}, 2),
        # Customer and slot, rate limit; then the announcement, and the attachment.
        ("PUT", "/v1/customer/documents/diploma", upload_of(), 4),
        ("PUT", PATH, upload_of(), 4),
    ],
    ids=["list", "document", "gate", "content", "upload", "replacement"],
)
async def test_a_hot_request_sends_few_statements(
    customer: httpx.AsyncClient,
    method: str,
    path: str,
    arguments: dict[str, Any],
    number: int,
) -> None:
    with sent_statements() as sent:
        answer = await customer.request(method, path, **arguments)
    assert answer.is_success
    assert len(sent) == number, sent
