"""The gate, as third parties read it."""

import httpx
import pytest
from tests.api.stored_state import refusal
from tests.factories.setups import make_customer, make_type, patch_portal, patch_type, upload_of
from tests.fixtures.callers import KeyClients

from docvault.domain.scopes import Scope

GATE = "/v1/integration/customers/c-1/gate"
CARD = "/v1/integration/customers/c-1/documents/identity-card"


@pytest.fixture
async def host(admin: httpx.AsyncClient, integration: httpx.AsyncClient) -> httpx.AsyncClient:
    """A key with every scope, and a customer c-1 with a required type while the gate is enabled."""
    await make_type(admin, "Identity card", upload_mode="required")
    await make_customer(admin, "c-1")
    await patch_portal(admin, gate_enabled=True)
    return integration


class TestRead:
    """GET /v1/integration/customers/{id}/gate."""

    @pytest.mark.req("R-005", "R-031", "R-074", "R-079")
    async def test_gate_follows_upload_and_deletion_immediately(
        self, admin: httpx.AsyncClient, host: httpx.AsyncClient
    ) -> None:
        async def decision() -> tuple[str, list[str]]:
            gate = (await host.get(GATE)).json()
            return gate["decision"], gate["missing"]

        seen = [await decision()]
        await host.put(CARD, **upload_of())
        seen.append(await decision())
        await admin.delete(CARD.replace("integration", "admin"))
        seen.append(await decision())
        blocked = ("blocked", ["identity-card"])
        assert seen == [blocked, ("open", []), blocked]

    @pytest.mark.req("R-079", "R-014", "R-075")
    async def test_gate_follows_settings_and_types_immediately(
        self, admin: httpx.AsyncClient, host: httpx.AsyncClient
    ) -> None:
        await patch_portal(admin, gate_enabled=False)
        off = (await host.get(GATE)).json()
        assert (off["decision"], off["enforced"], off["missing"]) == (
            "open",
            False,
            ["identity-card"],
        )
        await patch_portal(admin, gate_enabled=True)
        assert (await host.get(GATE)).json()["decision"] == "blocked"
        await patch_type(admin, "identity-card", upload_mode="admin_only")
        assert (await host.get(GATE)).json()["decision"] == "open"

    @pytest.mark.req("A-33", "R-116")
    async def test_unknown_customer_gets_no_decision(self, host: httpx.AsyncClient) -> None:
        response = await host.get("/v1/integration/customers/c-9/gate")
        assert refusal(response) == (404, "customer-not-found", None)

    @pytest.mark.req("A-33")
    async def test_customer_being_erased_gets_no_decision(
        self, admin: httpx.AsyncClient, host: httpx.AsyncClient
    ) -> None:
        await host.put(CARD, **upload_of())
        assert (await admin.delete("/v1/admin/customers/c-1")).status_code == 202
        assert refusal(await host.get(GATE)) == (404, "customer-not-found", None)

    @pytest.mark.req("R-113")
    async def test_gate_has_own_scope(
        self, host: httpx.AsyncClient, key_client: KeyClients
    ) -> None:
        del host
        context = await key_client(Scope.GATE_READ)
        other = await key_client(*(set(Scope) - {Scope.GATE_READ}))
        assert (await context.get(GATE)).json()["decision"] == "blocked"
        assert refusal(await other.get(GATE)) == (403, "insufficient-scope", None)
        assert refusal(await context.get(CARD))[:2] == (403, "insufficient-scope")

    async def test_staff_get_same_decision(
        self, admin: httpx.AsyncClient, host: httpx.AsyncClient
    ) -> None:
        integration_gate = (await host.get(GATE)).json()
        admin_gate = (await admin.get("/v1/admin/customers/c-1/gate")).json()
        assert admin_gate | {"evaluated_at": ""} == integration_gate | {"evaluated_at": ""}
