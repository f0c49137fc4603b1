"""The number of SQL statements of frequent requests; each is a round trip (decision 0026)."""

from typing import Any

import httpx
import pytest
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import CustomerClients
from tests.fixtures.statements import sent_statements

PATH = "/v1/customer/documents/identity-card"
BATCHES = "/v1/integration/customer-batches"


@pytest.fixture
async def customer(admin: httpx.AsyncClient, customer_of: CustomerClients) -> httpx.AsyncClient:
    """A customer with a document with fields and an empty document."""
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
        ("GET", f"{PATH}/content", {}, 1),
        # The second writes the audit event, once it is known that a range is sent.
        ("GET", f"{PATH}/content", {"headers": {"Range": "bytes=0-1"}}, 2),
        # Look-up, count and reservation; then attaching.
        ("PUT", "/v1/customer/documents/diploma", upload_of(), 2),
        ("PUT", PATH, upload_of(), 2),
    ],
    ids=["list", "document", "gate", "content", "range", "upload", "replacement"],
)
async def test_hot_request_stays_within_statement_budget(
    customer: httpx.AsyncClient,
    method: str,
    path: str,
    arguments: dict[str, Any],
    number: int,
) -> None:
    with sent_statements() as sent:
        response = await customer.request(method, path, **arguments)
    assert response.is_success
    assert len(sent) == number, sent


async def test_uploads_of_staff_and_third_parties_stay_within_statement_budget(
    customer: httpx.AsyncClient, admin: httpx.AsyncClient, integration: httpx.AsyncClient
) -> None:
    del customer
    # Third parties have a credential to look up; its first use is recorded.
    path = "/v1/integration/customers/c-1/documents/identity-card"
    assert (await integration.put(path, **upload_of())).is_success
    numbers = []
    for client, name in ((admin, "admin"), (integration, "integration")):
        with sent_statements() as sent:
            path = f"/v1/{name}/customers/c-1/documents/identity-card"
            assert (await client.put(path, **upload_of())).is_success
        numbers.append(len(sent))
    assert numbers == [2, 3]


@pytest.mark.parametrize(
    ("before", "number"),
    # The credential, and who is missing; then who exists; then what changes; and the events.
    [([], 3), (["A"], 3), (["B"], 5)],
    ids=["new", "unchanged", "changed"],
)
async def test_statement_count_is_independent_of_batch_size(
    integration: httpx.AsyncClient, before: list[str], number: int
) -> None:
    async def put(size: int, name: str) -> None:
        items = [{"id": f"{size}-{number}", "name": name} for number in range(size)]
        assert (await integration.post(BATCHES, json={"items": items})).status_code == 207

    # The first transaction of a connection asks for the version of the server.
    await put(1, "A")
    for size in (2, 500):
        for name in before:
            await put(size, name)
        with sent_statements() as sent:
            await put(size, "A")
        assert len(sent) == number, sent
