"""Single events, and what auditors may read."""

from typing import Any

import httpx
import pytest
from tests.factories.setups import make_customer, make_type
from tests.fixtures.callers import with_headers

from docvault.auth.local_tokens import LocalIssuer
from docvault.services.erasures import finish_erasures
from docvault.services.resources import Resources

FEED = "/v1/admin/events"
TRAIL = "/v1/admin/audit-events"


@pytest.fixture
def auditor(http: httpx.AsyncClient, issuer: LocalIssuer) -> httpx.AsyncClient:
    """An auditor called auditor-1."""
    return with_headers(http, {"Authorization": f"Bearer {issuer.auditor_token('auditor-1')}"})


async def items(client: httpx.AsyncClient, path: str, **params: Any) -> list[dict[str, Any]]:
    response = await client.get(path, params=params)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["items"]
    return found


@pytest.mark.req("B-254")
class TestRead:
    """GET /v1/admin/events/{id}."""

    async def test_event_is_that_of_the_feed(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "Contract")
        await make_customer(admin, "c-1")
        for event in await items(admin, FEED):
            assert (await admin.get(f"{FEED}/{event['id']}")).json() == event

    async def test_event_is_found_before_anybody_follows(self, admin: httpx.AsyncClient) -> None:
        await make_customer(admin, "c-1")
        audited = (await items(admin, TRAIL))[0]
        event = (await admin.get(f"{FEED}/{audited['id']}")).json()
        assert (event["type"], event["position"]) == ("customer.created", 1)

    async def test_audit_event_without_an_event_is_404(self, admin: httpx.AsyncClient) -> None:
        await admin.post("/v1/admin/api-keys", json={"name": "CRM", "scopes": ["types:read"]})
        audited = (await items(admin, TRAIL))[0]
        assert (await admin.get(f"{FEED}/{audited['id']}")).status_code == 404

    async def test_event_of_an_erased_customer_has_only_the_pseudonym(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await make_customer(admin, "c-1")
        before = (await items(admin, FEED))[0]
        await admin.delete("/v1/admin/customers/c-1")
        await finish_erasures(resources)
        event = (await admin.get(f"{FEED}/{before['id']}")).json()
        assert event["customer"] == {"id": None, "pseudonym": before["customer"]["pseudonym"]}
        assert event["data"] is None

    async def test_reading_an_event_is_audited(self, admin: httpx.AsyncClient) -> None:
        await make_customer(admin, "c-1")
        event = (await items(admin, FEED))[0]
        await admin.get(f"{FEED}/{event['id']}")
        assert len(await items(admin, TRAIL, action="event.read")) == 1


@pytest.mark.req("B-255")
class TestAuditors:
    """Tokens with `docvault:auditor`; `test_isolation.py` has every operation."""

    async def test_auditor_reads_events_and_trail_like_an_admin(
        self, admin: httpx.AsyncClient, auditor: httpx.AsyncClient
    ) -> None:
        await make_customer(admin, "c-1", name="Anna")
        event = (await items(auditor, FEED))[0]
        assert event["actor"] == {"kind": "admin", "id": "staff-1"}
        assert (await auditor.get(f"{FEED}/{event['id']}")).json() == event
        trail = await items(auditor, TRAIL)
        assert trail == (await items(admin, TRAIL))[-len(trail) :]

    async def test_reads_of_auditors_are_recorded_under_their_subject(
        self, admin: httpx.AsyncClient, auditor: httpx.AsyncClient
    ) -> None:
        await make_customer(admin, "c-1")
        await items(auditor, FEED)
        (read,) = await items(admin, TRAIL, action="event.list")
        assert (read["actor"]["kind"], read["actor"]["id"]) == ("admin", "auditor-1")

    async def test_refusal_is_recorded_under_the_subject(
        self, admin: httpx.AsyncClient, auditor: httpx.AsyncClient
    ) -> None:
        await make_customer(admin, "c-1")
        response = await auditor.get("/v1/admin/customers/c-1")
        assert (response.status_code, response.json()["code"]) == (403, "insufficient-scope")
        (denied,) = await items(admin, TRAIL, action="customer.read")
        assert (denied["result"], denied["actor"]["id"]) == ("denied", "auditor-1")
