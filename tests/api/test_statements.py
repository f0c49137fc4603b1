"""How many statements the hot requests send; each is a round trip (decision 0026)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import event
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import CustomerClients

from docvault.services.resources import Resources

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


@contextmanager
def statements(resources: Resources) -> Iterator[list[str]]:
    """Collect what is sent to the database."""
    sent: list[str] = []

    def collect(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    engine = resources.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", collect)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", collect)


@pytest.mark.parametrize(
    ("method", "path", "arguments", "number"),
    [
        ("GET", "/v1/customer/documents", {}, 2),
        ("GET", PATH, {}, 2),
        ("GET", "/v1/customer/gate", {}, 2),
        # The third writes the audit event.
        ("GET", f"{PATH}/content", {}, 3),
        # Customer, slot, rate limit; then the announcement, and the attachment.
        ("PUT", "/v1/customer/documents/diploma", upload_of(), 5),
        ("PUT", PATH, upload_of(), 5),
    ],
    ids=["list", "document", "gate", "content", "upload", "replacement"],
)
async def test_a_hot_request_sends_few_statements(
    customer: httpx.AsyncClient,
    resources: Resources,
    method: str,
    path: str,
    arguments: dict[str, Any],
    number: int,
) -> None:
    with statements(resources) as sent:
        answer = await customer.request(method, path, **arguments)
    assert answer.is_success
    assert len(sent) == number, sent
