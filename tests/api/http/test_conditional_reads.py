"""Reads of what the client has already: 304 instead of the same bytes again."""

import httpx
import pytest
from tests.api.good_requests import good_path, listed_operations
from tests.api.world import Scenario, build_scenario
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import CustomerClients, with_headers
from tests.fixtures.statements import sent_statements

from docvault.auth.local_tokens import LocalIssuer
from docvault.services.resources import Resources

CALLERS = {"admin": "staff", "customer": "customer A", "integration": "key with every scope"}
READS = [
    name
    for name, listed in listed_operations().items()
    if listed.method == "GET"
    and "application/json" in listed.contract["responses"]["200"]["content"]
]

pytestmark = pytest.mark.req("B-153")


@pytest.fixture
async def scenario(http: httpx.AsyncClient, issuer: LocalIssuer, resources: Resources) -> Scenario:
    return await build_scenario(http, issuer, resources)


def test_every_read_is_conditional() -> None:
    assert len(READS) > 20
    for name in READS:
        contract = listed_operations()[name].contract
        assert "304" in contract["responses"], name
        assert "ETag" in contract["responses"]["200"]["headers"], name


async def test_client_with_the_current_state_gets_no_body(
    http: httpx.AsyncClient, scenario: Scenario
) -> None:
    for name in READS:
        caller = scenario.callers[CALLERS[listed_operations()[name].audience]]
        client = with_headers(http, dict(caller))
        path = good_path(name, scenario)
        # The first use of a key is recorded.
        await client.get(path)
        with sent_statements() as plain:
            whole = await client.get(path)
        tag = whole.headers["etag"]
        with sent_statements() as conditional:
            same = await client.get(path, headers={"If-None-Match": f'"other", {tag}'})
        assert (same.status_code, same.content) == (304, b""), name
        assert same.headers["etag"] == tag
        assert same.headers["cache-control"] == "private, no-cache"
        assert len(conditional) == len(plain), name
        other = await client.get(path, headers={"If-None-Match": '"other"'})
        assert (other.status_code, other.headers["etag"]) == (200, tag), name
        malformed = await client.get(path, headers={"If-None-Match": "other"})
        assert malformed.status_code == 422, name


async def test_time_of_a_gate_is_not_in_its_tag(
    admin: httpx.AsyncClient, customer_of: CustomerClients
) -> None:
    await make_customer(admin, "c-1")
    responses = [await customer_of("c-1").get("/v1/customer/gate") for _ in range(2)]
    assert len({response.json()["evaluated_at"] for response in responses}) == 2
    tags = {response.headers["etag"] for response in responses}
    assert len(tags) == 1
    assert tags.pop().startswith('W/"')


@pytest.mark.parametrize(
    "path", ["/v1/customer/documents", "/v1/customer/gate", "/v1/customer/portal"]
)
async def test_change_changes_the_tag(
    admin: httpx.AsyncClient, customer_of: CustomerClients, path: str
) -> None:
    await make_type(admin, "Contract", upload_mode="required")
    await make_customer(admin, "c-1")
    customer = customer_of("c-1")
    before = (await customer.get(path)).headers["etag"]
    assert (await customer.put("/v1/customer/documents/contract", **upload_of())).is_success
    after = await customer.get(path, headers={"If-None-Match": before})
    assert after.status_code == 200
    assert after.headers["etag"] != before


async def test_pages_of_a_list_have_different_tags(
    admin: httpx.AsyncClient, customer_of: CustomerClients
) -> None:
    for name in ("Contract", "Report"):
        await make_type(admin, name)
    await make_customer(admin, "c-1")
    customer = customer_of("c-1")
    path = "/v1/customer/documents?limit=1"
    first = await customer.get(path)
    following = f"{path}&cursor={first.json()['next_cursor']}"
    second = await customer.get(following, headers={"If-None-Match": first.headers["etag"]})
    assert second.status_code == 200
    assert second.json()["items"] != first.json()["items"]
