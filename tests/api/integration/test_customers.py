"""Customers, as the host's systems sync them, and the scopes of keys."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from tests.factories.setups import make_customer, make_type, patch_portal, upload_of
from tests.factories.strings import CONTROLS
from tests.fixtures.callers import KeyClients

from docvault.domain.scopes import Scope

BASE = "/v1/integration"
CUSTOMERS = f"{BASE}/customers"
CUSTOMER = f"{CUSTOMERS}/c-1"
BATCHES = f"{BASE}/customer-batches"
NO_ERASURE = f"{BASE}/erasures/00000000-0000-7000-8000-000000000000"

# Scope, method, path, arguments, and the status with the scope.
OPERATIONS: list[tuple[Scope, str, str, Callable[[], dict[str, Any]], int]] = [
    (Scope.TYPES_READ, "GET", f"{BASE}/document-types", dict, 200),
    (Scope.CUSTOMERS_READ, "GET", CUSTOMERS, dict, 200),
    (Scope.CUSTOMERS_READ, "GET", CUSTOMER, dict, 200),
    (Scope.CUSTOMERS_WRITE, "PUT", CUSTOMER, lambda: {"json": {}}, 200),
    (Scope.CUSTOMERS_WRITE, "PATCH", CUSTOMER, lambda: {"json": {}}, 200),
    (Scope.CUSTOMERS_WRITE, "POST", BATCHES, lambda: {"json": {"items": [{"id": "c-2"}]}}, 207),
    (Scope.DOCUMENTS_READ, "GET", f"{BASE}/documents", dict, 200),
    (Scope.DOCUMENTS_READ, "GET", f"{CUSTOMER}/documents", dict, 200),
    (Scope.DOCUMENTS_READ, "GET", f"{CUSTOMER}/documents/t", dict, 200),
    (Scope.DOCUMENTS_WRITE, "PUT", f"{CUSTOMER}/documents/t", upload_of, 200),
    (Scope.DOCUMENTS_WRITE, "PATCH", f"{CUSTOMER}/documents/t",
     lambda: {"json": {"field_values": {}}}, 200),
    (Scope.CONTENT_READ, "GET", f"{CUSTOMER}/documents/t/content", dict, 200),
    (Scope.GATE_READ, "GET", f"{CUSTOMER}/gate", dict, 200),
    (Scope.CUSTOMERS_ERASE, "GET", NO_ERASURE, dict, 404),
    (Scope.CUSTOMERS_ERASE, "DELETE", CUSTOMER, dict, 202),
]  # fmt: skip


class TestScopes:
    """What each scope of a key allows."""

    @pytest.fixture(autouse=True)
    async def document(self, admin: httpx.AsyncClient) -> None:
        """A customer c-1 with a file for type T."""
        await make_type(admin, "T")
        await make_customer(admin, "c-1")
        await admin.put("/v1/admin/customers/c-1/documents/t", **upload_of())

    @pytest.mark.req("R-113")
    @pytest.mark.parametrize("scope", list(Scope))
    async def test_scope_allows_only_its_operations(
        self, key_client: KeyClients, scope: Scope
    ) -> None:
        client = await key_client(scope)
        for needed, method, path, arguments, status in OPERATIONS:
            response = await client.request(method, path, **arguments())
            expected = status if needed is scope else 403
            assert response.status_code == expected, (method, path, response.text)
            if expected == 403:
                assert response.json()["code"] == "insufficient-scope"

    @pytest.mark.req("R-113")
    async def test_missing_scope_denies_its_operations(self, key_client: KeyClients) -> None:
        for missing in {needed for needed, *_ in OPERATIONS}:
            client = await key_client(*(set(Scope) - {missing}))
            for needed, method, path, arguments, _ in OPERATIONS:
                if needed is missing:
                    response = await client.request(method, path, **arguments())
                    assert response.status_code == 403, (method, path)

    @pytest.mark.req("R-112")
    async def test_request_without_key_is_rejected(
        self, http: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        for _, method, path, arguments, _ in OPERATIONS:
            for client in (http, admin):
                response = await client.request(method, path, **arguments())
                assert response.status_code == 401, (method, path)
                assert response.json()["code"] == "authentication-required"
                assert response.headers["www-authenticate"]

    @pytest.mark.req("R-112")
    async def test_key_in_other_place_is_ignored(
        self, http: httpx.AsyncClient, integration: httpx.AsyncClient
    ) -> None:
        key = integration.headers["x-api-key"]
        responses = [
            await http.get(CUSTOMER, params={"api_key": key}),
            await http.get(CUSTOMER, params={"X-API-Key": key}),
            await http.get(CUSTOMER, headers={"Authorization": f"Bearer {key}"}),
            await http.get("/v1/admin/customers", headers={"X-API-Key": key}),
            await http.get("/v1/customer/documents", headers={"X-API-Key": key}),
        ]
        assert [response.status_code for response in responses] == [401] * 5

    @pytest.mark.req("R-115", "R-035")
    async def test_admin_only_types_need_separate_scope(
        self, admin: httpx.AsyncClient, key_client: KeyClients
    ) -> None:
        await make_type(admin, "S", upload_mode="admin_only")
        path = f"{CUSTOMER}/documents/s"
        plain = await key_client(Scope.DOCUMENTS_WRITE)
        only = await key_client(Scope.DOCUMENTS_WRITE_ADMIN_ONLY)
        both = await key_client(Scope.DOCUMENTS_WRITE, Scope.DOCUMENTS_WRITE_ADMIN_ONLY)
        responses = [await client.put(path, **upload_of()) for client in (plain, only, both)]
        assert [response.status_code for response in responses] == [403, 403, 201]
        assert {response.json()["code"] for response in responses[:2]} == {"insufficient-scope"}


class TestList:
    """GET /v1/integration/customers."""

    @pytest.fixture(autouse=True)
    async def customers(self, admin: httpx.AsyncClient) -> None:
        """Anna with a file for type T, and Bert without."""
        await make_type(admin, "T", upload_mode="required")
        await make_customer(admin, "c-1", name="Anna", email="first@example.org", tags=["new"])
        await make_customer(admin, "c-2", name="Bert", email="second@example.org")
        await admin.put("/v1/admin/customers/c-1/documents/t", **upload_of())
        await patch_portal(admin, gate_enabled=True)

    @pytest.mark.req("B-170")
    @pytest.mark.parametrize(
        "parameters",
        [
            {}, {"sort": "-name"}, {"limit": 1}, {"include_total": True}, {"q": "Anna"},
            {"has_documents": False}, {"uploaded": "t"}, {"tag": "new"},
            {"sort": "-documents_changed_at"}, {"not_uploaded": "t"}, {"gate": "open"},
        ],
        ids=str,
    )  # fmt: skip
    async def test_page_is_that_of_staff(
        self,
        admin: httpx.AsyncClient,
        integration: httpx.AsyncClient,
        parameters: dict[str, Any],
    ) -> None:
        theirs = (await admin.get("/v1/admin/customers", params=parameters)).json()
        ours = (await integration.get(CUSTOMERS, params=parameters)).json()
        assert ours["items"]
        # A cursor belongs to one list.
        assert (theirs.pop("next_cursor") is None) == (ours.pop("next_cursor") is None)
        assert ours == theirs

    async def test_cursor_leads_to_the_next_page(self, integration: httpx.AsyncClient) -> None:
        first = (await integration.get(CUSTOMERS, params={"limit": 1})).json()
        parameters = {"limit": 1, "cursor": first["next_cursor"]}
        second = (await integration.get(CUSTOMERS, params=parameters)).json()
        assert [item["id"] for item in first["items"] + second["items"]] == ["c-1", "c-2"]
        assert second["next_cursor"] is None

    @pytest.mark.req("B-170")
    async def test_search_ignores_email(self, integration: httpx.AsyncClient) -> None:
        for search, found in (("first@", []), ("an", ["c-1"]), ("c-2", ["c-2"])):
            response = await integration.get(CUSTOMERS, params={"q": search})
            assert [item["id"] for item in response.json()["items"]] == found

    @pytest.mark.req("B-170")
    @pytest.mark.parametrize(
        ("parameters", "scope"),
        [
            ({"uploaded": "t"}, Scope.DOCUMENTS_READ),
            ({"not_uploaded": "t"}, Scope.DOCUMENTS_READ),
            ({"gate": "open"}, Scope.GATE_READ),
        ],
        ids=["uploaded", "not_uploaded", "gate"],
    )
    async def test_filter_needs_the_scope_of_what_it_discloses(
        self, key_client: KeyClients, parameters: dict[str, str], scope: Scope
    ) -> None:
        lacking = await key_client(*(set(Scope) - {scope}))
        refused = await lacking.get(CUSTOMERS, params=parameters)
        assert (refused.status_code, refused.json()["code"]) == (403, "insufficient-scope")
        sufficient = await key_client(Scope.CUSTOMERS_READ, scope)
        assert (await sufficient.get(CUSTOMERS, params=parameters)).status_code == 200


class TestSync:
    """PUT, PATCH and GET /v1/integration/customers/{id}."""

    async def test_put_creates_then_replaces(self, integration: httpx.AsyncClient) -> None:
        first = await integration.put(CUSTOMER, json={"name": "A", "tags": ["x"]})
        second = await integration.put(CUSTOMER, json={"email": "a@b.example"})
        read = (await integration.get(CUSTOMER)).json()
        assert (first.status_code, second.status_code) == (201, 200)
        assert (read["name"], read["email"], read["tags"]) == (None, "a@b.example", [])

    async def test_staff_see_synchronised_customer(
        self, admin: httpx.AsyncClient, integration: httpx.AsyncClient
    ) -> None:
        await integration.put(CUSTOMER, json={"name": "A"})
        read = await integration.get(CUSTOMER)
        seen = await admin.get("/v1/admin/customers/c-1")
        assert (read.json(), read.headers["etag"]) == (seen.json(), seen.headers["etag"])

    async def test_patch_clears_with_null(self, integration: httpx.AsyncClient) -> None:
        await integration.put(CUSTOMER, json={"name": "A", "email": "a@b.example"})
        patched = (await integration.patch(CUSTOMER, json={"name": None})).json()
        assert (patched["name"], patched["email"]) == (None, "a@b.example")

    @pytest.mark.req("R-116", "A-33")
    async def test_unknown_customer_differs_from_customer_without_documents(
        self, admin: httpx.AsyncClient, integration: httpx.AsyncClient
    ) -> None:
        await make_type(admin, "T", upload_mode="required")
        await make_customer(admin, "c-1")
        for rest in ("", "/documents", "/gate", "/documents/t"):
            known = await integration.get(f"{CUSTOMER}{rest}")
            unknown = await integration.get(f"{CUSTOMERS}/unknown{rest}")
            assert known.status_code == 200, rest
            assert (unknown.status_code, unknown.json()["code"]) == (404, "customer-not-found")


class TestBatch:
    """POST /v1/integration/customer-batches."""

    async def test_items_are_created_or_replaced_in_order(
        self, admin: httpx.AsyncClient, integration: httpx.AsyncClient
    ) -> None:
        await make_customer(admin, "c-2", name="Old", email="old@x.example")
        items = [{"id": "c-3", "name": "C"}, {"id": "c-2", "name": "B"}, {"id": "c-1"}]
        response = await integration.post(BATCHES, json={"items": items})
        assert response.status_code == 207
        assert response.json()["items"] == [
            {"id": "c-3", "status": 201, "problem": None},
            {"id": "c-2", "status": 200, "problem": None},
            {"id": "c-1", "status": 201, "problem": None},
        ]
        read = (await integration.get(f"{CUSTOMERS}/c-2")).json()
        assert (read["name"], read["email"]) == ("B", None)

    async def test_rejected_item_does_not_stop_others(
        self, admin: httpx.AsyncClient, integration: httpx.AsyncClient
    ) -> None:
        await make_customer(admin, "c-2")
        await admin.delete("/v1/admin/customers/c-2")
        items = [{"id": "c-1"}, {"id": "c-2"}, {"id": "c-3"}]
        response = await integration.post(BATCHES, json={"items": items})
        results = response.json()["items"]
        assert [result["status"] for result in results] == [201, 409, 201]
        problem = results[1]["problem"]
        assert (problem["code"], problem["status"]) == ("customer-being-erased", 409)
        assert problem["instance"] == f"urn:uuid:{response.headers['x-request-id']}"
        assert (await integration.get(f"{CUSTOMERS}/c-3")).status_code == 200

    async def test_batch_is_limited_to_five_hundred(
        self, admin: httpx.AsyncClient, integration: httpx.AsyncClient
    ) -> None:
        items = [{"id": f"c-{number}"} for number in range(501)]
        rejected = await integration.post(BATCHES, json={"items": items})
        assert rejected.status_code == 422
        assert rejected.json()["errors"][0]["pointer"] == "/items"
        response = await integration.post(BATCHES, json={"items": items[:500]})
        assert response.status_code == 207
        page = await admin.get("/v1/admin/customers", params={"include_total": "true"})
        assert page.json()["total"] == 500

    async def test_five_hundred_longest_items_fit(self, integration: httpx.AsyncClient) -> None:
        items = [
            {"id": f"c-{number}".ljust(128, "x"), "name": "é" * 200, "email": "x" * 318 + "@x"}
            for number in range(500)
        ]
        response = await integration.post(BATCHES, json={"items": items})
        assert response.status_code == 207
        assert {result["status"] for result in response.json()["items"]} == {201}

    async def test_invalid_batch_is_rejected_as_a_whole(
        self, admin: httpx.AsyncClient, integration: httpx.AsyncClient
    ) -> None:
        table: list[tuple[Any, str]] = [
            ({}, "/items"),
            ({"items": []}, "/items"),
            ({"items": [{"id": "c-1"}, {"id": "c-1"}]}, "/items"),
            ({"items": [{"id": "c-1"}, {"id": "a b"}]}, "/items/1/id"),
            ({"items": [{"id": "c-1", "nope": 1}]}, "/items/0/nope"),
            ({"items": [{"name": "A"}]}, "/items/0/id"),
            ({"items": [{"id": "c-1"}], "nope": 1}, "/nope"),
        ]
        for body, pointer in table:
            response = await integration.post(BATCHES, json=body)
            assert response.status_code == 422, body
            assert response.json()["errors"][0]["pointer"] == pointer
        assert (await admin.get("/v1/admin/customers")).json()["items"] == []

    async def test_repeated_request_is_replayed(
        self, admin: httpx.AsyncClient, integration: httpx.AsyncClient
    ) -> None:
        headers = {"Idempotency-Key": "k-1"}
        body = {"items": [{"id": "c-1", "name": "A"}]}
        first = await integration.post(BATCHES, json=body, headers=headers)
        await admin.patch("/v1/admin/customers/c-1", json={"name": "B"})
        again = await integration.post(BATCHES, json=body, headers=headers)
        other = await integration.post(BATCHES, json={"items": [{"id": "c-2"}]}, headers=headers)
        assert (again.status_code, again.json()) == (207, first.json())
        assert (await integration.get(CUSTOMER)).json()["name"] == "B"
        assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")


@pytest.mark.req("B-100")
@pytest.mark.parametrize("control", CONTROLS)
async def test_control_characters_are_rejected(key_client: KeyClients, control: str) -> None:
    key = await key_client(Scope.CUSTOMERS_READ, Scope.CUSTOMERS_WRITE)
    for member, value, place in [
        ("name", f"a{control}b", ""),
        ("email", f"a{control}@example.org", ""),
        ("tags", ["a", f"a{control}b"], "/1"),
    ]:
        one = await key.put(CUSTOMER, json={member: value})
        assert one.status_code == 422
        assert one.json()["errors"][0]["pointer"] == f"/{member}{place}"
        batch = await key.post(
            BATCHES, json={"items": [{"id": "c-1"}, {"id": "c-2", member: value}]}
        )
        assert batch.status_code == 422
        assert batch.json()["errors"][0]["pointer"] == f"/items/1/{member}{place}"
    assert (await key.get(CUSTOMER)).status_code == 404
