"""Downloads of customers, which the statement that finds the file also records."""

from typing import Any

import httpx
import pytest
from sqlalchemy import text
from tests.api.stored_state import audited
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import CustomerClients
from tests.fixtures.statements import sent_statements

from docvault.services.resources import Resources
from docvault.storage.base import CHUNK_BYTES

PATH = "/v1/customer/documents/contract"
CONTENT = f"{PATH}/content"


@pytest.fixture
async def customer(admin: httpx.AsyncClient, customer_of: CustomerClients) -> httpx.AsyncClient:
    """A customer with a contract."""
    await make_type(admin, "Contract")
    await make_customer(admin, "c-1")
    client = customer_of("c-1")
    assert (await client.put(PATH, **upload_of())).status_code == 201
    return client


async def downloads(admin: httpx.AsyncClient) -> list[dict[str, Any]]:
    return [event for event in await audited(admin, "document.download") if event["result"] == "ok"]


@pytest.mark.req("B-077")
async def test_event_is_the_same_in_one_statement_and_in_two(
    admin: httpx.AsyncClient, customer: httpx.AsyncClient
) -> None:
    for query, number in (("", 1), ("?file=1", 2)):
        with sent_statements() as sent:
            assert (await customer.get(CONTENT + query)).status_code == 200
        assert len(sent) == number, sent
    one, other = await downloads(admin)
    assert one["customer"] == "c-1"
    assert one["files"][0]["filename"] == "scan.pdf"
    for event in (one, other):
        for name in ("id", "at", "request_id"):
            assert event.pop(name)
    assert one == other


@pytest.mark.req("B-077")
@pytest.mark.parametrize(
    ("change", "status"),
    [
        ("UPDATE portal_settings SET gate_enabled = false, section_enabled = false", 403),
        ("UPDATE document_files SET scan = 'infected'", 409),
        ("UPDATE documents SET current_version_id = NULL", 404),
        ("UPDATE document_types SET archived_at = now()", 404),
        ("UPDATE customers SET tokens_valid_from = now() + interval '1 minute'", 401),
        ("UPDATE document_files SET number = 2", 404),
    ],
    ids=["portal", "quarantine", "no file", "archived", "old token", "number"],
)
async def test_refused_download_is_not_recorded(
    admin: httpx.AsyncClient,
    customer: httpx.AsyncClient,
    resources: Resources,
    change: str,
    status: int,
) -> None:
    async with resources.database.transaction() as session:
        await session.execute(text(change))
    assert (await customer.get(CONTENT)).status_code == status
    assert await downloads(admin) == []


@pytest.mark.req("B-077")
async def test_download_during_erasure_is_not_recorded(
    admin: httpx.AsyncClient, customer: httpx.AsyncClient
) -> None:
    assert (await admin.delete("/v1/admin/customers/c-1")).status_code == 202
    assert (await customer.get(CONTENT)).status_code == 403
    assert await downloads(admin) == []


@pytest.mark.req("B-077")
@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("HEAD", {}, 200),
        ("GET", {"If-None-Match": "*"}, 304),
        ("GET", {"If-Match": '"x"'}, 412),
        ("GET", {"Range": "bytes=999999999-"}, 416),
    ],
)
async def test_response_without_content_is_not_recorded(
    admin: httpx.AsyncClient,
    customer: httpx.AsyncClient,
    method: str,
    headers: dict[str, str],
    status: int,
) -> None:
    assert (await customer.request(method, CONTENT, headers=headers)).status_code == status
    assert await downloads(admin) == []


@pytest.mark.req("B-077")
async def test_long_download_is_recorded_once(
    admin: httpx.AsyncClient, customer: httpx.AsyncClient
) -> None:
    body = b"x" * (CHUNK_BYTES + 1)
    assert (await customer.put(PATH, **upload_of(body, "long.txt"))).status_code == 200
    assert (await customer.get(CONTENT)).content == body
    assert len(await downloads(admin)) == 1
