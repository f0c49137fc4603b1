"""Denied requests in the audit trail: their actor, and a limit to their events."""

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from joserfc import jwt
from sqlalchemy import text
from tests.factories.setups import make_customer, make_type
from tests.fixtures.callers import CustomerClients, with_headers

from docvault.auth.local_tokens import LocalIssuer
from docvault.domain.rate_limits import RECORDED_DENIALS_PER_MINUTE
from docvault.observability.metrics import REGISTRY
from docvault.services import audit_events
from docvault.services.erasures import finish_erasures
from docvault.services.resources import Resources

EVENTS = "/v1/admin/audit-events"
VICTIM = "/v1/admin/customers/victim"

TokenClients = Callable[..., httpx.AsyncClient]


@pytest.fixture
def token_client(http: httpx.AsyncClient, issuer: LocalIssuer) -> TokenClients:
    """A factory of clients whose token has additional claims."""

    def make(**claims: Any) -> httpx.AsyncClient:
        now = int(time.time())
        usual = {"iss": issuer.issuer, "aud": "docvault", "iat": now, "exp": now + 3600}
        key = issuer._key
        header = {"alg": "ES256", "typ": "at+jwt", "kid": key.kid}
        token = jwt.encode(header, usual | claims, key, algorithms=["ES256"])
        return with_headers(http, {"Authorization": f"Bearer {token}"})

    return make


@pytest.fixture
async def mallory(admin: httpx.AsyncClient, customer_of: CustomerClients) -> httpx.AsyncClient:
    """A customer; another one is called victim."""
    await make_type(admin, "T")
    for customer in ("mallory", "victim"):
        await make_customer(admin, customer)
    return customer_of("mallory")


async def denied(admin: httpx.AsyncClient, **params: str) -> list[dict[str, Any]]:
    """Return the denied events, newest first."""
    response = await admin.get(EVENTS, params={"limit": 100, **params})
    assert response.status_code == 200, response.text
    return [event for event in response.json()["items"] if event["result"] == "denied"]


def counted(action: str) -> float:
    return REGISTRY.get_sample_value("docvault_denials_total", {"action": action}) or 0.0


class TestActor:
    """The recorded actor."""

    @pytest.mark.req("B-032")
    async def test_caller_is_recorded_separately_from_concerned_customer(
        self, mallory: httpx.AsyncClient, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        assert (await mallory.delete(VICTIM)).status_code == 403
        (event,) = await denied(admin)
        pseudonymous = {"kind": "customer", "id": resources.keyring.pseudonym("mallory")}
        assert (event["actor"], event["customer"]) == (pseudonymous, "victim")
        assert await denied(admin, actor="mallory") == [event]
        assert await denied(admin, actor=pseudonymous["id"]) == [event]
        assert await denied(admin, actor="victim") == []
        assert await denied(admin, customer="victim") == [event]
        assert await denied(admin, customer="mallory") == []

    @pytest.mark.req("B-032")
    async def test_denial_survives_erasure_of_concerned_customer(
        self, mallory: httpx.AsyncClient, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await mallory.delete(VICTIM)
        await admin.delete(VICTIM)
        await finish_erasures(resources)
        (event,) = await denied(admin)
        assert event["actor"]["id"] == resources.keyring.pseudonym("mallory")
        assert event["customer"] == resources.keyring.pseudonym("victim")
        assert await denied(admin, actor="mallory") == [event]
        assert await denied(admin, actor="victim") == []

    async def test_customer_is_named_in_own_denials(
        self, mallory: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        await mallory.get("/v1/admin/customers/mallory")
        (event,) = await denied(admin)
        assert event["actor"] == {"kind": "customer", "id": "mallory"}
        assert await denied(admin, actor="mallory") == [event]

    @pytest.mark.req("B-032")
    async def test_token_without_scope_has_own_actor_kind(
        self, mallory: httpx.AsyncClient, admin: httpx.AsyncClient, token_client: TokenClients,
        resources: Resources,
    ) -> None:  # fmt: skip
        del mallory
        assert (await token_client(sub="service-9").delete(VICTIM)).status_code == 403
        (event,) = await denied(admin)
        pseudonym = resources.keyring.pseudonym("service-9")
        assert event["actor"] == {"kind": "token", "id": pseudonym}
        assert await denied(admin, actor="service-9") == [event]


class TestLimit:
    """More denials than are recorded individually."""

    @pytest.mark.req("B-034")
    async def test_denials_over_limit_share_one_event(
        self,
        mallory: httpx.AsyncClient,
        admin: httpx.AsyncClient,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(audit_events, "_minute", lambda: "1")
        before = counted("customer.erase")
        for _ in range(RECORDED_DENIALS_PER_MINUTE + 7):
            assert (await mallory.delete(VICTIM)).status_code == 403
        shared, *single = await denied(admin)
        assert len(single) == RECORDED_DENIALS_PER_MINUTE
        assert {(event["customer"], event["times"]) for event in single} == {("victim", 1)}
        assert (shared["times"], shared["action"]) == (7, "customer.erase")
        assert (shared["customer"], shared["document_type"]) == (None, None)
        assert shared["actor"] == single[0]["actor"]
        assert counted("customer.erase") == before + RECORDED_DENIALS_PER_MINUTE + 7

    async def test_limit_is_per_caller_and_action(
        self, mallory: httpx.AsyncClient, admin: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        for _ in range(RECORDED_DENIALS_PER_MINUTE + 1):
            await mallory.delete(VICTIM)
        await mallory.get(VICTIM)
        await customer_of("victim").delete(VICTIM)
        newest = (await denied(admin))[:2]
        assert [(e["action"], e["customer"]) for e in newest] == [
            ("customer.erase", "victim"),
            ("customer.read", "victim"),
        ]

    async def test_shared_event_contains_no_customer(
        self, mallory: httpx.AsyncClient, resources: Resources
    ) -> None:
        for _ in range(RECORDED_DENIALS_PER_MINUTE + 1):
            await mallory.delete(VICTIM)
        query = text(
            "SELECT customer_pseudonym, document_type, request_id FROM audit_events"
            " WHERE result = 'denied' AND id NOT IN (SELECT event_id FROM audit_details)"
        )
        async with resources.database.transaction() as session:
            assert [tuple(row) for row in await session.execute(query)] == [(None, None, None)]
