"""Customers, as staff manage and search them."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from tests.factories.setups import make_customer, make_type, patch_portal, patch_type, upload_of
from tests.factories.strings import CONTROLS
from tests.fixtures.callers import CustomerClients
from tests.fixtures.statements import sent_statements

from docvault.db.tables import CustomerRow, new_id
from docvault.repositories.customers import CustomerRepository
from docvault.services.erasures import finish_erasures
from docvault.services.resources import Resources

CUSTOMERS = "/v1/admin/customers"
WRONG_EMAILS = [
    "", "nope", "@", "a@", "@b", "a@@b", "a@b@c", "a b@c", "a@b c", "a@.b", "a@b.", "a@b..c",
    "a\n@b",
]  # fmt: skip


async def ids_of(admin: httpx.AsyncClient, **params: Any) -> list[str]:
    """Return the ids of the listed customers."""
    response = await admin.get(CUSTOMERS, params=params)
    assert response.status_code == 200, response.text
    return [item["id"] for item in response.json()["items"]]


async def fill(admin: httpx.AsyncClient, customer: str, *keys: str) -> None:
    """Upload a file for each document."""
    for key in keys:
        response = await admin.put(f"{CUSTOMERS}/{customer}/documents/{key}", **upload_of())
        assert response.status_code in {200, 201}, response.text


def first_error(response: httpx.Response) -> tuple[int, str | None, str | None]:
    """Return the status, and the pointer and parameter of the first error."""
    error = response.json()["errors"][0]
    return response.status_code, error["pointer"], error["parameter"]


class TestCreate:
    """POST /v1/admin/customers."""

    async def test_id_is_sufficient(self, admin: httpx.AsyncClient) -> None:
        response = await admin.post(CUSTOMERS, json={"id": "c-1"})
        created = response.json()
        assert response.status_code == 201
        assert created.pop("documents_changed_at") == created.pop("created_at")
        del created["updated_at"]
        assert created.pop("pseudonym").startswith("anon-")
        assert created == {
            "id": "c-1",
            "name": None,
            "email": None,
            "tags": [],
            "has_documents": False,
            "documents": {"uploaded": 0, "missing": 0, "required_missing": 0},
            "last_uploaded_at": None,
        }

    async def test_location_header_points_to_customer(self, admin: httpx.AsyncClient) -> None:
        members = {"id": "c-1", "name": "A. Bakker", "email": "a@b.example", "tags": ["x", "y"]}
        response = await admin.post(CUSTOMERS, json=members)
        read = await admin.get(response.headers["location"])
        assert read.json() == response.json()
        assert {name: read.json()[name] for name in members} == members

    async def test_duplicate_id_conflicts(self, admin: httpx.AsyncClient) -> None:
        await make_customer(admin, "c-1", name="Old")
        response = await admin.post(CUSTOMERS, json={"id": "c-1", "name": "New"})
        assert (response.status_code, response.json()["code"]) == (409, "customer-exists")
        assert (await admin.get(f"{CUSTOMERS}/c-1")).json()["name"] == "Old"

    @pytest.mark.req("R-003", "R-008")
    async def test_all_active_types_are_required_immediately(
        self, admin: httpx.AsyncClient
    ) -> None:
        for name in ("A", "B"):
            await make_type(admin, name, upload_mode="required")
        await make_type(admin, "Old")
        await patch_type(admin, "old", archived=True)
        created = (await admin.post(CUSTOMERS, json={"id": "c-1"})).json()
        assert created["documents"] == {"uploaded": 0, "missing": 2, "required_missing": 2}
        items = (await admin.get(f"{CUSTOMERS}/c-1/documents")).json()["items"]
        assert [(i["type"]["key"], i["upload_state"]) for i in items] == [
            ("a", "missing"),
            ("b", "missing"),
        ]

    async def test_out_of_range_value_is_rejected_with_pointer(
        self, admin: httpx.AsyncClient
    ) -> None:
        table: list[tuple[str, Any]] = [
            ("id", None),
            ("id", ""),
            ("id", "a b"),
            ("id", "a/b"),
            ("id", "."),
            ("id", ".."),
            ("id", "é"),
            ("id", "c-1\n"),
            ("id", "a" * 129),
            ("id", 5),
            ("name", "x" * 201),
            ("name", 5),
            ("name", "a\0b"),
            *[("name", f"a{control}b") for control in CONTROLS],
            *[("tags", [f"a{control}b"]) for control in CONTROLS],
            ("email", "a" * 310 + "@example.org"),
            *[("email", wrong) for wrong in WRONG_EMAILS],
            ("tags", ["x"] * 51),
            ("tags", ["x" * 101]),
            ("tags", [""]),
            ("tags", "x"),
            ("tags", [5]),
        ]
        for member, value in table:
            response = await admin.post(CUSTOMERS, json={"id": "c-1", member: value})
            status, pointer, _ = first_error(response)
            assert status == 422, (member, value)
            assert str(pointer).startswith(f"/{member}"), (member, value)
        assert await ids_of(admin) == []

    @pytest.mark.parametrize("member", ["has_documents", "created_at", "documents", "nope"])
    async def test_server_managed_members_are_rejected(
        self, admin: httpx.AsyncClient, member: str
    ) -> None:
        response = await admin.post(CUSTOMERS, json={"id": "c-1", member: True})
        assert first_error(response) == (422, f"/{member}", None)


@pytest.mark.parametrize(
    "email",
    [
        "a@b",
        "a.b+c@example.org",
        "O'Brien@sub.example.org",
        "müller@bücher.example",
        "用户@例子.公司",
    ],
)
async def test_email_address_is_kept(admin: httpx.AsyncClient, email: str) -> None:
    await make_customer(admin, "c-1", email=email)
    assert (await admin.get(f"{CUSTOMERS}/c-1")).json()["email"] == email


class TestIds:
    """The id in /v1/admin/customers/{id}."""

    async def test_every_allowed_character_works(self, admin: httpx.AsyncClient) -> None:
        for id_ in ("a@b.example", "a|1", "auth0:5", "x=y", "a+b", "~._-", "...", ".a", "x" * 128):
            await make_customer(admin, id_)
            assert (await admin.get(f"{CUSTOMERS}/{id_}")).json()["id"] == id_

    async def test_escaped_id_equals_unescaped_id(self, admin: httpx.AsyncClient) -> None:
        await make_customer(admin, "a@b.example")
        assert (await admin.get(f"{CUSTOMERS}/a%40b%2Eexample")).json()["id"] == "a@b.example"

    async def test_id_is_case_sensitive(self, admin: httpx.AsyncClient) -> None:
        await make_customer(admin, "c-1")
        assert (await admin.get(f"{CUSTOMERS}/C-1")).status_code == 404

    async def test_path_built_from_id_resolves(self, admin: httpx.AsyncClient) -> None:
        response = await admin.post(CUSTOMERS, json={"id": "a@b+c|d=e:f~g"})
        read = await admin.get(response.headers["location"])
        assert read.json()["id"] == "a@b+c|d=e:f~g"

    @pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
    async def test_invalid_id_is_rejected(self, admin: httpx.AsyncClient, method: str) -> None:
        body: dict[str, Any] = {"json": {}} if method in {"PUT", "PATCH"} else {}
        for escaped in ("%2E", "%2E%2E", "a%20b", "%C3%A9", "c-1%0A", "x" * 129, "a%00b", "a*"):
            response = await admin.request(method, f"{CUSTOMERS}/{escaped}", **body)
            assert first_error(response) == (422, None, "id"), escaped

    async def test_encoded_slash_does_not_match_route(self, admin: httpx.AsyncClient) -> None:
        response = await admin.put(f"{CUSTOMERS}/a%2Fb", json={})
        assert (response.status_code, response.json()["code"]) == (404, "not-found")
        assert await ids_of(admin) == []


class TestRead:
    """GET /v1/admin/customers/{id}."""

    @pytest.mark.req("R-116")
    async def test_unknown_customer_is_not_found(self, admin: httpx.AsyncClient) -> None:
        for rest in ("", "/summary", "/gate", "/documents", "/documents/t"):
            response = await admin.get(f"{CUSTOMERS}/unknown{rest}")
            assert (response.status_code, response.json()["code"]) == (404, "customer-not-found"), (
                rest
            )

    async def test_etag_covers_the_counts(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "T")
        await make_customer(admin, "c-1")
        etag = (await admin.get(f"{CUSTOMERS}/c-1")).headers["etag"]
        headers = {"If-None-Match": etag}
        assert (await admin.get(f"{CUSTOMERS}/c-1", headers=headers)).status_code == 304
        await fill(admin, "c-1", "t")
        assert (await admin.get(f"{CUSTOMERS}/c-1", headers=headers)).status_code == 200


class TestPut:
    """PUT /v1/admin/customers/{id}."""

    async def test_put_creates_then_replaces(self, admin: httpx.AsyncClient) -> None:
        first = await admin.put(f"{CUSTOMERS}/c-1", json={"name": "A", "tags": ["x"]})
        second = await admin.put(f"{CUSTOMERS}/c-1", json={"email": "a@b.example"})
        assert (first.status_code, second.status_code) == (201, 200)
        read = (await admin.get(f"{CUSTOMERS}/c-1")).json()
        assert (read["name"], read["email"], read["tags"]) == (None, "a@b.example", [])
        assert read["created_at"] == first.json()["created_at"] < read["updated_at"]

    async def test_put_keeps_documents(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "T")
        await make_customer(admin, "c-1")
        await fill(admin, "c-1", "t")
        replaced = (await admin.put(f"{CUSTOMERS}/c-1", json={})).json()
        assert replaced["has_documents"] is True

    async def test_if_none_match_star_only_creates(self, admin: httpx.AsyncClient) -> None:
        headers = {"If-None-Match": "*"}
        statuses = [
            (await admin.put(f"{CUSTOMERS}/c-1", json={"name": name}, headers=headers)).status_code
            for name in ("A", "B")
        ]
        assert statuses == [201, 412]
        assert (await admin.get(f"{CUSTOMERS}/c-1")).json()["name"] == "A"

    async def test_if_match_replaces_only_matching_version(self, admin: httpx.AsyncClient) -> None:
        headers = {"If-Match": "*"}
        absent = await admin.put(f"{CUSTOMERS}/c-1", json={}, headers=headers)
        assert (await admin.get(f"{CUSTOMERS}/c-1")).status_code == 404
        await make_customer(admin, "c-1")
        etag = (await admin.get(f"{CUSTOMERS}/c-1")).headers["etag"]
        statuses = [
            (
                await admin.put(f"{CUSTOMERS}/c-1", json={"name": name}, headers={"If-Match": etag})
            ).status_code
            for name in ("A", "B")
        ]
        assert [absent.status_code, *statuses] == [412, 200, 412]
        assert (await admin.get(f"{CUSTOMERS}/c-1")).json()["name"] == "A"

    async def test_customer_erased_during_put_is_created_anew(
        self, admin: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The row is deleted between the lookup and the lock."""
        await make_customer(admin, "c-1")
        find = CustomerRepository.find

        async def find_and_erase(self: CustomerRepository, external_id: str) -> Any:
            monkeypatch.setattr(CustomerRepository, "find", find)
            found = await find(self, external_id)
            assert (await admin.delete(f"{CUSTOMERS}/c-1")).status_code == 202
            await finish_erasures(resources)
            return found

        monkeypatch.setattr(CustomerRepository, "find", find_and_erase)
        response = await admin.put(f"{CUSTOMERS}/c-1", json={"name": "A"})
        assert (response.status_code, response.json()["name"]) == (201, "A")

    async def test_concurrent_puts_create_one_customer(self, admin: httpx.AsyncClient) -> None:
        puts = (admin.put(f"{CUSTOMERS}/c-1", json={"name": f"N{n}"}) for n in range(8))
        responses = await asyncio.gather(*puts)
        assert sorted(response.status_code for response in responses) == [200] * 7 + [201]

    async def test_id_in_body_is_rejected(self, admin: httpx.AsyncClient) -> None:
        response = await admin.put(f"{CUSTOMERS}/c-1", json={"id": "c-2"})
        assert first_error(response) == (422, "/id", None)


class TestPatch:
    """PATCH /v1/admin/customers/{id}."""

    async def test_absent_member_is_kept_and_null_clears(self, admin: httpx.AsyncClient) -> None:
        await make_customer(admin, "c-1", name="A", email="a@b.example", tags=["x"])
        first = await admin.patch(f"{CUSTOMERS}/c-1", json={"email": None})
        assert first.json()["name"] == "A"
        assert first.json()["email"] is None
        assert first.json()["tags"] == ["x"]
        second = await admin.patch(f"{CUSTOMERS}/c-1", json={"name": None, "tags": None})
        assert (second.json()["name"], second.json()["tags"]) == (None, [])

    async def test_merge_patch_content_type_is_accepted(self, admin: httpx.AsyncClient) -> None:
        await make_customer(admin, "c-1")
        headers = {"Content-Type": "application/merge-patch+json"}
        response = await admin.patch(f"{CUSTOMERS}/c-1", content=b'{"name": "B"}', headers=headers)
        assert (response.status_code, response.json()["name"]) == (200, "B")

    async def test_mismatched_etag_is_rejected(self, admin: httpx.AsyncClient) -> None:
        await make_customer(admin, "c-1", name="A")
        headers = {"If-Match": '"nope"'}
        response = await admin.patch(f"{CUSTOMERS}/c-1", json={"name": "B"}, headers=headers)
        assert response.status_code == 412
        assert (await admin.get(f"{CUSTOMERS}/c-1")).json()["name"] == "A"

    async def test_unknown_customer_is_not_created(self, admin: httpx.AsyncClient) -> None:
        response = await admin.patch(f"{CUSTOMERS}/unknown", json={"name": "B"})
        assert (response.status_code, response.json()["code"]) == (404, "customer-not-found")
        assert await ids_of(admin) == []


class TestFilters:
    """Filters of GET /v1/admin/customers."""

    @pytest.fixture(autouse=True)
    async def customers(self, admin: httpx.AsyncClient) -> None:
        """Customers named after the types they uploaded; `none` never uploaded anything."""
        await make_type(admin, "A", upload_mode="required")
        await make_type(admin, "B")
        for id_ in ("none", "a", "b", "ab"):
            await make_customer(admin, id_)
            await fill(admin, id_, *(key for key in ("a", "b") if key in id_ and id_ != "none"))

    @pytest.mark.req("R-092", "A-17")
    async def test_uploaded_lists_customers_with_a_file(self, admin: httpx.AsyncClient) -> None:
        assert await ids_of(admin, uploaded="a") == ["a", "ab"]
        assert await ids_of(admin, uploaded=["a", "b"]) == ["ab"]

    @pytest.mark.req("R-093", "R-008")
    async def test_not_uploaded_includes_customers_without_uploads(
        self, admin: httpx.AsyncClient
    ) -> None:
        assert await ids_of(admin, not_uploaded="a") == ["none", "b"]
        assert await ids_of(admin, not_uploaded=["a", "b"]) == ["none"]

    @pytest.mark.req("R-090", "R-091")
    async def test_has_documents(self, admin: httpx.AsyncClient) -> None:
        assert await ids_of(admin, has_documents="true") == ["a", "b", "ab"]
        assert await ids_of(admin, has_documents="false") == ["none"]

    @pytest.mark.req("R-094")
    async def test_filter_combinations_are_conjunctive(self, admin: httpx.AsyncClient) -> None:
        await patch_portal(admin, gate_enabled=True)
        filled: dict[str, set[str]] = {"none": set(), "a": {"a"}, "b": {"b"}, "ab": {"a", "b"}}
        single: dict[tuple[str, str], Callable[[str], bool]] = {
            ("uploaded", "a"): lambda id_: "a" in filled[id_],
            ("not_uploaded", "b"): lambda id_: "b" not in filled[id_],
            ("has_documents", "true"): lambda id_: bool(filled[id_]),
            ("has_documents", "false"): lambda id_: not filled[id_],
            ("gate", "open"): lambda id_: "a" in filled[id_],
            ("gate", "blocked"): lambda id_: "a" not in filled[id_],
            ("q", "A"): lambda id_: id_.startswith("a"),
        }
        for size in (2, 3):
            for chosen in itertools.combinations(single, size):
                names = [name for name, _ in chosen]
                if len(set(names)) < len(names):
                    continue
                expected = [id_ for id_ in filled if all(single[item](id_) for item in chosen)]
                assert await ids_of(admin, **dict(chosen)) == expected, chosen

    @pytest.mark.req("R-094")
    async def test_filter_applies_to_pages_and_total(self, admin: httpx.AsyncClient) -> None:
        params = {"uploaded": "a", "limit": "1", "include_total": "true"}
        first = (await admin.get(CUSTOMERS, params=params)).json()
        second = (
            await admin.get(CUSTOMERS, params={**params, "cursor": first["next_cursor"]})
        ).json()
        assert [page["items"][0]["id"] for page in (first, second)] == ["a", "ab"]
        assert (second["next_cursor"], second["total"]) == (None, 2)

    @pytest.mark.req("R-095")
    @pytest.mark.parametrize("parameter", ["uploaded", "not_uploaded"])
    async def test_unknown_type_is_rejected(self, admin: httpx.AsyncClient, parameter: str) -> None:
        for value in ("nope", "", "A", ["a", "nope"]):
            response = await admin.get(CUSTOMERS, params={parameter: value})
            assert first_error(response) == (422, None, parameter), value
            assert response.json()["code"] == "unknown-filter-type"

    async def test_invalid_value_is_rejected(self, admin: httpx.AsyncClient) -> None:
        table = [("gate", "shut"), ("gate", ""), ("sort", "email"), ("has_documents", "maybe"),
                 ("q", ""), ("q", "x" * 201)]  # fmt: skip
        for parameter, value in table:
            response = await admin.get(CUSTOMERS, params={parameter: value})
            assert first_error(response) == (422, None, parameter), (parameter, value)

    async def test_file_of_archived_type_counts(self, admin: httpx.AsyncClient) -> None:
        await patch_type(admin, "b", archived=True)
        assert await ids_of(admin, uploaded="b") == ["b", "ab"]
        assert await ids_of(admin, has_documents="true") == ["a", "b", "ab"]

    @pytest.mark.req("R-091")
    async def test_deleted_file_does_not_count(self, admin: httpx.AsyncClient) -> None:
        await admin.delete(f"{CUSTOMERS}/a/documents/a")
        assert await ids_of(admin, uploaded="a") == ["ab"]
        assert await ids_of(admin, has_documents="false") == ["none", "a"]

    @pytest.mark.req("R-075")
    async def test_gate_is_open_for_all_when_disabled(self, admin: httpx.AsyncClient) -> None:
        assert await ids_of(admin, gate="open") == ["none", "a", "b", "ab"]
        assert await ids_of(admin, gate="blocked") == []

    @pytest.mark.req("R-074", "R-077")
    async def test_gate_depends_on_required_documents_when_enabled(
        self, admin: httpx.AsyncClient
    ) -> None:
        await make_type(admin, "C", upload_mode="admin_only")
        await patch_portal(admin, gate_enabled=True)
        assert await ids_of(admin, gate="open") == ["a", "ab"]
        assert await ids_of(admin, gate="blocked") == ["none", "b"]


class TestCounts:
    """`has_documents` and `documents` in GET /v1/admin/customers."""

    @pytest.mark.req("R-090", "R-091")
    @pytest.mark.parametrize("mode", ["optional", "required", "admin_only"])
    async def test_file_of_any_upload_mode_counts(
        self, admin: httpx.AsyncClient, mode: str
    ) -> None:
        await make_type(admin, "T", upload_mode=mode)
        await make_customer(admin, "c-1")
        seen = []
        for step in (None, "put", "delete"):
            if step == "put":
                await fill(admin, "c-1", "t")
            elif step == "delete":
                await admin.delete(f"{CUSTOMERS}/c-1/documents/t")
            seen.append((await admin.get(CUSTOMERS)).json()["items"][0]["has_documents"])
        assert seen == [False, True, False]

    @pytest.mark.req("R-091", "A-04")
    async def test_uploader_does_not_matter(
        self,
        admin: httpx.AsyncClient,
        customer_of: CustomerClients,
        integration: httpx.AsyncClient,
    ) -> None:
        await make_type(admin, "T", upload_mode="required")
        for id_ in ("c-1", "c-2", "c-3"):
            await make_customer(admin, id_)
        await fill(admin, "c-1", "t")
        await customer_of("c-2").put("/v1/customer/documents/t", **upload_of())
        await integration.put("/v1/integration/customers/c-3/documents/t", **upload_of())
        items = (await admin.get(CUSTOMERS)).json()["items"]
        assert [(i["has_documents"], i["documents"]["required_missing"]) for i in items] == [
            (True, 0)
        ] * 3

    @pytest.mark.req("A-11", "R-091")
    async def test_values_without_a_file_do_not_count(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "T", collects_fields=True, field_labels="A")
        await make_customer(admin, "c-1")
        body = {"field_values": {"a": "x"}}
        await admin.patch(f"{CUSTOMERS}/c-1/documents/t", json=body)
        item = (await admin.get(CUSTOMERS)).json()["items"][0]
        assert (item["has_documents"], item["documents"]["uploaded"]) == (False, 0)

    @pytest.mark.req("A-16")
    async def test_archived_types_count_as_documents_but_not_in_totals(
        self, admin: httpx.AsyncClient
    ) -> None:
        await make_type(admin, "T", upload_mode="required")
        await make_customer(admin, "c-1")
        await fill(admin, "c-1", "t")
        await patch_type(admin, "t", archived=True)
        item = (await admin.get(CUSTOMERS)).json()["items"][0]
        assert item["has_documents"] is True
        assert item["documents"] == {"uploaded": 0, "missing": 0, "required_missing": 0}

    @pytest.mark.req("A-10")
    async def test_missing_required_field_keeps_document_due(
        self, admin: httpx.AsyncClient
    ) -> None:
        fields = [{"label": "A", "required": True}]
        await make_type(admin, "T", upload_mode="required", collects_fields=True, fields=fields)
        await make_customer(admin, "c-1")
        await fill(admin, "c-1", "t")
        item = (await admin.get(CUSTOMERS)).json()["items"][0]
        assert item["documents"] == {"uploaded": 1, "missing": 0, "required_missing": 1}


class TestSearch:
    """`q` of GET /v1/admin/customers."""

    @pytest.mark.req("R-094")
    async def test_query_is_case_insensitive_prefix_of_id_name_or_email(
        self, admin: httpx.AsyncClient
    ) -> None:
        await make_customer(admin, "Abc-1", name="Jansen", email="info@x.example")
        await make_customer(admin, "x-2", name="Érik van Dam", email="ABC@x.example")
        await make_customer(admin, "x-3", name="abcoude")
        assert await ids_of(admin, q="aBC") == ["Abc-1", "x-2", "x-3"]
        assert await ids_of(admin, q="JAN") == ["Abc-1"]
        assert await ids_of(admin, q="éRIK V") == ["x-2"]
        assert await ids_of(admin, q="bc") == []

    async def test_wildcards_are_literal(self, admin: httpx.AsyncClient) -> None:
        names = {"c-1": "100% sure", "c-2": "100 sure", "c-3": "a_b", "c-4": "aXb",
                 "c-5": "a\\b", "c-6": "'; --"}  # fmt: skip
        for id_, name in names.items():
            await make_customer(admin, id_, name=name)
        expected = {"100%": ["c-1"], "%": [], "a_": ["c-3"], "_": [], "a\\": ["c-5"],
                    "\\": [], "';": ["c-6"], "a\\_": []}  # fmt: skip
        assert {q: await ids_of(admin, q=q) for q in expected} == expected


class TestSort:
    """`sort` of GET /v1/admin/customers."""

    @pytest.mark.parametrize("limit", ["2", "100"])
    async def test_ties_and_missing_names_are_ordered_by_id(
        self, admin: httpx.AsyncClient, limit: str
    ) -> None:
        rows = [("c-4", "Bea"), ("c-1", None), ("c-3", "bea"), ("c-2", "Ada"), ("c-5", None)]
        for id_, name in rows:
            await make_customer(admin, id_, name=name)
        expected = {
            "created_at": ["c-4", "c-1", "c-3", "c-2", "c-5"],
            "name": ["c-1", "c-5", "c-2", "c-3", "c-4"],
        }
        for sort, ids in expected.items():
            assert await self._walk(admin, sort, limit) == ids
            assert await self._walk(admin, f"-{sort}", limit) == ids[::-1]

    async def test_customers_with_equal_timestamp_page_without_gaps(
        self, admin: httpx.AsyncClient, integration: httpx.AsyncClient
    ) -> None:
        ids = [f"c-{number:03}" for number in range(25)]
        items = [{"id": id_, "name": "Same"} for id_ in reversed(ids)]
        await integration.post("/v1/integration/customer-batches", json={"items": items})
        for sort in ("created_at", "name"):
            assert await self._walk(admin, sort, "4") == ids
            assert await self._walk(admin, f"-{sort}", "4") == ids[::-1]

    async def _walk(self, admin: httpx.AsyncClient, sort: str, limit: str) -> list[str]:
        ids: list[str] = []
        params = {"sort": sort, "limit": limit}
        while True:
            page = (await admin.get(CUSTOMERS, params=params)).json()
            ids += [item["id"] for item in page["items"]]
            if page["next_cursor"] is None:
                return ids
            params["cursor"] = page["next_cursor"]


class TestStatementCount:
    """The number of SQL statements of GET /v1/admin/customers."""

    @pytest.mark.req("R-097")
    async def test_statement_count_is_independent_of_customer_count(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await make_type(admin, "A", upload_mode="required")
        await make_type(admin, "B")
        await make_customer(admin, "c-0")
        await fill(admin, "c-0", "a")
        params = {"limit": "100", "uploaded": "a", "not_uploaded": "b", "include_total": "true"}
        plain = {"limit": "100"}
        before = [await self._statements(admin, p) for p in (plain, params)]
        async with resources.database.transaction() as session:
            session.add_all(
                CustomerRow(id=new_id(), external_id=f"d-{n}", tags=[]) for n in range(150)
            )
        after = [await self._statements(admin, p) for p in (plain, params)]
        assert [shown for shown, _ in before] == [1, 1]
        assert [shown for shown, _ in after] == [100, 1]
        assert [count for _, count in after] == [count for _, count in before]

    async def _statements(
        self, admin: httpx.AsyncClient, params: dict[str, str]
    ) -> tuple[int, int]:
        """Return the number of listed customers and of SQL statements."""
        with sent_statements() as sent:
            shown = len(await ids_of(admin, **params))
        return shown, len(sent)


class TestSummary:
    """GET /v1/admin/customers/{id}/summary."""

    @pytest.mark.req("R-096", "A-26")
    async def test_summary_has_document_states_and_totals(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "A", upload_mode="required")
        await make_type(admin, "B", upload_mode="required")
        await make_type(admin, "C", upload_mode="admin_only")
        await make_customer(admin, "c-1")
        await fill(admin, "c-1", "a")
        await patch_portal(admin, gate_enabled=True)
        summary = (await admin.get(f"{CUSTOMERS}/c-1/summary")).json()
        rows = [(d["type"]["key"], d["upload_state"], d["status"]) for d in summary["documents"]]
        assert rows == [
            ("a", "uploaded", "accepted"),
            ("b", "missing", "missing"),
            ("c", "missing", "missing"),
        ]
        assert summary["customer_id"] == "c-1"
        assert summary["totals"] == {"uploaded": 1, "missing": 2, "required_missing": 1}
        gate = summary["gate"]
        assert (gate["decision"], gate["enforced"], gate["missing"]) == ("blocked", True, ["b"])

    @pytest.mark.req("R-060", "R-006")
    async def test_archived_type_with_file_is_listed_but_not_counted(
        self, admin: httpx.AsyncClient
    ) -> None:
        await make_type(admin, "A")
        await make_type(admin, "Empty")
        await make_customer(admin, "c-1")
        await fill(admin, "c-1", "a")
        for key in ("a", "empty"):
            await patch_type(admin, key, archived=True)
        summary = (await admin.get(f"{CUSTOMERS}/c-1/summary")).json()
        assert [d["type"]["key"] for d in summary["documents"]] == ["a"]
        assert summary["totals"] == {"uploaded": 0, "missing": 0, "required_missing": 0}

    @pytest.mark.req("R-052")
    async def test_upload_time_is_document_upload_time(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "A")
        await make_customer(admin, "c-1")
        await fill(admin, "c-1", "a")
        document = (await admin.get(f"{CUSTOMERS}/c-1/documents/a")).json()
        summary = (await admin.get(f"{CUSTOMERS}/c-1/summary")).json()
        assert summary["documents"][0]["uploaded_at"] == document["uploaded_at"]
        assert document["uploaded_at"].endswith("Z")


class TestGate:
    """GET /v1/admin/customers/{id}/gate."""

    @pytest.mark.req("R-074", "R-005")
    async def test_gate_opens_with_all_required_documents(self, admin: httpx.AsyncClient) -> None:
        for name in ("A", "B"):
            await make_type(admin, name, upload_mode="required")
        await make_type(admin, "C")
        await make_type(admin, "D", upload_mode="admin_only")
        await make_customer(admin, "c-1")
        await patch_portal(admin, gate_enabled=True)
        seen = []
        for key in ("a", "b"):
            await fill(admin, "c-1", key)
            gate = (await admin.get(f"{CUSTOMERS}/c-1/gate")).json()
            seen.append((gate["decision"], gate["missing"]))
        assert seen == [("blocked", ["b"]), ("open", [])]

    @pytest.mark.req("R-078")
    async def test_gate_is_open_without_required_types(self, admin: httpx.AsyncClient) -> None:
        await make_customer(admin, "c-1")
        await patch_portal(admin, gate_enabled=True)
        gate = (await admin.get(f"{CUSTOMERS}/c-1/gate")).json()
        assert (gate["decision"], gate["enforced"], gate["missing"]) == ("open", True, [])
