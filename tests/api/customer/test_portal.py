"""The portal settings, as a customer reads them."""

import httpx
import pytest
from tests.api.stored_state import refusal
from tests.factories.setups import make_customer, make_type, patch_portal, patch_type, upload_of
from tests.fixtures.callers import CustomerClients

PORTAL = "/v1/customer/portal"


@pytest.fixture
async def customer(admin: httpx.AsyncClient, customer_of: CustomerClients) -> httpx.AsyncClient:
    """A customer c-1 with a required and an optional type."""
    await make_type(admin, "Identity card", upload_mode="required")
    await make_type(admin, "Diploma")
    await make_customer(admin, "c-1")
    return customer_of("c-1")


class TestRead:
    """GET /v1/customer/portal."""

    @pytest.mark.req("R-070", "R-073")
    async def test_portal_is_enabled_and_gate_disabled_by_default(
        self, customer: httpx.AsyncClient
    ) -> None:
        response = await customer.get(PORTAL)
        portal = response.json()
        assert portal.pop("gate").pop("evaluated_at")
        assert portal == {
            "name": None,
            "section_enabled": True,
            "introduction": None,
            "documents": {"uploaded": 0, "missing": 2, "required_missing": 1},
        }

    async def test_embedded_gate_equals_gate_endpoint(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_portal(admin, gate_enabled=True)
        portal = (await customer.get(PORTAL)).json()["gate"]
        gate = (await customer.get("/v1/customer/gate")).json()
        assert portal | {"evaluated_at": ""} == gate | {"evaluated_at": ""}
        assert (portal["decision"], portal["missing"]) == ("blocked", ["identity-card"])

    @pytest.mark.req("B-195")
    async def test_portal_has_own_name(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        response = await admin.patch("/v1/admin/customers/c-1", json={"name": "Ada"})
        assert response.status_code == 200
        assert (await customer.get(PORTAL)).json()["name"] == "Ada"

    @pytest.mark.req("R-071", "R-072")
    async def test_introduction_is_sanitized_html(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        source = '<b onclick="x">Hello</b><script>alert(1)</script><a href="javascript:x">y</a>'
        await patch_portal(admin, introduction={"format": "html", "source": source})
        introduction = (await customer.get(PORTAL)).json()["introduction"]
        assert set(introduction) == {"html"}
        assert introduction["html"].startswith("<b>Hello</b>")
        assert "script" not in introduction["html"]

    @pytest.mark.req("R-070", "A-07")
    async def test_disabled_portal_is_reported(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_portal(admin, section_enabled=False)
        response = await customer.get(PORTAL)
        assert (response.status_code, response.json()["section_enabled"]) == (200, False)

    @pytest.mark.req("R-079")
    async def test_counts_follow_every_change(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        async def counts() -> list[int]:
            return list((await customer.get(PORTAL)).json()["documents"].values())

        await customer.put("/v1/customer/documents/identity-card", **upload_of())
        assert await counts() == [1, 1, 0]
        await make_type(admin, "Passport", upload_mode="required")
        assert await counts() == [1, 2, 1]
        await patch_type(admin, "identity-card", archived=True)
        assert await counts() == [0, 2, 1]
        await patch_type(admin, "passport", upload_mode="optional")
        assert await counts() == [0, 2, 0]

    async def test_unknown_customer_is_rejected(self, customer_of: CustomerClients) -> None:
        response = await customer_of("c-9").get(PORTAL)
        assert refusal(response) == (403, "customer-not-registered", None)
