"""`RateLimit` and `RateLimit-Policy`: what is left, before there is a 429."""

import re
from pathlib import Path

import httpx
import pytest
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import CustomerClients, KeyClients

from docvault.settings import Settings

GATE = "/v1/customer/gate"
PATH = "/v1/customer/documents/contract"

pytestmark = pytest.mark.req("B-157")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path / "data",
        customer_requests_per_minute=3,
        customer_uploads_per_minute=2,
        customer_value_changes_per_minute=0,
        api_key_requests_per_minute=5,
        failed_credentials_per_minute=1,
    )


@pytest.fixture
async def customer(admin: httpx.AsyncClient, customer_of: CustomerClients) -> httpx.AsyncClient:
    await make_type(admin, "Contract", collects_fields=True, fields=[{"label": "A"}])
    await make_customer(admin, "c-1")
    return customer_of("c-1")


def policy_of(response: httpx.Response) -> str | None:
    policy: str | None = response.headers.get("ratelimit-policy")
    assert len(response.headers.get_list("ratelimit-policy")) <= 1
    return policy


def left_in(response: httpx.Response, name: str) -> int:
    """Return how many requests are left of a limit."""
    [field] = response.headers.get_list("ratelimit")
    match = re.fullmatch(r'"(\w+)";r=(\d+);t=(\d+)', field)
    assert match is not None, field
    assert match.group(1) == name
    assert 1 <= int(match.group(3)) <= 60
    return int(match.group(2))


async def test_customer_sees_what_is_left_of_requests(customer: httpx.AsyncClient) -> None:
    responses = [await customer.get(GATE) for _ in range(4)]
    assert [response.status_code for response in responses] == [200, 200, 200, 429]
    assert [left_in(one, "customer_requests") for one in responses] == [2, 1, 0, 0]
    assert {policy_of(one) for one in responses} == {'"customer_requests";q=3;w=60'}
    assert int(responses[-1].headers["retry-after"]) <= 60


async def test_uploads_have_a_limit_of_their_own(customer: httpx.AsyncClient) -> None:
    responses = [await customer.put(PATH, **upload_of()) for _ in range(3)]
    assert [response.status_code for response in responses] == [201, 200, 429]
    assert [left_in(one, "customer_uploads") for one in responses] == [1, 0, 0]
    assert {policy_of(one) for one in responses} == {'"customer_uploads";q=2;w=60'}


async def test_problems_and_304_have_headers_too(customer: httpx.AsyncClient) -> None:
    tag = (await customer.get(GATE)).headers["etag"]
    unchanged = await customer.get(GATE, headers={"If-None-Match": tag})
    assert (unchanged.status_code, left_in(unchanged, "customer_requests")) == (304, 1)
    missing = await customer.get("/v1/customer/documents/unknown")
    assert (missing.status_code, left_in(missing, "customer_requests")) == (404, 0)


async def test_key_sees_what_is_left(key_client: KeyClients) -> None:
    response = await (await key_client()).get("/v1/integration/document-types")
    assert left_in(response, "api_key_requests") == 4
    assert policy_of(response) == '"api_key_requests";q=5;w=60'


async def test_without_a_limit_there_are_no_headers(
    customer: httpx.AsyncClient, admin: httpx.AsyncClient, http: httpx.AsyncClient
) -> None:
    changed = await customer.patch(PATH, json={"field_values": {}})
    for response in (
        changed,
        await admin.get("/v1/admin/document-types"),
        await http.get("/livez"),
    ):
        assert policy_of(response) is None
        assert "ratelimit" not in response.headers


async def test_responses_to_failed_credentials_have_no_headers(http: httpx.AsyncClient) -> None:
    headers = {"Authorization": "Bearer x.y.z"}
    responses = [await http.get(GATE, headers=headers) for _ in range(2)]
    assert [response.status_code for response in responses] == [401, 429]
    assert [policy_of(response) for response in responses] == [None, None]
