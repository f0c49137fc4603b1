"""The list of documents across customers, for staff and third parties."""

import json
from typing import Any

import httpx
import pytest
from tests.factories.setups import make_customer, make_type, patch_type, upload_of
from tests.fixtures.callers import CustomerClients

STAFF = "/v1/admin/documents"
PARTNER = "/v1/integration/documents"


@pytest.fixture
async def documents(
    admin: httpx.AsyncClient, customer_of: CustomerClients, integration: httpx.AsyncClient
) -> None:
    """Five documents of three customers; the first upload was replaced, the last lacks a value."""
    await make_type(admin, "Passport")
    await make_type(admin, "Form", collects_fields=True, fields=[{"label": "No", "required": True}])
    for customer in ("c-1", "c-2", "c-3"):
        await make_customer(admin, customer)
    values: dict[str, Any] = {"field_values": json.dumps({"no": "1"})}
    for client, path, fields in (
        (customer_of("c-1"), "/v1/customer/documents/passport", {}),
        (admin, "/v1/admin/customers/c-2/documents/form", values),
        (customer_of("c-2"), "/v1/customer/documents/passport", {}),
        (customer_of("c-1"), "/v1/customer/documents/passport", {}),
        (integration, "/v1/integration/customers/c-3/documents/passport", {}),
        (customer_of("c-3"), "/v1/customer/documents/form", {}),
    ):
        assert (await client.put(path, **upload_of(**fields))).is_success


async def listed(client: httpx.AsyncClient, path: str, **parameters: Any) -> list[str]:
    """Return customer and type of each document of a page."""
    response = await client.get(path, params=parameters)
    assert response.status_code == 200, response.text
    return [f"{item['customer_id']} {item['type']['key']}" for item in response.json()["items"]]


EVERYTHING = ["c-3 form", "c-3 passport", "c-1 passport", "c-2 passport", "c-2 form"]


@pytest.mark.usefixtures("documents")
class TestList:
    """GET /v1/admin/documents and /v1/integration/documents."""

    @pytest.mark.req("B-172")
    async def test_documents_of_all_customers_are_listed_newest_first(
        self, admin: httpx.AsyncClient, integration: httpx.AsyncClient
    ) -> None:
        assert await listed(admin, STAFF) == EVERYTHING
        assert await listed(integration, PARTNER) == EVERYTHING

    @pytest.mark.req("B-172", "B-179")
    async def test_item_is_the_document_with_its_customer_and_tag(
        self, admin: httpx.AsyncClient, integration: httpx.AsyncClient
    ) -> None:
        for client, path in ((admin, STAFF), (integration, PARTNER)):
            for item in (await client.get(path)).json()["items"]:
                customer, key = item.pop("customer_id"), item["type"]["key"]
                customers = path.replace("documents", "customers")
                document = await client.get(f"{customers}/{customer}/documents/{key}")
                assert item.pop("etag") == document.headers["ETag"]
                assert item == document.json()

    @pytest.mark.req("B-173")
    @pytest.mark.parametrize(
        ("parameters", "expected"),
        [
            ({"document_type": "form"}, ["c-3 form", "c-2 form"]),
            ({"status": "incomplete"}, ["c-3 form"]),
            ({"status": "accepted"}, EVERYTHING[1:]),
            ({"uploaded_by": "customer"}, ["c-3 form", "c-1 passport", "c-2 passport"]),
            ({"uploaded_by": "admin"}, ["c-2 form"]),
            ({"uploaded_by": "integration"}, ["c-3 passport"]),
            ({"customer": "c-2"}, ["c-2 passport", "c-2 form"]),
            ({"customer": "c-2", "document_type": "passport"}, ["c-2 passport"]),
            ({"document_type": "passport", "uploaded_by": "customer"}, EVERYTHING[2:4]),
            ({"uploaded_since": "2020-01-01T00:00:00Z"}, EVERYTHING),
            ({"uploaded_since": "2099-01-01T00:00:00Z"}, []),
            ({"customer": "nobody"}, []),
        ],
        ids=str,
    )  # fmt: skip
    async def test_filters_narrow_each_other(
        self,
        admin: httpx.AsyncClient,
        integration: httpx.AsyncClient,
        parameters: dict[str, str],
        expected: list[str],
    ) -> None:
        assert await listed(admin, STAFF, **parameters) == expected
        assert await listed(integration, PARTNER, **parameters) == expected

    @pytest.mark.req("B-173")
    async def test_time_of_an_upload_is_included(self, admin: httpx.AsyncClient) -> None:
        items = (await admin.get(STAFF)).json()["items"]
        times = [item["uploaded_at"] for item in items]
        assert times == sorted(times, reverse=True)
        for number, time in enumerate(times, start=1):
            assert await listed(admin, STAFF, uploaded_since=time) == EVERYTHING[:number]

    @pytest.mark.req("B-173")
    async def test_status_follows_the_requested_fields(self, admin: httpx.AsyncClient) -> None:
        await patch_type(admin, "form", collects_fields=False)
        assert await listed(admin, STAFF, status="incomplete") == []
        await patch_type(
            admin, "passport", collects_fields=True, fields=[{"label": "X", "required": True}]
        )
        assert await listed(admin, STAFF, status="incomplete") == EVERYTHING[1:4]

    @pytest.mark.req("B-172")
    async def test_only_staff_see_archived_types(
        self, admin: httpx.AsyncClient, integration: httpx.AsyncClient
    ) -> None:
        await patch_type(admin, "passport", archived=True)
        assert await listed(admin, STAFF) == EVERYTHING
        assert await listed(integration, PARTNER) == ["c-3 form", "c-2 form"]
        assert await listed(integration, PARTNER, document_type="passport") == []
        assert await listed(integration, PARTNER, customer="c-1") == []

    @pytest.mark.req("B-172")
    async def test_deleted_documents_and_erased_customers_are_not_listed(
        self, admin: httpx.AsyncClient
    ) -> None:
        await admin.delete("/v1/admin/customers/c-3/documents/form")
        await admin.delete("/v1/admin/customers/c-2")
        assert await listed(admin, STAFF) == ["c-3 passport", "c-1 passport"]
        assert await listed(admin, STAFF, customer="c-2") == []
        assert await listed(admin, STAFF, document_type="form") == []

    @pytest.mark.req("B-172")
    async def test_cursor_leads_to_the_next_page(self, admin: httpx.AsyncClient) -> None:
        found: list[str] = []
        cursor: dict[str, str] = {}
        for _ in EVERYTHING:
            page = (await admin.get(STAFF, params={"limit": 2, **cursor})).json()
            found += [f"{item['customer_id']} {item['type']['key']}" for item in page["items"]]
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert found == EVERYTHING
        # A cursor belongs to one list.
        response = await admin.get(STAFF, params={**cursor, "status": "accepted"})
        assert response.json()["code"] == "invalid-cursor"

    async def test_unknown_type_is_rejected(self, admin: httpx.AsyncClient) -> None:
        response = await admin.get(STAFF, params={"document_type": "nothing"})
        assert (response.status_code, response.json()["code"]) == (422, "unknown-filter-type")
        assert response.json()["errors"][0]["parameter"] == "document_type"

    async def test_invalid_value_is_rejected(self, admin: httpx.AsyncClient) -> None:
        for name, value in (
            ("status", "missing"),
            ("uploaded_by", "nobody"),
            ("uploaded_since", "yesterday"),
            ("customer", ""),
            ("limit", 101),
            ("include_total", "true"),
        ):
            response = await admin.get(STAFF, params={name: value})
            assert response.status_code == 422, name
            assert response.json()["errors"][0]["parameter"] == name


@pytest.mark.usefixtures("documents")
class TestTags:
    """`etag` of each document in the list of a customer."""

    @pytest.mark.req("B-179")
    async def test_change_with_the_tag_of_the_list_succeeds_once(
        self,
        admin: httpx.AsyncClient,
        integration: httpx.AsyncClient,
        customer_of: CustomerClients,
    ) -> None:
        for client, path in (
            (admin, "/v1/admin/customers/c-3/documents"),
            (integration, "/v1/integration/customers/c-3/documents"),
            (customer_of("c-3"), "/v1/customer/documents"),
        ):
            for item in (await client.get(path)).json()["items"]:
                document = f"{path}/{item['type']['key']}"
                condition = {"If-Match": item["etag"]}
                assert (await client.get(document)).headers["ETag"] == item["etag"]
                changed = await client.put(document, **upload_of(), headers=condition)
                assert changed.is_success
                again = await client.put(document, **upload_of(), headers=condition)
                assert again.status_code == 412
