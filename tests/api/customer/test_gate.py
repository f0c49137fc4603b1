"""The gate, as a customer reads it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.api.stored_state import refusal
from tests.factories.setups import make_customer, make_type, patch_portal, patch_type, upload_of
from tests.fixtures.callers import CustomerClients

GATE = "/v1/customer/gate"
DOCUMENTS = "/v1/customer/documents"
ADMIN = "/v1/admin/customers/c-1/documents"


@pytest.fixture
async def customer(admin: httpx.AsyncClient, customer_of: CustomerClients) -> httpx.AsyncClient:
    """A customer c-1 with two required types, while the gate is enabled."""
    await make_type(admin, "Identity card", upload_mode="required")
    await make_type(admin, "Extract", upload_mode="required")
    await make_customer(admin, "c-1")
    await patch_portal(admin, gate_enabled=True)
    return customer_of("c-1")


async def verdict(client: httpx.AsyncClient) -> tuple[str, list[str]]:
    """Return the decision and the missing types."""
    gate: dict[str, Any] = (await client.get(GATE)).json()
    return gate["decision"], gate["missing"]


class TestRead:
    """GET /v1/customer/gate."""

    @pytest.mark.req("R-005", "R-031", "R-074")
    async def test_gate_opens_with_last_required_document(
        self, customer: httpx.AsyncClient
    ) -> None:
        assert await verdict(customer) == ("blocked", ["identity-card", "extract"])
        await customer.put(f"{DOCUMENTS}/identity-card", **upload_of())
        assert await verdict(customer) == ("blocked", ["extract"])
        await customer.put(f"{DOCUMENTS}/extract", **upload_of())
        assert await verdict(customer) == ("open", [])

    async def test_response_is_current(self, customer: httpx.AsyncClient) -> None:
        response = await customer.get(GATE)
        gate = response.json()
        assert set(gate) == {"decision", "enforced", "missing", "evaluated_at"}
        at = datetime.fromisoformat(gate["evaluated_at"])
        assert abs(datetime.now(UTC) - at) < timedelta(seconds=10)
        assert gate["enforced"] is True

    @pytest.mark.req("R-075")
    async def test_disabled_gate_never_blocks(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_portal(admin, gate_enabled=False)
        gate = (await customer.get(GATE)).json()
        assert (gate["decision"], gate["enforced"]) == ("open", False)
        assert gate["missing"] == ["identity-card", "extract"]

    @pytest.mark.req("R-030", "R-037", "R-077", "A-05")
    async def test_optional_and_admin_only_documents_do_not_count(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_type(admin, "identity-card", upload_mode="optional")
        await patch_type(admin, "extract", upload_mode="admin_only")
        assert await verdict(customer) == ("open", [])

    @pytest.mark.req("R-078")
    async def test_gate_is_open_without_required_types(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        for key in ("identity-card", "extract"):
            await patch_type(admin, key, archived=True)
        assert await verdict(customer) == ("open", [])

    @pytest.mark.req("R-014", "R-079", "R-004")
    async def test_gate_follows_type_changes_immediately(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_type(admin, "identity-card", upload_mode="optional")
        assert await verdict(customer) == ("blocked", ["extract"])
        await patch_type(admin, "extract", archived=True)
        assert await verdict(customer) == ("open", [])
        await make_type(admin, "Passport", upload_mode="required")
        assert await verdict(customer) == ("blocked", ["passport"])

    @pytest.mark.req("R-079", "A-04")
    async def test_gate_follows_staff_changes_immediately(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        for key in ("identity-card", "extract"):
            await admin.put(f"{ADMIN}/{key}", **upload_of())
        assert await verdict(customer) == ("open", [])
        await admin.delete(f"{ADMIN}/extract")
        assert await verdict(customer) == ("blocked", ["extract"])

    @pytest.mark.req("A-10")
    async def test_missing_required_value_blocks(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_type(admin, "extract", archived=True)
        fields = [{"label": "Number", "required": True}, {"label": "Place"}]
        await patch_type(admin, "identity-card", collects_fields=True, fields=fields)
        await customer.put(f"{DOCUMENTS}/identity-card", **upload_of())
        assert await verdict(customer) == ("blocked", ["identity-card"])
        path = f"{DOCUMENTS}/identity-card"
        await customer.patch(path, json={"field_values": {"number": " \t\n"}})
        assert await verdict(customer) == ("blocked", ["identity-card"])
        await customer.patch(path, json={"field_values": {"number": "1"}})
        assert await verdict(customer) == ("open", [])

    @pytest.mark.req("R-032", "A-11")
    async def test_values_without_file_do_not_open_gate(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_type(admin, "extract", archived=True)
        await patch_type(admin, "identity-card", collects_fields=True, field_labels="Number")
        await admin.patch(f"{ADMIN}/identity-card", json={"field_values": {"number": "1"}})
        assert await verdict(customer) == ("blocked", ["identity-card"])

    async def test_gate_is_available_while_portal_is_disabled(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_portal(admin, gate_enabled=False, section_enabled=False)
        assert (await customer.get(GATE)).json()["decision"] == "open"

    @pytest.mark.req("R-057", "R-107")
    async def test_documents_of_other_customers_do_not_count(
        self,
        admin: httpx.AsyncClient,
        customer: httpx.AsyncClient,
        customer_of: CustomerClients,
    ) -> None:
        await make_customer(admin, "c-2")
        for key in ("identity-card", "extract"):
            await customer_of("c-2").put(f"{DOCUMENTS}/{key}", **upload_of())
        assert (await verdict(customer_of("c-2")))[0] == "open"
        assert (await verdict(customer))[0] == "blocked"

    @pytest.mark.req("A-33")
    async def test_unknown_customer_gets_no_decision(self, customer_of: CustomerClients) -> None:
        response = await customer_of("c-9").get(GATE)
        assert refusal(response) == (403, "customer-not-registered", None)
