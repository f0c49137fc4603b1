"""Pages and cursors of every list."""

import base64
from typing import Any

import httpx
import pytest
from tests.factories import files
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import CustomerClients

from docvault.db.tables import CustomerRow, new_id
from docvault.services.resources import Resources

CUSTOMERS = "/v1/admin/customers"
TYPES = "/v1/admin/document-types"
DOCUMENTS = f"{CUSTOMERS}/c-0/documents"
LISTS = [CUSTOMERS, TYPES, "/v1/admin/erasures", "/v1/admin/api-keys", "/v1/admin/audit-events",
         DOCUMENTS, f"{DOCUMENTS}/t-0/versions"]  # fmt: skip


async def page_of(admin: httpx.AsyncClient, path: str, **params: Any) -> dict[str, Any]:
    """Return one page."""
    response = await admin.get(path, params=params)
    assert response.status_code == 200, response.text
    page: dict[str, Any] = response.json()
    return page


async def walk(admin: httpx.AsyncClient, path: str, **params: Any) -> list[dict[str, Any]]:
    """Return the items of all pages."""
    items: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    for _ in range(1000):
        page = await page_of(admin, path, **params, **cursor)
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        cursor = {"cursor": page["next_cursor"]}
    raise AssertionError("the list does not end")


@pytest.fixture
async def rows(admin: httpx.AsyncClient) -> None:
    """At least three rows in each list."""
    for number in range(3):
        await make_type(admin, f"T {number}")
        await make_customer(admin, f"c-{number}")
        await make_customer(admin, f"gone-{number}")
        await admin.delete(f"{CUSTOMERS}/gone-{number}")
        await admin.put(f"{DOCUMENTS}/t-0", **upload_of(files.text(), "a.txt"))
        body = {"name": f"key {number}", "scopes": ["types:read"]}
        await admin.post("/v1/admin/api-keys", json=body)


@pytest.fixture
async def customers(resources: Resources, http: httpx.AsyncClient) -> list[str]:
    """Thirty customers c-00 to c-29."""
    del http
    ids = [f"c-{number:02}" for number in range(30)]
    async with resources.database.transaction() as session:
        session.add_all(CustomerRow(id=new_id(), external_id=id_, tags=[], name=id_) for id_ in ids)
    return ids


class TestEveryList:
    """Properties of every list."""

    @pytest.mark.usefixtures("rows")
    async def test_pages_of_one_equal_single_page(self, admin: httpx.AsyncClient) -> None:
        for path in LISTS:
            until = {"until": "2100-01-01T00:00:00Z"} if path.endswith("events") else {}
            whole = await page_of(admin, path, limit=100, **until)
            assert len(whole["items"]) >= 3, path
            assert whole["next_cursor"] is None
            assert await walk(admin, path, limit=1, **until) == whole["items"], path

    @pytest.mark.usefixtures("rows")
    async def test_total_is_included_only_on_request(self, admin: httpx.AsyncClient) -> None:
        for path in LISTS:
            plain = await page_of(admin, path, limit=1)
            counted = await page_of(admin, path, limit=1, include_total="true")
            whole = await page_of(admin, path, limit=100)
            assert set(plain) == {"items", "next_cursor"}, path
            assert counted["total"] == len(whole["items"]), path

    @pytest.mark.usefixtures("rows")
    async def test_limit_is_bounded(self, admin: httpx.AsyncClient) -> None:
        for path in LISTS:
            top = 200 if path == DOCUMENTS else 100
            for limit in ("1", str(top)):
                assert (await admin.get(path, params={"limit": limit})).status_code == 200, path
            for limit in ("0", "-1", str(top + 1), "10000000000000000000", "1e3", "", "x", "1.5"):
                response = await admin.get(path, params={"limit": limit})
                assert response.status_code == 422, (path, limit)
                assert response.json()["errors"][0]["parameter"] == "limit"

    @pytest.mark.usefixtures("rows")
    async def test_cursor_of_another_list_is_rejected(self, admin: httpx.AsyncClient) -> None:
        cursors = {path: (await page_of(admin, path, limit=1))["next_cursor"] for path in LISTS}
        assert None not in cursors.values()
        for path in LISTS:
            for other, cursor in cursors.items():
                response = await admin.get(path, params={"cursor": cursor})
                assert response.status_code == (200 if other == path else 400), (path, other)

    @pytest.mark.usefixtures("customers")
    async def test_default_limit_is_twenty_five(self, admin: httpx.AsyncClient) -> None:
        assert len((await page_of(admin, CUSTOMERS))["items"]) == 25

    async def test_empty_list_is_a_page(self, admin: httpx.AsyncClient) -> None:
        page = await page_of(admin, CUSTOMERS, include_total="true")
        assert page == {"items": [], "next_cursor": None, "total": 0}

    @pytest.mark.usefixtures("customers")
    async def test_full_last_page_has_no_cursor(self, admin: httpx.AsyncClient) -> None:
        first = await page_of(admin, CUSTOMERS, limit=15)
        second = await page_of(admin, CUSTOMERS, limit=15, cursor=first["next_cursor"])
        assert (len(second["items"]), second["next_cursor"]) == (15, None)


class TestCursor:
    """`cursor`."""

    @pytest.mark.usefixtures("customers")
    async def test_modified_cursor_is_rejected(self, admin: httpx.AsyncClient) -> None:
        cursor = (await page_of(admin, CUSTOMERS, limit=2))["next_cursor"]
        padded = cursor + "=" * (-len(cursor) % 4)
        raw = base64.urlsafe_b64decode(padded)
        flipped = [
            base64.urlsafe_b64encode(raw[:i] + bytes([raw[i] ^ 1]) + raw[i + 1 :])
            .decode()
            .rstrip("=")
            for i in range(0, len(raw), 5)
        ]
        forged = [cursor[:-1], cursor[1:], cursor + "A", cursor * 2, cursor.swapcase(),
                  *flipped]  # fmt: skip
        for value in forged:
            response = await admin.get(CUSTOMERS, params={"cursor": value})
            problem = response.json()
            assert (response.status_code, problem["code"]) == (400, "invalid-cursor"), value
            assert problem["errors"][0]["parameter"] == "cursor"

    @pytest.mark.parametrize(
        "cursor",
        ["x", "null", "AAAA", "%", "é", "=", "====", " ", "\n", "A" * 10_000, "W10",
         "eyJpZCI6MX0", "../..", "' OR 1=1 --"],
    )  # fmt: skip
    async def test_foreign_cursor_is_rejected(self, admin: httpx.AsyncClient, cursor: str) -> None:
        response = await admin.get(CUSTOMERS, params={"cursor": cursor})
        assert (response.status_code, response.json()["code"]) == (400, "invalid-cursor")

    @pytest.mark.usefixtures("rows")
    async def test_empty_cursor_is_rejected(self, admin: httpx.AsyncClient) -> None:
        responses = {path: await admin.get(path, params={"cursor": ""}) for path in LISTS}
        assert {
            path: response.status_code for path, response in responses.items()
        } == dict.fromkeys(LISTS, 400)

    @pytest.mark.usefixtures("customers")
    async def test_cursor_is_bound_to_filters_and_order(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "T")
        params = {"limit": "2", "q": "c", "not_uploaded": "t", "sort": "name"}
        cursor = (await page_of(admin, CUSTOMERS, **params))["next_cursor"]
        others: list[dict[str, Any]] = [
            {"q": "c-"},
            {"sort": "-name"},
            {"gate": "open"},
            {"has_documents": "false"},
            {"not_uploaded": ["t", "t"]},
        ]
        for other in others:
            response = await admin.get(CUSTOMERS, params={**params, **other, "cursor": cursor})
            assert (response.status_code, response.json()["code"]) == (400, "invalid-cursor"), other

    @pytest.mark.usefixtures("customers")
    async def test_limit_and_parameter_order_may_change(self, admin: httpx.AsyncClient) -> None:
        first = await page_of(admin, CUSTOMERS, limit=2, q="c", sort="name")
        second = await page_of(
            admin, CUSTOMERS, sort="name", q="c", cursor=first["next_cursor"], limit=3,
            include_total="true",
        )  # fmt: skip
        assert [item["id"] for item in second["items"]] == ["c-02", "c-03", "c-04"]
        assert second["total"] == 30

    async def test_cursor_of_another_customers_documents_is_rejected(
        self, admin: httpx.AsyncClient
    ) -> None:
        for number in range(2):
            await make_type(admin, f"T {number}")
            await make_customer(admin, f"c-{number}")
        cursor = (await page_of(admin, DOCUMENTS, limit=1))["next_cursor"]
        response = await admin.get(f"{CUSTOMERS}/c-1/documents", params={"cursor": cursor})
        assert (response.status_code, response.json()["code"]) == (400, "invalid-cursor")

    @pytest.mark.usefixtures("customers")
    async def test_cursor_does_not_expose_content(self, admin: httpx.AsyncClient) -> None:
        cursor = (await page_of(admin, CUSTOMERS, limit=2))["next_cursor"]
        assert "c-01" not in cursor

    async def test_cursor_contains_no_identity(self, admin: httpx.AsyncClient) -> None:
        for number in range(2):
            await make_customer(admin, f"customer-{number}", name="Canary")
        page = await page_of(admin, CUSTOMERS, sort="name", limit=1)
        cursor = page["next_cursor"]
        sealed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        # Both are long: random bytes do not contain them by chance.
        assert b"canary" not in sealed.lower()
        assert b"customer-" not in sealed

    async def test_longest_name_fits_in_cursor(self, admin: httpx.AsyncClient) -> None:
        for name in ("🪪" * 200, "İ" * 200, '"\\' * 100):
            for number in range(2):
                id_ = f"c-{number}".ljust(128, "x")
                await admin.put(f"{CUSTOMERS}/{id_}", json={"name": name})
            assert len(await walk(admin, CUSTOMERS, sort="name", q=name, limit=1)) == 2

    @pytest.mark.usefixtures("customers")
    async def test_cursor_row_may_be_deleted(self, admin: httpx.AsyncClient) -> None:
        first = await page_of(admin, CUSTOMERS, limit=2)
        await admin.delete(f"{CUSTOMERS}/c-01")
        second = await page_of(admin, CUSTOMERS, limit=2, cursor=first["next_cursor"])
        assert [item["id"] for item in second["items"]] == ["c-02", "c-03"]


class TestWalk:
    """Reading all pages of a list while it changes."""

    @pytest.mark.parametrize("sort", ["created_at", "-created_at", "name", "-name"])
    async def test_stable_rows_are_listed_once(
        self, admin: httpx.AsyncClient, customers: list[str], sort: str
    ) -> None:
        seen: list[str] = []
        removed: set[str] = set()
        params = {"sort": sort, "limit": "4"}
        for step in range(100):
            page = await page_of(admin, CUSTOMERS, **params)
            seen += [item["id"] for item in page["items"]]
            if page["next_cursor"] is None:
                break
            params["cursor"] = page["next_cursor"]
            victim = customers[(step * 11) % len(customers)]
            await admin.delete(f"{CUSTOMERS}/{victim}")
            removed.add(victim)
            if step < 8:
                for name in ("a", "c-14x", "z"):
                    await make_customer(admin, f"{name}-{step}", name=f"{name}-{step}")
        assert len(seen) == len(set(seen))
        assert set(customers) - removed <= set(seen)

    async def test_stable_documents_are_listed_once_while_types_are_added(
        self, admin: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        await make_customer(admin, "c-1")
        for number in range(6):
            await make_type(admin, f"T {number}")
        client = customer_of("c-1")
        seen: list[str] = []
        params: dict[str, Any] = {"limit": 2}
        for step in range(20):
            page = await page_of(client, "/v1/customer/documents", **params)
            seen += [item["type"]["key"] for item in page["items"]]
            if page["next_cursor"] is None:
                break
            params["cursor"] = page["next_cursor"]
            if step < 2:
                await make_type(admin, f"Last {step}")
        assert seen == [*(f"t-{number}" for number in range(6)), "last-0", "last-1"]
