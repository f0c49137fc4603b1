"""Tags and times of changes in the list of customers."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from tests.factories.setups import make_customer, make_type, upload_of

CUSTOMERS = "/v1/admin/customers"
DOCUMENT = f"{CUSTOMERS}/c-1/documents/form"

Change = Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]


async def ids_of(admin: httpx.AsyncClient, **parameters: Any) -> list[str]:
    response = await admin.get(CUSTOMERS, params=parameters)
    assert response.status_code == 200, response.text
    return [item["id"] for item in response.json()["items"]]


class TestTags:
    """The filter by tags."""

    @pytest.fixture(autouse=True)
    async def customers(self, admin: httpx.AsyncClient) -> None:
        """Customers with some of three tags."""
        await make_type(admin, "Form", upload_mode="required")
        await make_customer(admin, "c-1", tags=["shop", "new"], name="Anna")
        await make_customer(admin, "c-2", tags=["shop"], name="Bert")
        await make_customer(admin, "c-3", tags=["Shop", "50 % off, {'a'}"], name="Cees")
        await make_customer(admin, "c-4", name="Dirk")
        await admin.put(DOCUMENT, **upload_of())

    @pytest.mark.req("B-174")
    @pytest.mark.parametrize(
        ("parameters", "expected"),
        [
            ({"tag": "shop"}, ["c-1", "c-2"]),
            ({"tag": ["shop", "new"]}, ["c-1"]),
            ({"tag": ["shop", "shop"]}, ["c-1", "c-2"]),
            ({"tag": ["shop", "Shop"]}, []),
            ({"tag": "50 % off, {'a'}"}, ["c-3"]),
            ({"tag": "sho"}, []),
            ({"tag": ""}, []),
            ({"tag": "shop", "sort": "-name"}, ["c-2", "c-1"]),
            ({"tag": "shop", "uploaded": "form"}, ["c-1"]),
            ({"tag": "shop", "has_documents": "false"}, ["c-2"]),
            ({"tag": "shop", "q": "bert"}, ["c-2"]),
            ({"tag": "new", "q": "bert"}, []),
        ],
        ids=str,
    )
    async def test_only_customers_with_every_tag_are_listed(
        self, admin: httpx.AsyncClient, parameters: dict[str, Any], expected: list[str]
    ) -> None:
        assert await ids_of(admin, **parameters) == expected
        total = {**parameters, "include_total": "true"}
        assert (await admin.get(CUSTOMERS, params=total)).json()["total"] == len(expected)

    @pytest.mark.req("B-174")
    async def test_pages_keep_the_filter(self, admin: httpx.AsyncClient) -> None:
        first = (await admin.get(CUSTOMERS, params={"tag": "shop", "limit": 1})).json()
        cursor = first["next_cursor"]
        assert await ids_of(admin, tag="shop", limit=1, cursor=cursor) == ["c-2"]

    async def test_too_many_tags_are_rejected(self, admin: httpx.AsyncClient) -> None:
        response = await admin.get(CUSTOMERS, params={"tag": ["shop"] * 21})
        assert response.status_code == 422


class TestDocumentChanges:
    """`documents_changed_at` and `last_uploaded_at`."""

    @pytest.fixture(autouse=True)
    async def customer(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "Form", collects_fields=True, fields=[{"label": "No"}])
        await make_customer(admin, "c-1")

    async def times(self, admin: httpx.AsyncClient) -> tuple[str, str | None, str]:
        customer = (await admin.get(f"{CUSTOMERS}/c-1")).json()
        names = ("documents_changed_at", "last_uploaded_at", "created_at")
        changed, uploaded, created = (customer[name] for name in names)
        return changed, uploaded, created

    @pytest.mark.req("B-175")
    async def test_each_change_of_a_document_sets_its_time(self, admin: httpx.AsyncClient) -> None:
        changes: list[tuple[Change, bool]] = [
            (lambda admin: admin.patch(DOCUMENT, json={"field_values": {"no": "1"}}), False),
            (lambda admin: admin.put(DOCUMENT, **upload_of()), True),
            (lambda admin: admin.put(DOCUMENT, **upload_of()), True),
            (lambda admin: admin.patch(DOCUMENT, json={"field_values": {"no": "2"}}), False),
            (lambda admin: admin.delete(DOCUMENT), False),
        ]
        changed, uploaded, created = await self.times(admin)
        assert (changed, uploaded) == (created, None)
        for number, (change, is_upload) in enumerate(changes):
            assert (await change(admin)).is_success, number
            before, changed = changed, (await self.times(admin))[0]
            assert changed > before, number
            last, uploaded = uploaded, (await self.times(admin))[1]
            assert (uploaded != last) is is_upload, number
            if is_upload:
                assert uploaded == changed

    @pytest.mark.req("B-175")
    async def test_other_changes_leave_it(self, admin: httpx.AsyncClient) -> None:
        before = await self.times(admin)
        assert (await admin.patch(f"{CUSTOMERS}/c-1", json={"name": "Anna"})).is_success
        # The value is the same.
        assert (await admin.patch(DOCUMENT, json={"field_values": {"no": None}})).is_success
        assert (await admin.put(f"{CUSTOMERS}/c-1/documents/nothing", **upload_of())).is_error
        assert await self.times(admin) == before

    @pytest.mark.req("B-175")
    async def test_customers_are_sorted_by_it(self, admin: httpx.AsyncClient) -> None:
        await make_customer(admin, "c-2")
        await make_customer(admin, "c-3")
        await admin.put(f"{CUSTOMERS}/c-2/documents/form", **upload_of())
        await admin.put(DOCUMENT, **upload_of())
        expected = ["c-1", "c-2", "c-3"]
        assert await ids_of(admin, sort="-documents_changed_at") == expected
        assert await ids_of(admin, sort="documents_changed_at") == expected[::-1]
        for parameters in ({"uploaded": "form"}, {"has_documents": "true"}):
            found = await ids_of(admin, sort="-documents_changed_at", **parameters)
            assert found == ["c-1", "c-2"]
        first = await admin.get(CUSTOMERS, params={"sort": "-documents_changed_at", "limit": 1})
        cursor = first.json()["next_cursor"]
        found = await ids_of(admin, sort="-documents_changed_at", limit=1, cursor=cursor)
        assert found == ["c-2"]

    @pytest.mark.req("B-177")
    async def test_customers_are_sorted_by_last_upload_those_without_first(
        self, admin: httpx.AsyncClient
    ) -> None:
        for number in (2, 3, 4):
            await make_customer(admin, f"c-{number}")
        for number in (2, 1):
            await admin.put(f"{CUSTOMERS}/c-{number}/documents/form", **upload_of())
        await admin.delete(f"{CUSTOMERS}/c-2/documents/form")
        expected = ["c-3", "c-4", "c-2", "c-1"]
        assert await ids_of(admin, sort="last_uploaded_at") == expected
        assert await ids_of(admin, sort="-last_uploaded_at") == expected[::-1]
        for filter_ in ({"has_documents": "true"}, {"q": "c-1"}):
            assert await ids_of(admin, sort="last_uploaded_at", **filter_) == ["c-1"]
        for sort, order in (("last_uploaded_at", expected), ("-last_uploaded_at", expected[::-1])):
            found: list[str] = []
            cursor: dict[str, str] = {}
            for _ in expected:
                parameters = {"sort": sort, "limit": "1", **cursor}
                page = (await admin.get(CUSTOMERS, params=parameters)).json()
                found += [item["id"] for item in page["items"]]
                cursor = {"cursor": page["next_cursor"]}
            assert found == order
            assert cursor == {"cursor": None}


class TestSearch:
    """`q`."""

    @pytest.fixture(autouse=True)
    async def customers(self, admin: httpx.AsyncClient) -> None:
        names = {
            "c-1": "Anna de Vries-Bakker",
            "c-2": "Bakkerij Ånn's 50% (NL)",
            "c-3": "Jan\u00a0O\u2019Neill",
            "c-4": "王小明 Łukasz",
            "nl-bakker": None,
        }
        for id_, name in names.items():
            mail = "x.bakker@example.org" if id_ == "c-4" else None
            await make_customer(admin, id_, name=name, email=mail)

    @pytest.mark.req("B-176")
    @pytest.mark.parametrize(
        ("search", "expected"),
        [
            ("bakker", ["c-1", "c-2"]),
            ("VRIES-bak", ["c-1"]),
            ("de vries", ["c-1"]),
            ("anna vries", []),
            ("akker", []),
            ("ånn", ["c-2"]),
            ("ann", ["c-1"]),
            ("s 50%", ["c-2"]),
            ("nl", ["c-2", "nl-bakker"]),
            ("neill", ["c-3"]),
            ("łuk", ["c-4"]),
            ("王", ["c-4"]),
            ("小明", []),
            ("x.bakker@", ["c-4"]),
            ("^", []),
            ("[a-z]", []),
            (".*", []),
            ("\\", []),
        ],
    )
    async def test_any_word_of_a_name_is_found_by_its_beginning(
        self, admin: httpx.AsyncClient, search: str, expected: list[str]
    ) -> None:
        for sort in ("created_at", "name", "last_uploaded_at"):
            assert sorted(await ids_of(admin, q=search, sort=sort)) == expected, sort
        parameters = {"q": search, "include_total": "true"}
        assert (await admin.get(CUSTOMERS, params=parameters)).json()["total"] == len(expected)

    @pytest.mark.req("B-176")
    async def test_changed_name_is_found_by_its_new_words_only(
        self, admin: httpx.AsyncClient
    ) -> None:
        await admin.patch(f"{CUSTOMERS}/c-1", json={"name": "Anna Smit"})
        assert await ids_of(admin, q="smit") == ["c-1"]
        assert await ids_of(admin, q="vries") == []
        await admin.patch(f"{CUSTOMERS}/c-1", json={"name": None})
        assert await ids_of(admin, q="smit") == []

    @pytest.mark.req("B-176")
    async def test_longest_name_and_search_are_accepted(self, admin: httpx.AsyncClient) -> None:
        for name in ("\U00020000" * 200, "a " * 100, "İ" * 200, "." * 200):
            assert (await admin.put(f"{CUSTOMERS}/{'i' * 128}", json={"name": name})).is_success
            assert await ids_of(admin, q=name) == ["i" * 128]
