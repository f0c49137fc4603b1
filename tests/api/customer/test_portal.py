"""Customers and the settings of their portal."""

import httpx
import pytest
from tests.api.holdings import refusal
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
    async def test_by_default_the_section_is_on_and_the_gate_is_off(
        self, customer: httpx.AsyncClient
    ) -> None:
        answer = await customer.get(PORTAL)
        portal = answer.json()
        assert portal.pop("gate").pop("evaluated_at")
        assert portal == {
            "section_enabled": True,
            "introduction": None,
            "documents": {"uploaded": 0, "missing": 2, "required_missing": 1},
        }
        assert "etag" not in answer.headers

    async def test_the_gate_is_the_one_of_the_gate(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_portal(admin, gate_enabled=True)
        portal = (await customer.get(PORTAL)).json()["gate"]
        gate = (await customer.get("/v1/customer/gate")).json()
        assert portal | {"evaluated_at": ""} == gate | {"evaluated_at": ""}
        assert (portal["decision"], portal["missing"]) == ("blocked", ["identity-card"])

    @pytest.mark.req("R-071", "R-072")
    async def test_the_introduction_is_safe_html(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        source = '<b onclick="x">Hello</b><script>alert(1)</script><a href="javascript:x">y</a>'
        await patch_portal(admin, introduction={"format": "html", "source": source})
        introduction = (await customer.get(PORTAL)).json()["introduction"]
        assert set(introduction) == {"html"}
        assert introduction["html"].startswith("<b>Hello</b>")
        assert "script" not in introduction["html"]

    @pytest.mark.req("R-070", "A-07")
    async def test_it_tells_that_the_section_is_off(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_portal(admin, section_enabled=False)
        answer = await customer.get(PORTAL)
        assert (answer.status_code, answer.json()["section_enabled"]) == (200, False)

    @pytest.mark.req("R-079")
    async def test_the_counts_follow_every_change(
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

    async def test_a_customer_who_is_not_known_has_none(self, customer_of: CustomerClients) -> None:
        answer = await customer_of("c-9").get(PORTAL)
        assert refusal(answer) == (403, "customer-unknown", None)
