"""Document types, as third parties read them."""

import httpx
import pytest
from tests.factories.setups import make_type, patch_type

TYPES = "/v1/integration/document-types"


class TestList:
    """GET /v1/integration/document-types."""

    @pytest.mark.req("R-111")
    async def test_active_types_are_listed_in_staff_order(
        self, admin: httpx.AsyncClient, integration: httpx.AsyncClient
    ) -> None:
        for name in ("A", "B", "C"):
            await make_type(admin, name, field_labels="F")
        await patch_type(admin, "b", archived=True)
        await admin.put("/v1/admin/document-type-order", json={"keys": ["c", "a"]})
        items = (await integration.get(TYPES)).json()["items"]
        assert [item["key"] for item in items] == ["c", "a"]
        assert items == (await admin.get("/v1/admin/document-types")).json()["items"]

    async def test_supports_paging(
        self, admin: httpx.AsyncClient, integration: httpx.AsyncClient
    ) -> None:
        for name in ("A", "B"):
            await make_type(admin, name)
        first = (await integration.get(TYPES, params={"limit": 1, "include_total": "true"})).json()
        cursor = first["next_cursor"]
        second = (await integration.get(TYPES, params={"limit": 1, "cursor": cursor})).json()
        assert (first["items"][0]["key"], first["total"]) == ("a", 2)
        assert (second["items"][0]["key"], second["next_cursor"]) == ("b", None)

    async def test_archived_types_are_not_listed(self, integration: httpx.AsyncClient) -> None:
        response = await integration.get(TYPES, params={"archived": "true"})
        assert response.status_code == 422
        assert response.json()["errors"][0]["parameter"] == "archived"

    async def test_staff_cursor_is_rejected(
        self, admin: httpx.AsyncClient, integration: httpx.AsyncClient
    ) -> None:
        for name in ("A", "B"):
            await make_type(admin, name)
        page = await admin.get("/v1/admin/document-types", params={"limit": 1})
        response = await integration.get(TYPES, params={"cursor": page.json()["next_cursor"]})
        assert (response.status_code, response.json()["code"]) == (400, "invalid-cursor")
