"""Document types as third parties see them."""

import httpx
import pytest
from tests.factories.setups import make_type, patch_type

TYPES = "/v1/integration/document-types"


class TestList:
    """GET /v1/integration/document-types."""

    @pytest.mark.req("R-111")
    async def test_active_types_come_in_their_order_as_staff_see_them(
        self, admin: httpx.AsyncClient, integration: httpx.AsyncClient
    ) -> None:
        for name in ("A", "B", "C"):
            await make_type(admin, name, field_labels="F")
        await patch_type(admin, "b", archived=True)
        await admin.put("/v1/admin/document-type-order", json={"keys": ["c", "a"]})
        items = (await integration.get(TYPES)).json()["items"]
        assert [item["key"] for item in items] == ["c", "a"]
        assert items == (await admin.get("/v1/admin/document-types")).json()["items"]

    async def test_it_is_a_list_like_others(
        self, admin: httpx.AsyncClient, integration: httpx.AsyncClient
    ) -> None:
        for name in ("A", "B"):
            await make_type(admin, name)
        first = (await integration.get(TYPES, params={"limit": 1, "include_total": "true"})).json()
        cursor = first["next_cursor"]
        second = (await integration.get(TYPES, params={"limit": 1, "cursor": cursor})).json()
        assert (first["items"][0]["key"], first["total"]) == ("a", 2)
        assert (second["items"][0]["key"], second["next_cursor"]) == ("b", None)

    async def test_archived_ones_are_not_for_third_parties(
        self, integration: httpx.AsyncClient
    ) -> None:
        answer = await integration.get(TYPES, params={"archived": "true"})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["parameter"] == "archived"

    async def test_a_cursor_of_staff_is_another_lists(
        self, admin: httpx.AsyncClient, integration: httpx.AsyncClient
    ) -> None:
        for name in ("A", "B"):
            await make_type(admin, name)
        page = await admin.get("/v1/admin/document-types", params={"limit": 1})
        answer = await integration.get(TYPES, params={"cursor": page.json()["next_cursor"]})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid-cursor")
