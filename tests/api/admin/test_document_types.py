"""Document types, as staff define them."""

import asyncio
import re
from typing import Any

import httpx
import pytest
from tests.factories import files
from tests.factories.setups import make_customer, make_type, patch_portal, patch_type, upload_of
from tests.factories.strings import CONTROLS
from tests.fixtures.callers import CustomerClients

from docvault.db.tables import DocumentTypeRow, new_id
from docvault.domain.media_types import DEFAULT_MEDIA_TYPES
from docvault.repositories.unit_of_work import UnitOfWork

TYPES = "/v1/admin/document-types"
ORDER = "/v1/admin/document-type-order"
MEBIBYTE = 1024 * 1024


async def create(admin: httpx.AsyncClient, **members: Any) -> httpx.Response:
    """Send POST /v1/admin/document-types."""
    return await admin.post(TYPES, json=members)


async def change(admin: httpx.AsyncClient, key: str, **members: Any) -> httpx.Response:
    """Send PATCH with the current ETag."""
    etag = (await admin.get(f"{TYPES}/{key}")).headers["etag"]
    return await admin.patch(f"{TYPES}/{key}", json=members, headers={"If-Match": etag})


def errors_of(response: httpx.Response) -> list[tuple[str | None, str]]:
    """Return pointer and code of each error."""
    return [(error["pointer"], error["code"]) for error in response.json()["errors"]]


def names_of(response: httpx.Response) -> list[str]:
    """Return the names of a page of types."""
    return [item["name"] for item in response.json()["items"]]


def labels_of(document_type: dict[str, Any]) -> list[str]:
    """Return the labels of the active fields."""
    return [field["label"] for field in document_type["fields"]]


async def store_values(
    admin: httpx.AsyncClient, customer: str, key: str, **values: str | None
) -> dict[str, str]:
    """Store values as staff and return the values in the response."""
    response = await admin.patch(
        f"/v1/admin/customers/{customer}/documents/{key}", json={"field_values": values}
    )
    assert response.status_code == 200, response.text
    shown: dict[str, str] = response.json()["field_values"]
    return shown


async def shown_values(admin: httpx.AsyncClient, customer: str, key: str) -> dict[str, str]:
    """Return the values that staff see."""
    response = await admin.get(f"/v1/admin/customers/{customer}/documents/{key}")
    shown: dict[str, str] = response.json()["field_values"]
    return shown


class TestCreate:
    """POST /v1/admin/document-types."""

    @pytest.mark.req("R-010", "R-013", "R-016")
    async def test_name_alone_gives_defaults(self, admin: httpx.AsyncClient) -> None:
        response = await create(admin, name="Identity card")
        assert response.status_code == 201
        created = response.json()
        del created["created_at"], created["updated_at"]
        assert created == {
            "key": "identity-card",
            "name": "Identity card",
            "upload_mode": "optional",
            "instructions": None,
            "fields": [],
            "accepted_media_types": list(DEFAULT_MEDIA_TYPES),
            "max_size_bytes": 25 * MEBIBYTE,
            "max_files": 1,
            "password_protected": "accept",
            "collects_fields": False,
            "position": 0,
            "archived": False,
        }

    async def test_location_header_points_to_type(self, admin: httpx.AsyncClient) -> None:
        response = await create(admin, name="Passport")
        read = await admin.get(response.headers["location"])
        assert read.json() == response.json()
        assert read.headers["etag"] == response.headers["etag"]

    @pytest.mark.parametrize(
        ("name", "key"),
        [
            ("Identity card", "identity-card"),
            ("  Uittreksel  KvK (2024) ", "uittreksel-kvk-2024"),
            ("Führerschein", "fuhrerschein"),
            ("a" * 80, "a" * 63),
            ("x" * 62 + " y", "x" * 62),
        ],
    )
    async def test_key_is_slug_of_name(self, admin: httpx.AsyncClient, name: str, key: str) -> None:
        assert (await make_type(admin, name))["key"] == key

    async def test_duplicate_slug_gets_number(self, admin: httpx.AsyncClient) -> None:
        keys = [(await make_type(admin, name))["key"] for name in ("A b", "A-b", "A/b", "A_b")]
        assert keys == ["a-b", "a-b-2", "a-b-3", "a-b-4"]

    async def test_numbered_slug_stays_within_length_limit(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "a" * 70)
        assert (await make_type(admin, "a" * 71))["key"] == "a" * 61 + "-2"

    @pytest.mark.parametrize("name", ["護照", "🪪", "جواز سفر", "---"])
    async def test_name_without_slug_gets_random_key(
        self, admin: httpx.AsyncClient, name: str
    ) -> None:
        key = (await make_type(admin, name))["key"]
        assert re.fullmatch(r"type-[a-z0-9]{8}", key)

    async def test_slug_of_archived_type_is_reserved(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "Passport")
        await patch_type(admin, "passport", archived=True)
        assert (await make_type(admin, "Passport"))["key"] == "passport-2"

    @pytest.mark.req("A-21")
    async def test_explicit_duplicate_key_conflicts(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "Passport", key="id")
        response = await create(admin, name="Licence", key="id")
        assert (response.status_code, response.json()["code"]) == (409, "key-conflict")
        assert errors_of(response)[0][0] == "/key"

    async def test_key_of_archived_type_conflicts(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "Passport", key="id")
        await patch_type(admin, "id", archived=True)
        assert (await create(admin, name="Licence", key="id")).status_code == 409

    @pytest.mark.parametrize(
        "key", ["A", "a_b", "-a", "a-", "", "a" * 64, "é", "a b", "a\n", "a/b"]
    )
    async def test_invalid_key_is_rejected(self, admin: httpx.AsyncClient, key: str) -> None:
        response = await create(admin, name="Passport", key=key)
        assert response.status_code == 422
        assert errors_of(response)[0][0] == "/key"

    @pytest.mark.parametrize("key", ["a", "0", "a" * 63, "a--b", "9-x"])
    async def test_valid_key_is_kept(self, admin: httpx.AsyncClient, key: str) -> None:
        assert (await make_type(admin, "Passport", key=key))["key"] == key

    @pytest.mark.req("A-21")
    @pytest.mark.parametrize("name", ["Passport", "PASSPORT", " passport  ", "\u2003\uff30assport"])
    async def test_name_of_active_type_conflicts(self, admin: httpx.AsyncClient, name: str) -> None:
        await make_type(admin, "Passport")
        response = await create(admin, name=name)
        assert (response.status_code, response.json()["code"]) == (409, "name-conflict")
        assert errors_of(response)[0][0] == "/name"

    async def test_rejected_name_stores_nothing(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "Passport")
        await create(admin, name="passport")
        assert names_of(await admin.get(TYPES)) == ["Passport"]

    @pytest.mark.req("R-013")
    @pytest.mark.parametrize("mode", ["optional", "required", "admin_only"])
    async def test_upload_mode_is_stored(self, admin: httpx.AsyncClient, mode: str) -> None:
        assert (await make_type(admin, "Passport", upload_mode=mode))["upload_mode"] == mode

    @pytest.mark.req("R-015")
    @pytest.mark.parametrize(
        ("code", "mode"), [(0, "optional"), (1, "required"), (2, "admin_only")]
    )
    async def test_legacy_code_maps_to_upload_mode(
        self, admin: httpx.AsyncClient, code: int, mode: str
    ) -> None:
        assert (await make_type(admin, "Passport", upload_mode=code))["upload_mode"] == mode

    @pytest.mark.req("R-013")
    async def test_unknown_upload_mode_is_rejected(self, admin: httpx.AsyncClient) -> None:
        modes: list[Any] = ["Required", "", None, 3, -1, True, False, 1.5, "1", [], {}]
        for mode in modes:
            response = await create(admin, name="Passport", upload_mode=mode)
            assert (response.status_code, errors_of(response)[0][0]) == (422, "/upload_mode"), mode

    @pytest.mark.req("R-012")
    async def test_name_round_trips_exactly(self, admin: httpx.AsyncClient) -> None:
        names = [
            "Pièce d'identité №1",
            "🪪 identité 👩‍👩‍👧",
            "جواز سفر \u202eabc",
            "護照 / 旅券",
            "\"quoted\" 'single' `back` \\",
            "<b>Bold</b> & <script>alert(1)</script>",
            "  spaces around  ",
            "e\u0301 is not é",
            "'; DROP TABLE customers; --",
            "x" * 200,
            "🪪" * 200,
        ]
        for number, name in enumerate(names):
            created = await make_type(admin, name, key=f"k{number}", instructions=name)
            read = (await admin.get(f"{TYPES}/k{number}")).json()
            assert (created["name"], read["name"], read["instructions"]) == (name, name, name)

    @pytest.mark.req("R-012")
    async def test_blank_long_or_invalid_name_is_rejected(self, admin: httpx.AsyncClient) -> None:
        names: list[Any] = ["", " ", "\t\n", "\u2003", "x" * 201, None, 5, ["x"], "a\0b"]
        for name in [*names, *(f"a{control}b" for control in CONTROLS)]:
            response = await create(admin, name=name)
            assert (response.status_code, errors_of(response)[0][0]) == (422, "/name"), repr(name)

    @pytest.mark.req("B-100")
    @pytest.mark.parametrize("control", CONTROLS)
    async def test_label_with_control_character_is_rejected(
        self, admin: httpx.AsyncClient, control: str
    ) -> None:
        label = f"a{control}b"
        response = await create(admin, name="A", fields=[{"label": label}])
        assert (response.status_code, errors_of(response)[0][0]) == (422, "/fields/0/label")
        response = await create(admin, name="A", field_labels=f"Number, {label}")
        assert (response.status_code, errors_of(response)[0][0]) == (422, "/field_labels")

    @pytest.mark.req("B-100")
    async def test_instructions_may_have_lines_but_no_other_control_characters(
        self, admin: httpx.AsyncClient
    ) -> None:
        created = await make_type(admin, "Card", instructions="Both sides,\r\n\tplease.")
        assert created["instructions"] == "Both sides,\r\n\tplease."
        response = await create(admin, name="Other", instructions="a\x1bb")
        assert (response.status_code, errors_of(response)[0][0]) == (422, "/instructions")

    async def test_name_is_required(self, admin: httpx.AsyncClient) -> None:
        response = await create(admin, upload_mode="required")
        assert (response.status_code, errors_of(response)[0][0]) == (422, "/name")

    async def test_out_of_range_value_is_rejected_with_pointer(
        self, admin: httpx.AsyncClient
    ) -> None:
        table: list[tuple[str, Any]] = [
            ("password_protected", "ask"),
            ("max_files", 0),
            ("max_files", 21),
            ("max_files", 1.5),
            ("max_size_bytes", 0),
            ("max_size_bytes", -1),
            ("max_size_bytes", 10**30),
            ("position", -1),
            ("position", 2**31),
            ("position", 10**30),
            ("instructions", "x" * 2001),
            ("accepted_media_types", []),
            ("accepted_media_types", ["image/svg+xml"]),
            ("accepted_media_types", ["text/html"]),
            ("accepted_media_types", "image/png"),
            ("accepted_media_types", [{}]),
            ("accepted_media_types", [["image/png"]]),
            ("accepted_media_types", [None]),
            ("fields", [{"label": "x"}] * 51),
            ("fields", [{}]),
            ("fields", ["x"]),
            ("fields", [{"label": ""}]),
            ("fields", [{"label": "x" * 101}]),
            ("fields", [{"label": "x", "kind": "number"}]),
            ("fields", [{"label": "x", "key": "X"}]),
        ]
        for member, value in table:
            response = await create(admin, name="Passport", **{member: value})
            assert response.status_code == 422, (member, value)
            assert str(errors_of(response)[0][0]).startswith(f"/{member}"), (member, value)

    @pytest.mark.parametrize(
        ("member", "value"),
        [
            ("max_files", 20),
            ("max_size_bytes", 1),
            ("instructions", "x" * 2000),
            ("accepted_media_types", ["application/pdf"]),
            ("position", 7),
            ("fields", [{"key": f"f{n}", "label": f"{n}".rjust(100, "x"), "kind": "text",
                         "required": True} for n in range(50)]),
        ],
    )  # fmt: skip
    async def test_boundary_value_is_accepted(
        self, admin: httpx.AsyncClient, member: str, value: Any
    ) -> None:
        assert (await make_type(admin, "Passport", **{member: value}))[member] == value

    @pytest.mark.parametrize(
        ("member", "value"),
        [
            ("max_files", "2"),
            ("collects_fields", "yes"),
            ("collects_fields", 1),
            ("fields", [{"label": "x", "required": "yes"}]),
        ],
    )
    async def test_wrong_json_type_is_rejected(
        self, admin: httpx.AsyncClient, member: str, value: Any
    ) -> None:
        response = await create(admin, name="Passport", **{member: value})
        assert (response.status_code, response.json()["code"]) == (422, "validation-error")

    @pytest.mark.parametrize("label", ["", " ", "\t\n", "\u2003"])
    async def test_blank_label_is_rejected(self, admin: httpx.AsyncClient, label: str) -> None:
        response = await create(admin, name="Passport", fields=[{"label": label}])
        assert (response.status_code, errors_of(response)[0][0]) == (422, "/fields/0/label")

    @pytest.mark.req("R-007", "R-001")
    async def test_no_types_exist_by_default(self, admin: httpx.AsyncClient) -> None:
        assert names_of(await admin.get(TYPES)) == []
        for name in ("Passport", "Contract", "Licence"):
            await make_type(admin, name)
        assert names_of(await admin.get(TYPES)) == ["Passport", "Contract", "Licence"]

    @pytest.mark.req("R-004")
    async def test_new_type_applies_to_existing_customers_immediately(
        self, admin: httpx.AsyncClient
    ) -> None:
        await patch_portal(admin, gate_enabled=True)
        await make_customer(admin, "c-1")
        assert (await admin.get("/v1/admin/customers/c-1/gate")).json()["decision"] == "open"
        await make_type(admin, "Passport", upload_mode="required")
        gate = (await admin.get("/v1/admin/customers/c-1/gate")).json()
        assert (gate["decision"], gate["missing"]) == ("blocked", ["passport"])


class TestTypeLimits:
    """What a type accepts in PUT /v1/admin/customers/{id}/documents/{key}."""

    @pytest.fixture
    async def document(self, admin: httpx.AsyncClient) -> str:
        """A document of a type that accepts two PDFs of at most 1,000 bytes."""
        await make_type(
            admin, "T", accepted_media_types=["application/pdf"], max_size_bytes=1000, max_files=2
        )
        await make_customer(admin, "c-1")
        return "/v1/admin/customers/c-1/documents/t"

    @pytest.mark.req("A-14")
    async def test_unaccepted_media_type_is_rejected(
        self, admin: httpx.AsyncClient, document: str
    ) -> None:
        response = await admin.put(document, **upload_of(files.png(), "a.png"))
        problem = response.json()
        assert (response.status_code, problem["code"]) == (415, "unsupported-media-type")
        assert problem["allowed"] == ["application/pdf"]
        assert problem["detected"] == "image/png"

    @pytest.mark.req("A-15")
    @pytest.mark.parametrize(("extra", "status"), [(0, 201), (1, 413)])
    async def test_size_limit_is_exact(
        self, admin: httpx.AsyncClient, document: str, extra: int, status: int
    ) -> None:
        body = files.pdf()
        padding = b"\n" * (1000 - len(body) + extra)
        response = await admin.put(document, **upload_of(body + padding))
        assert response.status_code == status, response.text

    @pytest.mark.req("A-15")
    async def test_oversized_file_response_states_limit(
        self, admin: httpx.AsyncClient, document: str
    ) -> None:
        problem = (await admin.put(document, **upload_of(files.pdf() + b"\n" * 1000))).json()
        assert (problem["code"], problem["limit_bytes"]) == ("file-too-large", 1000)

    @pytest.mark.req("A-01")
    @pytest.mark.parametrize(("count", "status"), [(1, 201), (2, 201), (3, 422)])
    async def test_number_of_files_is_limited(
        self, admin: httpx.AsyncClient, document: str, count: int, status: int
    ) -> None:
        parts = [("file", (f"{n}.pdf", files.pdf())) for n in range(count)]
        response = await admin.put(document, files=parts)
        assert response.status_code == status, response.text

    async def test_limits_are_shown_to_customer(
        self, admin: httpx.AsyncClient, document: str, customer_of: CustomerClients
    ) -> None:
        del admin, document
        shown = (await customer_of("c-1").get("/v1/customer/documents/t")).json()["type"]
        assert shown["accepted_media_types"] == ["application/pdf"]
        assert (shown["max_size_bytes"], shown["max_files"]) == (1000, 2)


class TestFieldLabels:
    """`field_labels` and `fields` of POST and PATCH."""

    @pytest.mark.req("R-017", "A-10")
    async def test_labels_are_separated_by_commas(self, admin: httpx.AsyncClient) -> None:
        labels = "Uitgiftedatum, Uitgifteplaats"
        created = await make_type(admin, "T", collects_fields=True, field_labels=labels)
        assert created["fields"] == [
            {"key": "uitgiftedatum", "label": "Uitgiftedatum", "kind": "text", "required": False},
            {"key": "uitgifteplaats", "label": "Uitgifteplaats", "kind": "text", "required": False},
        ]

    @pytest.mark.req("R-018")
    async def test_whitespace_is_trimmed_and_empty_labels_are_dropped(
        self, admin: httpx.AsyncClient
    ) -> None:
        created = await make_type(admin, "T", field_labels=" A,, B ,\t,")
        assert labels_of(created) == ["A", "B"]

    @pytest.mark.req("R-018")
    @pytest.mark.parametrize("labels", [" A,,B , a", "A,A", "ß,SS", "ﬁ,fi"])
    async def test_duplicate_label_is_rejected(self, admin: httpx.AsyncClient, labels: str) -> None:
        response = await create(admin, name="T", field_labels=labels)
        assert (response.status_code, response.json()["code"]) == (422, "duplicate-label")
        assert errors_of(response)[0][0] == "/field_labels"

    @pytest.mark.req("R-018")
    async def test_duplicate_label_in_list_has_pointer(self, admin: httpx.AsyncClient) -> None:
        fields = [{"label": "A"}, {"label": "B"}, {"label": " a "}]
        response = await create(admin, name="T", fields=fields)
        assert errors_of(response) == [("/fields/2/label", "duplicate-label")]

    async def test_duplicate_key_has_pointer(self, admin: httpx.AsyncClient) -> None:
        fields = [{"label": "A", "key": "k"}, {"label": "B", "key": "k"}]
        response = await create(admin, name="T", fields=fields)
        assert (response.status_code, errors_of(response)[0][0]) == (422, "/fields/1/key")

    @pytest.mark.req("A-12")
    async def test_both_label_formats_together_are_rejected(self, admin: httpx.AsyncClient) -> None:
        response = await create(admin, name="T", field_labels="A", fields=[{"label": "A"}])
        assert (response.status_code, errors_of(response)[0][0]) == (422, "/field_labels")

    @pytest.mark.req("A-12")
    async def test_null_label_format_is_ignored(self, admin: httpx.AsyncClient) -> None:
        made = await make_type(admin, "T", field_labels=None, fields=[{"label": "A"}])
        assert labels_of(made) == ["A"]
        for change, labels in (
            ({"fields": None, "field_labels": "B"}, ["B"]),
            ({"fields": [{"label": "C"}], "field_labels": None}, ["C"]),
            ({"field_labels": None}, []),
        ):
            assert labels_of(await patch_type(admin, "t", **change)) == labels

    @pytest.mark.req("A-12")
    async def test_label_in_list_may_contain_comma(self, admin: httpx.AsyncClient) -> None:
        assert labels_of(await make_type(admin, "T", fields=[{"label": "A, b"}])) == ["A, b"]

    @pytest.mark.parametrize("labels", ["x" * 101, ",".join(f"f{n}" for n in range(51))])
    async def test_out_of_range_labels_are_rejected(
        self, admin: httpx.AsyncClient, labels: str
    ) -> None:
        response = await create(admin, name="T", field_labels=labels)
        assert (response.status_code, errors_of(response)[0][0]) == (422, "/field_labels")

    @pytest.mark.req("R-019")
    @pytest.mark.parametrize("fields", [{}, {"field_labels": " , "}, {"fields": []}])
    async def test_collecting_fields_without_label_is_rejected(
        self, admin: httpx.AsyncClient, fields: dict[str, Any]
    ) -> None:
        response = await create(admin, name="T", collects_fields=True, **fields)
        assert (response.status_code, response.json()["code"]) == (422, "fields-required")
        assert names_of(await admin.get(TYPES)) == []

    @pytest.mark.req("R-019")
    @pytest.mark.parametrize("members", [{"fields": []}, {"field_labels": ""}, {"fields": None}])
    async def test_last_label_cannot_be_removed_while_collecting(
        self, admin: httpx.AsyncClient, members: dict[str, Any]
    ) -> None:
        await make_type(admin, "T", collects_fields=True, field_labels="A")
        response = await change(admin, "t", **members)
        assert (response.status_code, response.json()["code"]) == (422, "fields-required")
        assert labels_of((await admin.get(f"{TYPES}/t")).json()) == ["A"]

    @pytest.mark.req("R-019")
    async def test_fields_are_hidden_from_customer_when_not_collected(
        self, admin: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        created = await make_type(admin, "T", field_labels="A")
        await make_customer(admin, "c-1")
        shown = (await customer_of("c-1").get("/v1/customer/documents/t")).json()["type"]
        assert (labels_of(created), shown["fields"]) == (["A"], [])

    @pytest.mark.req("R-040", "R-047")
    async def test_fields_are_shown_to_customer_when_collected(
        self, admin: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        await make_type(admin, "T", collects_fields=True, field_labels="A, B")
        await make_customer(admin, "c-1")
        shown = (await customer_of("c-1").get("/v1/customer/documents/t")).json()["type"]
        assert labels_of(shown) == ["A", "B"]

    async def test_non_latin_labels_get_distinct_keys(self, admin: httpx.AsyncClient) -> None:
        created = await make_type(admin, "T", field_labels="発行日, 発行地")
        keys = [field["key"] for field in created["fields"]]
        assert labels_of(created) == ["発行日", "発行地"]
        assert all(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", key) for key in keys)
        assert len(set(keys)) == 2

    async def test_labels_with_equal_slug_get_distinct_keys(self, admin: httpx.AsyncClient) -> None:
        created = await make_type(admin, "T", fields=[{"label": "A b"}, {"label": "A-b"}])
        assert [field["key"] for field in created["fields"]] == ["a-b", "a-b-2"]


class TestFieldChanges:
    """Stored values while the fields of a type change."""

    @pytest.fixture
    async def key(self, admin: httpx.AsyncClient) -> str:
        """A type with the fields A and B, and a customer c-1 with a value for each."""
        await make_type(admin, "T", collects_fields=True, field_labels="A, B")
        await make_customer(admin, "c-1")
        await store_values(admin, "c-1", "t", a="1", b="2")
        return "t"

    @pytest.mark.req("R-020")
    async def test_disabling_and_enabling_restores_labels_and_values(
        self, admin: httpx.AsyncClient, key: str
    ) -> None:
        off = await patch_type(admin, key, collects_fields=False)
        assert (labels_of(off), await shown_values(admin, "c-1", key)) == (["A", "B"], {})
        await patch_type(admin, key, collects_fields=True)
        assert await shown_values(admin, "c-1", key) == {"a": "1", "b": "2"}

    @pytest.mark.req("R-021")
    async def test_relabelled_field_keeps_values(self, admin: httpx.AsyncClient, key: str) -> None:
        fields = [{"key": "a", "label": "Date of issue"}, {"key": "b", "label": "B"}]
        changed = await patch_type(admin, key, fields=fields)
        assert labels_of(changed) == ["Date of issue", "B"]
        assert await shown_values(admin, "c-1", key) == {"a": "1", "b": "2"}

    @pytest.mark.req("R-021")
    async def test_two_labels_can_be_swapped(self, admin: httpx.AsyncClient, key: str) -> None:
        fields = [{"key": "a", "label": "B"}, {"key": "b", "label": "A"}]
        response = await change(admin, key, fields=fields)
        assert response.status_code == 200, response.text
        assert labels_of(response.json()) == ["B", "A"]
        assert await shown_values(admin, "c-1", key) == {"a": "1", "b": "2"}

    @pytest.mark.req("R-021")
    async def test_labels_can_be_rotated(self, admin: httpx.AsyncClient, key: str) -> None:
        fields = [{"key": "a", "label": "B"}, {"key": "b", "label": "C"}]
        response = await change(admin, key, fields=fields)
        assert response.status_code == 200, response.text
        assert labels_of(response.json()) == ["B", "C"]

    @pytest.mark.req("R-021")
    async def test_renamed_type_keeps_values(self, admin: httpx.AsyncClient, key: str) -> None:
        changed = await patch_type(admin, key, name="Quite another name")
        assert (changed["key"], changed["name"]) == ("t", "Quite another name")
        assert await shown_values(admin, "c-1", key) == {"a": "1", "b": "2"}

    @pytest.mark.req("A-13")
    async def test_omitted_field_is_retired(self, admin: httpx.AsyncClient, key: str) -> None:
        changed = await patch_type(admin, key, fields=[{"key": "b", "label": "B"}])
        assert labels_of(changed) == ["B"]
        assert await shown_values(admin, "c-1", key) == {"b": "2"}

    @pytest.mark.req("A-13")
    @pytest.mark.parametrize(
        "restored", [{"key": "a", "label": "A"}, {"label": "A"}, {"label": " a "},
                    {"key": "a", "label": "New"}]
    )  # fmt: skip
    async def test_restored_field_regains_values(
        self, admin: httpx.AsyncClient, key: str, restored: dict[str, str]
    ) -> None:
        await patch_type(admin, key, fields=[{"key": "b", "label": "B"}])
        changed = await patch_type(admin, key, fields=[{"key": "b", "label": "B"}, restored])
        assert labels_of(changed) == ["B", restored["label"].strip()]
        assert await shown_values(admin, "c-1", key) == {"a": "1", "b": "2"}

    @pytest.mark.req("A-13")
    async def test_comma_separated_labels_match_existing_fields(
        self, admin: httpx.AsyncClient, key: str
    ) -> None:
        await patch_type(admin, key, field_labels="b, c, a")
        assert await shown_values(admin, "c-1", key) == {"b": "2", "a": "1"}

    @pytest.mark.req("A-13")
    async def test_value_of_retired_field_is_rejected(
        self, admin: httpx.AsyncClient, key: str
    ) -> None:
        await patch_type(admin, key, fields=[{"key": "b", "label": "B"}])
        response = await admin.patch(
            f"/v1/admin/customers/c-1/documents/{key}", json={"field_values": {"a": "x"}}
        )
        assert (response.status_code, response.json()["code"]) == (422, "unknown-field")
        assert errors_of(response)[0][0] == "/field_values/a"

    async def test_new_field_may_reuse_renamed_label(
        self, admin: httpx.AsyncClient, key: str
    ) -> None:
        fields = [{"key": "a", "label": "Old"}, {"label": "A"}, {"key": "b", "label": "B"}]
        changed = await patch_type(admin, key, fields=fields)
        assert [field["key"] for field in changed["fields"]] == ["a", "a-2", "b"]
        assert await shown_values(admin, "c-1", key) == {"a": "1", "b": "2"}

    @pytest.mark.req("A-10")
    async def test_new_required_field_makes_document_incomplete(
        self, admin: httpx.AsyncClient, key: str
    ) -> None:
        path = f"/v1/admin/customers/c-1/documents/{key}"
        await admin.put(path, **upload_of())
        await store_values(admin, "c-1", key, b=None)
        assert (await admin.get(path)).json()["status"] == "accepted"
        fields = [{"key": "a", "label": "A"}, {"key": "b", "label": "B", "required": True}]
        await patch_type(admin, key, fields=fields)
        assert (await admin.get(path)).json()["status"] == "incomplete"


class TestUpdate:
    """PATCH /v1/admin/document-types/{key}."""

    async def test_if_match_is_required(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "T")
        response = await admin.patch(f"{TYPES}/t", json={"name": "U"})
        assert (response.status_code, response.json()["code"]) == (428, "precondition-required")

    @pytest.mark.parametrize("etag", ['"nope"', 'W/"nope"', '"a", "b"'])
    async def test_mismatched_etag_is_rejected(self, admin: httpx.AsyncClient, etag: str) -> None:
        await make_type(admin, "T")
        response = await admin.patch(f"{TYPES}/t", json={"name": "U"}, headers={"If-Match": etag})
        assert (response.status_code, response.json()["code"]) == (412, "precondition-failed")
        assert (await admin.get(f"{TYPES}/t")).json()["name"] == "T"

    async def test_stale_etag_is_rejected(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "T")
        old = (await admin.get(f"{TYPES}/t")).headers["etag"]
        await patch_type(admin, "t", max_files=2)
        response = await admin.patch(f"{TYPES}/t", json={"name": "U"}, headers={"If-Match": old})
        assert response.status_code == 412
        assert (await admin.get(f"{TYPES}/t")).json()["name"] == "T"

    async def test_response_has_new_etag(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "T")
        response = await change(admin, "t", name="U")
        read = await admin.get(f"{TYPES}/t", headers={"If-None-Match": response.headers["etag"]})
        assert (read.status_code, read.content) == (304, b"")

    async def test_if_match_star_matches_any_version(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "T")
        response = await admin.patch(f"{TYPES}/t", json={"name": "U"}, headers={"If-Match": "*"})
        assert response.status_code == 200

    async def test_absent_members_are_kept(self, admin: httpx.AsyncClient) -> None:
        members = {"upload_mode": "required", "field_labels": "A", "instructions": "Both sides.",
                   "accepted_media_types": ["image/png"], "max_size_bytes": 5, "max_files": 3,
                   "password_protected": "refuse", "position": 4}  # fmt: skip
        before = await make_type(admin, "T", **members)
        after = await patch_type(admin, "t", name="U")
        assert {**before, "name": "U", "updated_at": after["updated_at"]} == after
        assert after["updated_at"] > before["updated_at"]

    async def test_null_restores_default(self, admin: httpx.AsyncClient) -> None:
        members = {
            "upload_mode": "required",
            "instructions": "Both sides.",
            "accepted_media_types": ["image/png"],
            "max_size_bytes": 5,
            "max_files": 3,
            "password_protected": "refuse",
        }
        await make_type(admin, "T", **members)
        after = await patch_type(admin, "t", **dict.fromkeys(members))
        assert (after["upload_mode"], after["instructions"]) == ("optional", None)
        assert after["accepted_media_types"] == list(DEFAULT_MEDIA_TYPES)
        assert (after["max_size_bytes"], after["max_files"]) == (25 * MEBIBYTE, 1)
        assert after["password_protected"] == "accept"

    @pytest.mark.parametrize("name", [None, "", "  ", "x" * 201])
    async def test_name_cannot_be_cleared(self, admin: httpx.AsyncClient, name: str | None) -> None:
        await make_type(admin, "T")
        response = await change(admin, "t", name=name)
        assert (response.status_code, errors_of(response)[0][0]) == (422, "/name")

    @pytest.mark.parametrize("member", ["key", "id", "created_at", "updated_at", "nope"])
    async def test_immutable_member_is_rejected(
        self, admin: httpx.AsyncClient, member: str
    ) -> None:
        await make_type(admin, "T")
        response = await admin.patch(f"{TYPES}/t", json={member: "x"}, headers={"If-Match": "*"})
        assert (response.status_code, errors_of(response)[0][0]) == (422, f"/{member}")

    async def test_name_of_other_active_type_conflicts(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "T")
        await make_type(admin, "U")
        response = await change(admin, "u", name=" t ")
        assert (response.status_code, response.json()["code"]) == (409, "name-conflict")

    async def test_changing_case_of_own_name_is_allowed(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "Passport")
        assert (await patch_type(admin, "passport", name="PASSPORT"))["name"] == "PASSPORT"

    @pytest.mark.req("R-014", "R-079")
    async def test_document_state_follows_mode_immediately(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "T", upload_mode="required")
        await make_customer(admin, "c-1")
        await patch_portal(admin, gate_enabled=True)
        gate = "/v1/admin/customers/c-1/gate"
        assert (await admin.get(gate)).json()["decision"] == "blocked"
        await patch_type(admin, "t", upload_mode="optional")
        assert (await admin.get(gate)).json()["decision"] == "open"

    async def test_unknown_type_is_not_found(self, admin: httpx.AsyncClient) -> None:
        response = await admin.patch(f"{TYPES}/nope", json={"name": "U"}, headers={"If-Match": "*"})
        assert (response.status_code, response.json()["code"]) == (404, "document-type-not-found")


class TestArchive:
    """PATCH /v1/admin/document-types/{key} with `archived`."""

    @pytest.mark.req("A-22", "R-023")
    async def test_archived_type_is_not_requested(
        self, admin: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        await make_type(admin, "T", upload_mode="required")
        await make_customer(admin, "c-1")
        await patch_type(admin, "t", archived=True)
        assert (await customer_of("c-1").get("/v1/customer/documents")).json()["items"] == []
        assert (await admin.get("/v1/admin/customers/c-1/gate")).json()["missing"] == []

    @pytest.mark.req("A-22")
    async def test_list_shows_active_or_archived_types(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "T")
        await make_type(admin, "U")
        await patch_type(admin, "t", archived=True)
        assert names_of(await admin.get(TYPES)) == ["U"]
        assert names_of(await admin.get(TYPES, params={"archived": "true"})) == ["T"]

    @pytest.mark.req("R-060", "A-22")
    async def test_staff_can_read_file_of_archived_type(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "T")
        await make_customer(admin, "c-1")
        path = "/v1/admin/customers/c-1/documents"
        await admin.put(f"{path}/t", **upload_of())
        await patch_type(admin, "t", archived=True)
        listed = [item["type"]["key"] for item in (await admin.get(path)).json()["items"]]
        assert listed == ["t"]
        assert (await admin.get(f"{path}/t/content")).content == files.pdf()

    async def test_unarchived_type_is_requested_again(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "T", upload_mode="required")
        await make_customer(admin, "c-1")
        await patch_type(admin, "t", archived=True)
        back = await patch_type(admin, "t", archived=False)
        assert back["archived"] is False
        assert (await admin.get("/v1/admin/customers/c-1/gate")).json()["missing"] == ["t"]

    @pytest.mark.req("A-21")
    async def test_name_of_archived_type_is_free(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "T")
        await patch_type(admin, "t", archived=True)
        assert (await create(admin, name="t", key="other")).status_code == 201

    @pytest.mark.req("A-21")
    async def test_unarchiving_with_duplicate_name_conflicts(
        self, admin: httpx.AsyncClient
    ) -> None:
        await make_type(admin, "T")
        await patch_type(admin, "t", archived=True)
        await make_type(admin, " t", key="other")
        response = await change(admin, "t", archived=False)
        assert (response.status_code, response.json()["code"]) == (409, "name-conflict")
        assert (await admin.get(f"{TYPES}/t")).json()["archived"] is True

    async def test_type_can_be_unarchived_under_new_name(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "T")
        await patch_type(admin, "t", archived=True)
        await make_type(admin, "T", key="other")
        assert (await patch_type(admin, "t", archived=False, name="T (old)"))["archived"] is False


class TestDelete:
    """DELETE /v1/admin/document-types/{key}."""

    @pytest.fixture
    async def document(self, admin: httpx.AsyncClient) -> str:
        """A customer's document of a type T with a field A."""
        await make_type(admin, "T", collects_fields=True, field_labels="A")
        await make_customer(admin, "c-1")
        return "/v1/admin/customers/c-1/documents/t"

    @pytest.mark.req("R-010")
    async def test_unused_type_is_deleted(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "T")
        response = await admin.delete(f"{TYPES}/t")
        assert (response.status_code, response.content) == (204, b"")
        assert (await admin.get(f"{TYPES}/t")).status_code == 404

    @pytest.mark.req("R-023")
    async def test_type_with_file_is_kept(self, admin: httpx.AsyncClient, document: str) -> None:
        await admin.put(document, **upload_of())
        response = await admin.delete(f"{TYPES}/t")
        assert (response.status_code, response.json()["code"]) == (409, "document-type-in-use")
        assert (await admin.get(f"{document}/content")).content == files.pdf()

    async def test_type_with_deleted_file_is_kept(
        self, admin: httpx.AsyncClient, document: str
    ) -> None:
        await admin.put(document, **upload_of())
        await admin.delete(document)
        assert (await admin.delete(f"{TYPES}/t")).status_code == 409

    async def test_type_with_values_but_no_file_is_deleted(
        self, admin: httpx.AsyncClient, document: str
    ) -> None:
        await admin.patch(document, json={"field_values": {"a": "x"}})
        assert (await admin.delete(f"{TYPES}/t")).status_code == 204
        assert (await admin.get("/v1/admin/customers/c-1/documents")).json()["items"] == []

    async def test_mismatched_etag_is_rejected(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "T")
        response = await admin.delete(f"{TYPES}/t", headers={"If-Match": '"nope"'})
        assert response.status_code == 412
        assert (await admin.get(f"{TYPES}/t")).status_code == 200

    async def test_unknown_type_is_not_found(self, admin: httpx.AsyncClient) -> None:
        response = await admin.delete(f"{TYPES}/nope")
        assert (response.status_code, response.json()["code"]) == (404, "document-type-not-found")


class TestOrder:
    """PUT /v1/admin/document-type-order."""

    @pytest.fixture(autouse=True)
    async def types(self, admin: httpx.AsyncClient) -> None:
        """Three active types and an archived one."""
        for name in ("A", "B", "C", "D"):
            await make_type(admin, name)
        await patch_type(admin, "d", archived=True)

    @pytest.mark.req("R-022")
    async def test_customer_list_uses_new_order(
        self, admin: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        await make_customer(admin, "c-1")
        response = await admin.put(ORDER, json={"keys": ["c", "a", "b"]})
        assert (response.status_code, response.content) == (204, b"")
        items = (await customer_of("c-1").get("/v1/customer/documents")).json()["items"]
        assert [item["type"]["key"] for item in items] == ["c", "a", "b"]
        assert names_of(await admin.get(TYPES)) == ["C", "A", "B"]

    @pytest.mark.req("R-022")
    @pytest.mark.parametrize(
        "keys",
        [["a", "b"], ["a", "b", "c", "c"], ["a", "b", "c", "d"], ["a", "b", "x"], [],
         ["a", "b", "c", "x"], ["a", "b", "d"]],
    )  # fmt: skip
    async def test_incomplete_or_unknown_keys_are_rejected(
        self, admin: httpx.AsyncClient, keys: list[str]
    ) -> None:
        response = await admin.put(ORDER, json={"keys": keys})
        assert (response.status_code, errors_of(response)[0][0]) == (422, "/keys")
        assert names_of(await admin.get(TYPES)) == ["A", "B", "C"]

    async def test_new_type_comes_last(self, admin: httpx.AsyncClient) -> None:
        await admin.put(ORDER, json={"keys": ["c", "a", "b"]})
        await make_type(admin, "E")
        assert names_of(await admin.get(TYPES)) == ["C", "A", "B", "E"]

    async def test_position_places_type(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "First", position=0)
        await patch_type(admin, "a", position=9)
        assert names_of(await admin.get(TYPES)) == ["First", "B", "C", "A"]


class TestRaces:
    """Concurrent requests."""

    async def test_concurrent_creates_yield_one_name(self, admin: httpx.AsyncClient) -> None:
        responses = await asyncio.gather(*(create(admin, name="T", key=f"k{n}") for n in range(8)))
        assert sorted(response.status_code for response in responses) == [201] + [409] * 7

    async def test_concurrent_creates_get_distinct_keys_and_positions(
        self, admin: httpx.AsyncClient
    ) -> None:
        names = ["A b", "A-b", "A_b", "A/b", "A+b", "A.b"]
        created = await asyncio.gather(*(make_type(admin, name) for name in names))
        assert {item["key"] for item in created} == {"a-b", *(f"a-b-{n}" for n in range(2, 7))}
        assert {item["position"] for item in created} == set(range(6))

    async def test_only_one_concurrent_update_succeeds(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "T")
        headers = {"If-Match": (await admin.get(f"{TYPES}/t")).headers["etag"]}
        responses = await asyncio.gather(
            *(admin.patch(f"{TYPES}/t", json={"name": f"T{n}"}, headers=headers) for n in range(8))
        )
        assert sorted(response.status_code for response in responses) == [200] + [412] * 7

    @pytest.mark.req("R-023")
    async def test_type_is_either_deleted_or_used(self, admin: httpx.AsyncClient) -> None:
        await make_customer(admin, "c-1")
        outcomes = set()
        for number in range(6):
            await make_type(admin, f"T {number}")
            path = f"/v1/admin/customers/c-1/documents/t-{number}"
            upload, delete = await asyncio.gather(
                admin.put(path, **upload_of()), admin.delete(f"{TYPES}/t-{number}")
            )
            outcomes.add((upload.status_code, delete.status_code))
        assert outcomes <= {(201, 409), (404, 204)}


class TestManyTypes:
    """A thousand types."""

    @pytest.fixture
    async def thousand(self, uow: UnitOfWork, admin: httpx.AsyncClient) -> None:
        """Types type-0 to type-999, the first hundred of them required."""
        del admin
        rows = [
            DocumentTypeRow(
                id=new_id(),
                key=f"type-{number}",
                name=f"Type {number}",
                folded_name=f"type {number}",
                upload_mode="required" if number < 100 else "optional",
                collects_fields=False,
                max_files=1,
                position=number,
            )
            for number in range(1000)
        ]
        await uow.document_types.save(*rows)
        await uow._connection.orm.commit()

    @pytest.mark.req("R-011")
    @pytest.mark.usefixtures("thousand")
    async def test_types_page_without_gaps(self, admin: httpx.AsyncClient) -> None:
        keys: list[str] = []
        params: dict[str, Any] = {"limit": 100, "include_total": "true"}
        for _ in range(10):
            page = (await admin.get(TYPES, params=params)).json()
            keys += [item["key"] for item in page["items"]]
            params["cursor"] = page["next_cursor"]
        assert (page["next_cursor"], page["total"]) == (None, 1000)
        assert keys == [f"type-{number}" for number in range(1000)]

    @pytest.mark.req("R-011")
    @pytest.mark.usefixtures("thousand")
    async def test_another_type_can_be_added_and_all_reordered(
        self, admin: httpx.AsyncClient
    ) -> None:
        assert (await make_type(admin, "Type x"))["position"] == 1000
        keys = ["type-x", *(f"type-{number}" for number in reversed(range(1000)))]
        assert (await admin.put(ORDER, json={"keys": keys})).status_code == 204
        first = (await admin.get(TYPES, params={"limit": 2})).json()["items"]
        assert [item["key"] for item in first] == ["type-x", "type-999"]

    @pytest.mark.req("R-011")
    @pytest.mark.usefixtures("thousand")
    async def test_gate_evaluates_all_types(self, admin: httpx.AsyncClient) -> None:
        await make_customer(admin, "c-1")
        gate = (await admin.get("/v1/admin/customers/c-1/gate")).json()
        listed = (await admin.get("/v1/admin/customers/c-1")).json()["documents"]
        assert len(gate["missing"]) == 100
        assert listed == {"uploaded": 0, "missing": 1000, "required_missing": 100}
