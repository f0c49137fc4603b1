"""Documents, as their customer manages them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.api.stored_state import NOTHING_STORED, Chunks, audited, raw_body, refusal, stored_state
from tests.factories import files
from tests.factories.setups import make_customer, make_type, patch_portal, patch_type, upload_of
from tests.factories.strings import CONTROLS
from tests.fixtures.callers import CustomerClients

from docvault.domain.documents import Document
from docvault.services import documents
from docvault.services.resources import Resources

DOCUMENTS = "/v1/customer/documents"
CARD = f"{DOCUMENTS}/identity-card"
DIPLOMA = f"{DOCUMENTS}/diploma"
CONTRACT = f"{DOCUMENTS}/contract"
ADMIN = "/v1/admin/customers/c-1/documents"


@pytest.fixture
async def customer(admin: httpx.AsyncClient, customer_of: CustomerClients) -> httpx.AsyncClient:
    """A customer c-1 with a required, an optional and an admin-only type."""
    await make_type(
        admin,
        "Identity card",
        upload_mode="required",
        collects_fields=True,
        field_labels="Issued on, Issued in",
    )
    await make_type(admin, "Diploma", collects_fields=True, field_labels="School")
    await make_type(admin, "Contract", upload_mode="admin_only")
    await make_customer(admin, "c-1")
    return customer_of("c-1")


async def upload(client: httpx.AsyncClient, path: str, **sent: Any) -> dict[str, Any]:
    """Upload a valid file."""
    response = await client.put(path, **upload_of(**sent))
    assert response.status_code in {200, 201}, response.text
    document: dict[str, Any] = response.json()
    return document


async def keys(client: httpx.AsyncClient, **query: Any) -> list[str]:
    """Return the type keys of a list of documents."""
    response = await client.get(DOCUMENTS, params=query)
    return [item["type"]["key"] for item in response.json()["items"]]


class TestList:
    """GET /v1/customer/documents."""

    @pytest.mark.req("R-001", "R-003", "R-006", "R-050")
    async def test_new_customer_sees_every_active_type_as_missing(
        self, customer: httpx.AsyncClient
    ) -> None:
        response = await customer.get(DOCUMENTS)
        states = {item["type"]["key"]: item["upload_state"] for item in response.json()["items"]}
        assert states == dict.fromkeys(["identity-card", "diploma", "contract"], "missing")
        assert response.json()["next_cursor"] is None

    async def test_missing_document_has_only_its_type(self, customer: httpx.AsyncClient) -> None:
        document = (await customer.get(DOCUMENTS)).json()["items"][0]
        assert document.pop("type")["key"] == "identity-card"
        assert document.pop("etag")
        assert document == {
            "upload_state": "missing",
            "status": "missing",
            "version": 0,
            "uploaded_at": None,
            "uploaded_by": None,
            "files": [],
            "field_values": {},
            "can_upload": True,
            "can_edit_fields": False,
            "can_delete": False,
        }

    @pytest.mark.req("R-040", "R-047", "R-050")
    async def test_entry_describes_requirements(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_type(
            admin,
            "identity-card",
            instructions="Both sides.",
            accepted_media_types=["image/png"],
            max_size_bytes=1000,
            max_files=2,
        )
        shown = (await customer.get(DOCUMENTS)).json()["items"][0]["type"]
        assert shown == {
            "key": "identity-card",
            "name": "Identity card",
            "upload_mode": "required",
            "instructions": "Both sides.",
            "fields": [
                {"key": "issued-on", "label": "Issued on", "kind": "text", "required": False},
                {"key": "issued-in", "label": "Issued in", "kind": "text", "required": False},
            ],
            "accepted_media_types": ["image/png"],
            "max_size_bytes": 1000,
            "max_files": 2,
            "password_protected": "accept",
        }

    @pytest.mark.req("R-019", "R-020")
    async def test_fields_and_values_are_hidden_when_not_collected(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await upload(customer, CARD, field_values='{"issued-in": "Delft"}')
        await patch_type(admin, "identity-card", collects_fields=False)
        hidden = (await customer.get(CARD)).json()
        assert (hidden["type"]["fields"], hidden["field_values"]) == ([], {})
        await patch_type(admin, "identity-card", collects_fields=True)
        assert (await customer.get(CARD)).json()["field_values"] == {"issued-in": "Delft"}

    @pytest.mark.req("R-021")
    async def test_renamed_field_keeps_its_value(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await upload(customer, CARD, field_values='{"issued-in": "Delft"}')
        fields = [{"key": "issued-in", "label": "Place"}]
        await patch_type(admin, "identity-card", fields=fields)
        document = (await customer.get(CARD)).json()
        assert [field["label"] for field in document["type"]["fields"]] == ["Place"]
        assert document["field_values"] == {"issued-in": "Delft"}

    @pytest.mark.req("R-004")
    async def test_new_type_is_requested_immediately(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await make_type(admin, "Passport")
        assert "passport" in await keys(customer)

    async def test_archived_type_is_not_listed_even_with_file(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await upload(customer, DIPLOMA)
        await patch_type(admin, "diploma", archived=True)
        assert await keys(customer) == ["identity-card", "contract"]

    @pytest.mark.req("R-022")
    async def test_list_follows_type_order(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        order = ["contract", "identity-card", "diploma"]
        response = await admin.put("/v1/admin/document-type-order", json={"keys": order})
        assert response.status_code == 204
        assert await keys(customer) == order

    async def test_pages_show_each_type_once(self, customer: httpx.AsyncClient) -> None:
        first = (await customer.get(DOCUMENTS, params={"limit": 2})).json()
        query = {"limit": 2, "cursor": first["next_cursor"]}
        second = (await customer.get(DOCUMENTS, params=query)).json()
        found = [item["type"]["key"] for item in [*first["items"], *second["items"]]]
        assert found == ["identity-card", "diploma", "contract"]
        assert second["next_cursor"] is None

    async def test_total_is_included_on_request(self, customer: httpx.AsyncClient) -> None:
        plain = (await customer.get(DOCUMENTS)).json()
        counted = (await customer.get(DOCUMENTS, params={"include_total": True, "limit": 1})).json()
        assert "total" not in plain
        assert counted["total"] == 3

    @pytest.mark.parametrize(
        ("limit", "status"), [("0", 422), ("1", 200), ("200", 200), ("201", 422), ("1e2", 422)]
    )
    async def test_limit_is_1_to_200(
        self, customer: httpx.AsyncClient, limit: str, status: int
    ) -> None:
        response = await customer.get(DOCUMENTS, params={"limit": limit})
        assert response.status_code == status

    @pytest.mark.parametrize("cursor", ["x", "AAAA", "é", "a" * 5000, ""])
    async def test_forged_cursor_is_rejected(
        self, customer: httpx.AsyncClient, cursor: str
    ) -> None:
        response = await customer.get(DOCUMENTS, params={"cursor": cursor})
        assert refusal(response) == (400, "invalid-cursor", "cursor")

    async def test_unknown_query_parameter_is_rejected(self, customer: httpx.AsyncClient) -> None:
        response = await customer.get(DOCUMENTS, params={"customer": "c-2"})
        assert refusal(response) == (422, "validation-error", "customer")

    @pytest.mark.req("R-057", "R-107")
    async def test_documents_of_other_customers_are_invisible(
        self,
        admin: httpx.AsyncClient,
        customer: httpx.AsyncClient,
        customer_of: CustomerClients,
    ) -> None:
        await upload(customer, CARD)
        await make_customer(admin, "c-2")
        other_customer = customer_of("c-2")
        assert (await other_customer.get(CARD)).json()["upload_state"] == "missing"
        for path in (f"{CARD}/content", f"{CARD}/preview"):
            assert refusal(await other_customer.get(path))[:2] == (404, "file-not-found")

    async def test_staff_names_are_hidden_from_customer(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await upload(admin, f"{ADMIN}/identity-card")
        response = await customer.get(DOCUMENTS)
        assert response.json()["items"][0]["uploaded_by"] == {"kind": "admin"}
        assert "staff-1" not in response.text


class TestRead:
    """GET /v1/customer/documents/{key}."""

    @pytest.mark.parametrize(
        ("key", "status"),
        [("unknown", 404), ("Identity-Card", 404), ("x" * 300, 404), ("%00", 422), ("..%2f", 404)],
    )
    async def test_unknown_type_is_not_found(
        self, customer: httpx.AsyncClient, key: str, status: int
    ) -> None:
        response = await customer.get(f"{DOCUMENTS}/{key}")
        assert response.status_code == status, response.text
        assert response.headers["content-type"] == "application/problem+json"

    async def test_unchanged_document_returns_not_modified(
        self, customer: httpx.AsyncClient
    ) -> None:
        tag = (await customer.get(CARD)).headers["etag"]
        again = await customer.get(CARD, headers={"If-None-Match": f'"other", {tag}'})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)

    async def test_etag_changes_with_the_document(self, customer: httpx.AsyncClient) -> None:
        tags = [(await customer.get(CARD)).headers["etag"]]
        tags += [(await customer.put(CARD, **upload_of())).headers["etag"]]
        values = {"field_values": {"issued-in": "Delft"}}
        tags += [(await customer.patch(CARD, json=values)).headers["etag"]]
        assert len(set(tags)) == 3
        assert (await customer.get(CARD)).headers["etag"] == tags[-1]

    async def test_head_is_get_without_the_body(self, customer: httpx.AsyncClient) -> None:
        read, head = await customer.get(CARD), await customer.head(CARD)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["etag"] == read.headers["etag"]


class TestUpload:
    """PUT /v1/customer/documents/{key}."""

    @pytest.mark.req("R-009", "R-052")
    async def test_uploaded_file_round_trips_byte_for_byte(
        self, customer: httpx.AsyncClient
    ) -> None:
        body = files.jpeg()
        response = await customer.put(CARD, **upload_of(body, "card.jpg"))
        assert response.status_code == 201, response.text
        content = await customer.get(f"{CARD}/content")
        assert content.content == body

    async def test_response_is_the_document(self, customer: httpx.AsyncClient) -> None:
        response = await customer.put(CARD, **upload_of(files.jpeg(), "card.jpg"))
        read = await customer.get(CARD)
        assert response.json() == read.json()
        assert response.headers["etag"] == read.headers["etag"]

    async def test_file_is_described(self, customer: httpx.AsyncClient) -> None:
        document = await upload(customer, CARD, body=b"hello\n", filename="hello.txt")
        assert document["files"] == [
            {
                "number": 1,
                "filename": "hello.txt",
                "media_type": "text/plain",
                "size_bytes": 6,
                "sha256": "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
                "has_preview": False,
                "has_active_content": False,
                "has_attachments": False,
                "needs_password": False,
                "pages": None,
                "scan": "not_configured",
            }
        ]

    @pytest.mark.req("R-055", "A-01", "A-02")
    async def test_second_upload_replaces_the_first(self, customer: httpx.AsyncClient) -> None:
        first = await customer.put(CARD, **upload_of())
        second = await customer.put(CARD, **upload_of(files.png(), "new.png"))
        assert (first.status_code, second.status_code) == (201, 200)
        old, new = first.json(), second.json()
        assert (old["version"], new["version"]) == (1, 2)
        assert new["uploaded_at"] > old["uploaded_at"]
        assert [file["filename"] for file in new["files"]] == ["new.png"]

    @pytest.mark.req("R-052", "R-058", "A-31")
    async def test_upload_date_is_server_time_in_utc(self, customer: httpx.AsyncClient) -> None:
        before = datetime.now(UTC)
        document = await upload(customer, CARD)
        assert document["uploaded_at"].endswith("Z")
        at = datetime.fromisoformat(document["uploaded_at"])
        assert before - timedelta(seconds=5) < at < datetime.now(UTC) + timedelta(seconds=5)

    @pytest.mark.req("R-058")
    async def test_client_supplied_upload_date_is_rejected(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        response = await customer.put(CARD, **upload_of(uploaded_at="2020-01-01T00:00:00Z"))
        assert refusal(response) == (422, "validation-error", "/uploaded_at")
        assert await stored_state(resources) == NOTHING_STORED

    async def test_uploader_is_customer(self, customer: httpx.AsyncClient) -> None:
        document = await upload(customer, CARD)
        assert document["uploaded_by"] == {"kind": "customer"}

    @pytest.mark.req("R-042", "R-043", "R-054")
    async def test_file_and_values_in_one_request(self, customer: httpx.AsyncClient) -> None:
        values = '{"issued-on": "2024-05-02", "issued-in": "Delft"}'
        await upload(customer, CARD, field_values=values)
        document = (await customer.get(CARD)).json()
        assert document["field_values"] == {"issued-on": "2024-05-02", "issued-in": "Delft"}

    async def test_replacement_without_values_keeps_values(
        self, customer: httpx.AsyncClient
    ) -> None:
        await upload(customer, CARD, field_values='{"issued-in": "Delft"}')
        assert (await upload(customer, CARD))["field_values"] == {"issued-in": "Delft"}

    async def test_replacement_merges_values(self, customer: httpx.AsyncClient) -> None:
        await upload(customer, CARD, field_values='{"issued-in": "Delft", "issued-on": "2024"}')
        document = await upload(customer, CARD, field_values='{"issued-in": null}')
        assert document["field_values"] == {"issued-on": "2024"}

    async def test_values_part_may_precede_file_part(self, customer: httpx.AsyncClient) -> None:
        parts = [("field_values", (None, '{"issued-in": "Delft"}'))]
        response = await customer.put(CARD, files=[*parts, *upload_of()["files"]])
        assert response.status_code == 201, response.text
        assert response.json()["field_values"] == {"issued-in": "Delft"}

    @pytest.mark.req("R-041")
    @pytest.mark.parametrize(
        "value",
        [
            "",
            " ",
            "é\u0301",
            "مرحبا",
            "🪪👩‍👩‍👧",
            "<b>\"'&\\",
            "a\tb\r\nc",
            "x" * 2000,
            "😀" * 2000,
        ],
    )
    async def test_any_text_value_round_trips(
        self, customer: httpx.AsyncClient, value: str
    ) -> None:
        await upload(customer, CARD)
        sent = {"field_values": {"issued-in": value}}
        assert (await customer.patch(CARD, json=sent)).json()["field_values"] == {
            "issued-in": value
        }
        assert (await customer.get(CARD)).json()["field_values"] == {"issued-in": value}

    @pytest.mark.req("B-100")
    @pytest.mark.parametrize("control", sorted(set(CONTROLS) - set("\0\t\r\n")))
    async def test_value_with_control_character_is_rejected(
        self, customer: httpx.AsyncClient, control: str
    ) -> None:
        await upload(customer, CARD)
        response = await customer.patch(CARD, json={"field_values": {"issued-in": f"a{control}b"}})
        error = response.json()["errors"][0]
        assert (response.status_code, error["pointer"]) == (422, "/field_values/issued-in")
        assert error["detail"] == "Must not contain control characters."
        assert (await customer.get(CARD)).json()["field_values"] == {}

    @pytest.mark.req("A-10")
    async def test_missing_required_value_makes_document_incomplete(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        fields = [{"key": "issued-on", "label": "Issued on", "required": True}]
        await patch_type(admin, "identity-card", fields=fields)
        assert (await upload(customer, CARD))["status"] == "incomplete"
        response = await customer.patch(CARD, json={"field_values": {"issued-on": "2024"}})
        assert response.json()["status"] == "accepted"

    @pytest.mark.req("A-01")
    async def test_files_keep_their_order(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_type(admin, "identity-card", max_files=3)
        bodies = [files.jpeg(), files.png(), files.pdf()]
        sent = [("file", (f"{i}", body)) for i, body in enumerate(bodies)]
        response = await customer.put(CARD, files=sent)
        assert response.status_code == 201, response.text
        described = [(file["number"], file["filename"]) for file in response.json()["files"]]
        assert described == [(1, "0.jpg"), (2, "1.png"), (3, "2.pdf")]
        contents = [await customer.get(f"{CARD}/content", params={"file": n}) for n in (1, 2, 3)]
        assert [response.content for response in contents] == bodies

    @pytest.mark.req("R-051", "A-14")
    @pytest.mark.parametrize("media_type", sorted(set(files.GOOD_FILES) - {files.PPTX, files.ODP}))
    async def test_media_type_is_detected_from_content(
        self, customer: httpx.AsyncClient, media_type: str
    ) -> None:
        make, extension = files.GOOD_FILES[media_type]
        sent: dict[str, Any] = {
            "files": [("file", (f"a.{extension}", make(), "application/x-wrong"))]
        }
        response = await customer.put(CARD, **sent)
        assert response.status_code == 201, response.text
        assert response.json()["files"][0]["media_type"] == media_type
        content = await customer.get(f"{CARD}/content")
        assert (content.content, content.headers["content-type"]) == (make(), media_type)

    @pytest.mark.req("R-034", "R-065")
    async def test_admin_only_document_is_rejected_before_reading_body(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        body = Chunks(b"x" * 100_000)
        headers = raw_body(b"")["headers"]
        response = await customer.put(CONTRACT, content=body, headers=headers)
        assert refusal(response) == (403, "admin-only-document", None)
        assert response.headers["connection"] == "close"
        assert body.bytes_read == 0
        assert await stored_state(resources) == NOTHING_STORED

    @pytest.mark.req("R-034")
    async def test_rejected_upload_is_audited(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        response = await customer.put(CONTRACT, **upload_of())
        event = (await audited(admin, "document.upload"))[0]
        assert (event["result"], event["customer"], event["document_type"]) == (
            "denied",
            "c-1",
            "contract",
        )
        assert response.json()["instance"] == f"urn:uuid:{event['request_id']}"
        assert event["actor"] == {"kind": "customer", "id": "c-1"}

    @pytest.mark.req("R-002")
    async def test_unknown_type_rejects_upload(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        response = await customer.put(f"{DOCUMENTS}/unknown", **upload_of())
        assert refusal(response)[:2] == (404, "document-type-not-found")
        assert await stored_state(resources) == NOTHING_STORED

    async def test_archived_type_rejects_upload(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_type(admin, "diploma", archived=True)
        response = await customer.put(DIPLOMA, **upload_of())
        assert refusal(response)[:2] == (404, "document-type-not-found")

    @pytest.mark.req("R-002")
    async def test_unknown_customer_cannot_upload(
        self, customer: httpx.AsyncClient, customer_of: CustomerClients, resources: Resources
    ) -> None:
        del customer
        response = await customer_of("c-9").put(CARD, **upload_of())
        assert refusal(response) == (403, "customer-not-registered", None)
        assert await stored_state(resources) == NOTHING_STORED

    @pytest.mark.req("R-070", "A-07")
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", DOCUMENTS),
            ("GET", CARD),
            ("PUT", CARD),
            ("PATCH", CARD),
            ("DELETE", CARD),
            ("GET", f"{CARD}/content"),
            ("GET", f"{CARD}/preview"),
            ("POST", "/v1/customer/document-batches"),
        ],
    )
    async def test_all_endpoints_are_closed_while_portal_is_disabled(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, method: str, path: str
    ) -> None:
        await upload(admin, f"{ADMIN}/identity-card")
        await patch_portal(admin, section_enabled=False)
        response = await customer.request(method, path)
        assert refusal(response) == (403, "portal-section-disabled", None)

    @pytest.mark.req("A-07")
    async def test_denied_access_to_disabled_portal_is_audited(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_portal(admin, section_enabled=False)
        response = await customer.get(f"{CARD}/content")
        (event,) = await audited(admin, "document.download")
        assert (event["result"], event["customer"]) == ("denied", "c-1")
        assert response.headers["x-request-id"] == event["request_id"]

    async def test_denied_access_of_unknown_customer_is_audited(
        self, admin: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        response = await customer_of("c-9").get(DOCUMENTS)
        (event,) = await audited(admin, "document.list")
        assert (event["result"], event["actor"]["kind"]) == ("denied", "customer")
        assert response.headers["x-request-id"] == event["request_id"]

    @pytest.mark.req("R-076")
    async def test_customer_blocked_by_gate_can_access_documents(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_portal(admin, gate_enabled=True)
        assert (await customer.get("/v1/customer/gate")).json()["decision"] == "blocked"
        assert (await customer.get(DOCUMENTS)).status_code == 200
        assert (await customer.put(CARD, **upload_of())).status_code == 201
        assert (await customer.get("/v1/customer/gate")).json()["decision"] == "open"

    async def test_upload_and_replacement_are_audited(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await upload(customer, CARD)
        await upload(customer, CARD)
        first = await audited(admin, "document.upload")
        second = await audited(admin, "document.replace")
        assert [event["version"] for event in [*first, *second]] == [1, 2]


class TestConditionalUpload:
    """PUT /v1/customer/documents/{key} with If-Match or If-None-Match."""

    async def test_create_only_fills_an_empty_document(self, customer: httpx.AsyncClient) -> None:
        response = await customer.put(CARD, **upload_of(), headers={"If-None-Match": "*"})
        assert response.status_code == 201

    async def test_create_only_does_not_replace_document(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await upload(customer, CARD)
        before = await stored_state(resources)
        response = await customer.put(CARD, **upload_of(), headers={"If-None-Match": "*"})
        assert refusal(response)[:2] == (412, "precondition-failed")
        assert await stored_state(resources) == before

    async def test_stale_etag_does_not_replace_document(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        stale = (await customer.get(CARD)).headers["etag"]
        await upload(customer, CARD)
        before = await stored_state(resources)
        response = await customer.put(CARD, **upload_of(), headers={"If-Match": stale})
        assert refusal(response)[:2] == (412, "precondition-failed")
        assert await stored_state(resources) == before

    async def test_current_etag_replaces_document(self, customer: httpx.AsyncClient) -> None:
        tag = (await customer.put(CARD, **upload_of())).headers["etag"]
        response = await customer.put(CARD, **upload_of(), headers={"If-Match": f'"x", {tag}'})
        assert (response.status_code, response.json()["version"]) == (200, 2)

    async def test_weak_etag_never_matches(self, customer: httpx.AsyncClient) -> None:
        tag = (await customer.put(CARD, **upload_of())).headers["etag"]
        response = await customer.put(CARD, **upload_of(), headers={"If-Match": f"W/{tag}"})
        assert response.status_code == 412
        assert (await customer.get(CARD)).headers["etag"] == tag

    async def test_matching_etag_in_if_none_match_is_rejected(
        self, customer: httpx.AsyncClient
    ) -> None:
        tag = (await customer.put(CARD, **upload_of())).headers["etag"]
        response = await customer.put(CARD, **upload_of(), headers={"If-None-Match": f'"x", {tag}'})
        assert refusal(response)[:2] == (412, "precondition-failed")
        assert (await customer.get(CARD)).headers["etag"] == tag

    async def test_etags_may_span_several_header_lines(self, customer: httpx.AsyncClient) -> None:
        tag = (await customer.put(CARD, **upload_of())).headers["etag"]
        headers = [("If-Match", '"other"'), ("If-Match", tag)]
        response = await customer.put(CARD, **upload_of(), headers=headers)
        assert response.status_code == 200, response.text

    @pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
    async def test_invalid_etag_is_rejected(
        self, customer: httpx.AsyncClient, resources: Resources, header: str
    ) -> None:
        response = await customer.put(CARD, **upload_of(), headers={header: "no quotes"})
        assert refusal(response) == (422, "validation-error", header)
        assert await stored_state(resources) == NOTHING_STORED


class TestRaces:
    """Concurrent uploads of one document."""

    async def test_concurrent_uploads_create_once_and_replace_once(
        self, customer: httpx.AsyncClient
    ) -> None:
        bodies = [files.pdf("one"), files.pdf("two")]
        responses = await asyncio.gather(
            *(customer.put(CARD, **upload_of(body, "a.pdf")) for body in bodies)
        )
        assert sorted(response.status_code for response in responses) == [200, 201]
        assert {response.status_code: response.json()["version"] for response in responses} == {
            201: 1,
            200: 2,
        }

    async def test_one_concurrent_create_only_upload_succeeds(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        headers = {"If-None-Match": "*"}
        responses = await asyncio.gather(
            *(customer.put(CARD, **upload_of(), headers=headers) for _ in range(4))
        )
        assert sorted(response.status_code for response in responses) == [201, 412, 412, 412]
        held = await stored_state(resources)
        assert (held.versions, len(held.in_store), held.unsettled) == (1, 1, frozenset())

    async def test_one_concurrent_conditional_replacement_succeeds(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        tag = (await customer.put(CARD, **upload_of())).headers["etag"]
        responses = await asyncio.gather(
            *(customer.put(CARD, **upload_of(), headers={"If-Match": tag}) for _ in range(4))
        )
        assert sorted(response.status_code for response in responses) == [200, 412, 412, 412]
        assert (await stored_state(resources)).versions == 2

    async def test_concurrent_replacement_and_deletion_are_serialised(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await upload(customer, CARD)
        put, deleted = await asyncio.gather(
            customer.put(CARD, **upload_of()), admin.delete(f"{ADMIN}/identity-card")
        )
        assert (put.status_code, deleted.status_code) in {(200, 204), (201, 204)}
        held = await stored_state(resources)
        assert held.versions == (1 if put.status_code == 201 else 0)
        assert held.attached == held.in_store

    async def test_concurrent_updates_of_two_fields_are_both_kept(
        self, customer: httpx.AsyncClient
    ) -> None:
        await upload(customer, CARD)
        corrections = [{"issued-on": "2024"}, {"issued-in": "Delft"}]
        responses = await asyncio.gather(
            *(customer.patch(CARD, json={"field_values": values}) for values in corrections)
        )
        assert [response.status_code for response in responses] == [200, 200]
        values = (await customer.get(CARD)).json()["field_values"]
        assert values == {"issued-on": "2024", "issued-in": "Delft"}

    async def test_update_during_replacement_is_kept(self, customer: httpx.AsyncClient) -> None:
        await upload(customer, CARD)
        put, patched = await asyncio.gather(
            customer.put(CARD, **upload_of(field_values='{"issued-on": "2024"}')),
            customer.patch(CARD, json={"field_values": {"issued-in": "Delft"}}),
        )
        assert (put.status_code, patched.status_code) == (200, 200)
        document = (await customer.get(CARD)).json()
        assert document["version"] == 2
        assert document["field_values"] == {"issued-on": "2024", "issued-in": "Delft"}

    @pytest.mark.req("R-034")
    async def test_type_made_admin_only_during_upload_rejects_file(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        request = httpx.Request("PUT", "http://docvault.test", **upload_of())
        body = request.read()

        async def changing() -> AsyncIterator[bytes]:
            yield body[:100]
            await patch_type(admin, "diploma", upload_mode="admin_only")
            yield body[100:]

        headers = {"Content-Type": request.headers["content-type"]}
        response = await customer.put(DIPLOMA, content=changing(), headers=headers)
        assert refusal(response) == (403, "admin-only-document", None)
        assert await stored_state(resources) == NOTHING_STORED

    @pytest.mark.req("R-106")
    async def test_upload_racing_with_erasure_leaves_nothing(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        put, erased = await asyncio.gather(
            customer.put(CARD, **upload_of()), admin.delete("/v1/admin/customers/c-1")
        )
        assert erased.status_code == 202
        assert put.status_code in {201, 401, 403, 404, 409}, put.text
        assert await stored_state(resources) == NOTHING_STORED


class TestUpdate:
    """PATCH /v1/customer/documents/{key}."""

    @pytest.mark.req("R-045")
    async def test_values_change_and_file_is_kept(self, customer: httpx.AsyncClient) -> None:
        before = await upload(customer, CARD)
        response = await customer.patch(CARD, json={"field_values": {"issued-in": "Delft"}})
        assert response.status_code == 200, response.text
        assert response.json() == before | {"field_values": {"issued-in": "Delft"}}

    async def test_absent_value_is_kept_and_null_clears(self, customer: httpx.AsyncClient) -> None:
        await upload(customer, CARD, field_values='{"issued-in": "Delft", "issued-on": "2024"}')
        response = await customer.patch(CARD, json={"field_values": {"issued-on": None}})
        assert response.json()["field_values"] == {"issued-in": "Delft"}

    async def test_empty_patch_changes_nothing(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        before = await upload(customer, CARD)
        response = await customer.patch(CARD, json={})
        assert (response.status_code, response.json()) == (200, before)
        assert await audited(admin, "document.update") == []

    @pytest.mark.req("R-034")
    async def test_type_made_admin_only_during_update_rejects_values(
        self,
        admin: httpx.AsyncClient,
        customer: httpx.AsyncClient,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        before = await upload(customer, CARD)
        lock = documents.lock_document

        async def lock_late(*arguments: Any) -> Document:
            await patch_type(admin, "identity-card", upload_mode="admin_only")
            return await lock(*arguments)

        monkeypatch.setattr(documents, "lock_document", lock_late)
        response = await customer.patch(CARD, json={"field_values": {"issued-in": "Delft"}})
        assert refusal(response)[:2] == (403, "admin-only-document")
        assert (await customer.get(CARD)).json()["field_values"] == before["field_values"]

    async def test_merge_patch_content_type_is_accepted(self, customer: httpx.AsyncClient) -> None:
        await upload(customer, CARD)
        response = await customer.patch(
            CARD,
            content=b'{"field_values": {"issued-in": "Delft"}}',
            headers={"Content-Type": "application/merge-patch+json"},
        )
        assert response.json()["field_values"] == {"issued-in": "Delft"}

    @pytest.mark.req("R-032", "A-11")
    async def test_missing_required_document_needs_file_first(
        self, customer: httpx.AsyncClient
    ) -> None:
        response = await customer.patch(CARD, json={"field_values": {"issued-in": "Delft"}})
        assert refusal(response) == (422, "file-required", "/file")
        assert (await customer.get(CARD)).json()["field_values"] == {}

    @pytest.mark.req("A-11")
    async def test_values_of_missing_optional_document_are_kept_as_draft(
        self, customer: httpx.AsyncClient
    ) -> None:
        response = await customer.patch(DIPLOMA, json={"field_values": {"school": "TU"}})
        assert response.status_code == 200, response.text
        assert (response.json()["upload_state"], response.json()["version"]) == ("missing", 0)
        assert (await upload(customer, DIPLOMA))["field_values"] == {"school": "TU"}

    @pytest.mark.req("R-034")
    async def test_admin_only_document_is_rejected(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_type(admin, "contract", collects_fields=True, field_labels="Number")
        response = await customer.patch(CONTRACT, json={"field_values": {"number": "1"}})
        assert refusal(response) == (403, "admin-only-document", None)
        assert (await audited(admin, "document.update"))[0]["result"] == "denied"

    @pytest.mark.req("R-046")
    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ({"nope": "1"}, (422, "unknown-field", "/field_values/nope")),
            ({"nope": None}, (422, "unknown-field", "/field_values/nope")),
            ({"a/b~c": "1"}, (422, "unknown-field", "/field_values/a~1b~0c")),
            ({"issued-in": 7}, (422, "validation-error", "/field_values/issued-in")),
            ({"issued-in": ["a"]}, (422, "validation-error", "/field_values/issued-in")),
            ({"issued-in": "x" * 2001}, (422, "validation-error", "/field_values/issued-in")),
            ({"issued-in": "a\0b"}, (422, "validation-error", "/field_values/issued-in")),
            (["issued-in"], (422, "validation-error", "/field_values")),
            ("issued-in", (422, "validation-error", "/field_values")),
        ],
    )
    async def test_invalid_values_are_rejected_with_pointer(
        self, customer: httpx.AsyncClient, values: Any, expected: tuple[int, str, str]
    ) -> None:
        before = await upload(customer, CARD, field_values='{"issued-in": "Delft"}')
        assert refusal(await customer.patch(CARD, json={"field_values": values})) == expected
        assert (await customer.get(CARD)).json() == before

    @pytest.mark.parametrize("member", ["version", "uploaded_at", "files", "status", "type"])
    async def test_unknown_members_are_rejected(
        self, customer: httpx.AsyncClient, member: str
    ) -> None:
        await upload(customer, CARD)
        response = await customer.patch(CARD, json={member: None})
        assert refusal(response) == (422, "validation-error", f"/{member}")

    @pytest.mark.req("R-046")
    async def test_type_without_fields_rejects_values(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await upload(customer, CARD)
        await patch_type(admin, "identity-card", collects_fields=False)
        response = await customer.patch(CARD, json={"field_values": {"issued-in": "x"}})
        assert refusal(response)[:2] == (422, "fields-not-enabled")

    async def test_stale_etag_is_rejected(self, customer: httpx.AsyncClient) -> None:
        tag = (await customer.put(CARD, **upload_of())).headers["etag"]
        values = {"field_values": {"issued-in": "Delft"}}
        fresh = await customer.patch(CARD, json=values, headers={"If-Match": tag})
        other = {"field_values": {"issued-in": "Gouda"}}
        stale = await customer.patch(CARD, json=other, headers={"If-Match": tag})
        assert (fresh.status_code, stale.status_code) == (200, 412)
        assert (await customer.get(CARD)).json() == fresh.json()

    @pytest.mark.req("R-044")
    async def test_audit_trail_has_old_and_new_values(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await upload(customer, CARD, field_values='{"issued-in": "Delft"}')
        await customer.patch(CARD, json={"field_values": {"issued-in": "Gouda"}})
        event = (await audited(admin, "document.update"))[0]
        assert event["changes"] == {
            "field_values": {"old": {"issued-in": "Delft"}, "new": {"issued-in": "Gouda"}}
        }


class TestDelete:
    """DELETE /v1/customer/documents/{key}."""

    @pytest.mark.req("A-19")
    async def test_customer_cannot_delete_by_default(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await upload(customer, DIPLOMA)
        assert refusal(await customer.delete(DIPLOMA)) == (403, "delete-not-allowed", None)
        assert (await customer.get(DIPLOMA)).json()["upload_state"] == "uploaded"
        assert (await audited(admin, "document.delete"))[0]["result"] == "denied"

    @pytest.mark.req("A-19")
    async def test_optional_document_is_deleted_when_allowed(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await upload(customer, DIPLOMA, field_values='{"school": "TU"}')
        await patch_portal(admin, customer_may_delete=True)
        assert (await customer.delete(DIPLOMA)).status_code == 204
        document = (await customer.get(DIPLOMA)).json()
        assert (document["upload_state"], document["version"]) == ("missing", 0)
        assert document["field_values"] == {}
        assert await stored_state(resources) == NOTHING_STORED

    @pytest.mark.req("A-19", "R-034")
    @pytest.mark.parametrize("key", ["identity-card", "contract"])
    async def test_required_and_admin_only_documents_are_kept(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, key: str
    ) -> None:
        await upload(admin, f"{ADMIN}/{key}")
        await patch_portal(admin, customer_may_delete=True)
        response = await customer.delete(f"{DOCUMENTS}/{key}")
        assert refusal(response) == (403, "delete-not-allowed", None)
        assert (await customer.get(f"{DOCUMENTS}/{key}")).json()["version"] == 1

    async def test_missing_document_has_no_file_to_delete(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_portal(admin, customer_may_delete=True)
        assert refusal(await customer.delete(DIPLOMA)) == (404, "file-not-found", None)

    async def test_version_number_does_not_restart(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_portal(admin, customer_may_delete=True)
        await upload(customer, DIPLOMA)
        await customer.delete(DIPLOMA)
        response = await customer.put(DIPLOMA, **upload_of())
        assert (response.status_code, response.json()["version"]) == (201, 2)

    async def test_stale_etag_is_rejected(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_portal(admin, customer_may_delete=True)
        stale = (await customer.get(DIPLOMA)).headers["etag"]
        await upload(customer, DIPLOMA)
        response = await customer.delete(DIPLOMA, headers={"If-Match": stale})
        assert refusal(response)[:2] == (412, "precondition-failed")


class TestContent:
    """GET /v1/customer/documents/{key}/content."""

    @pytest.mark.req("R-033")
    async def test_admin_only_document_can_be_read(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await upload(admin, f"{ADMIN}/contract", body=files.pdf("signed"))
        document = (await customer.get(CONTRACT)).json()
        assert (document["upload_state"], document["can_upload"]) == ("uploaded", False)
        assert (await customer.get(f"{CONTRACT}/content")).content == files.pdf("signed")

    async def test_missing_document_has_no_content(self, customer: httpx.AsyncClient) -> None:
        assert refusal(await customer.get(f"{CARD}/content")) == (404, "file-not-found", None)

    async def test_unknown_file_number_is_not_found(self, customer: httpx.AsyncClient) -> None:
        await upload(customer, CARD)
        response = await customer.get(f"{CARD}/content", params={"file": 2})
        assert refusal(response) == (404, "file-not-found", None)

    @pytest.mark.parametrize(
        "query", [{"file": "0"}, {"file": "21"}, {"disposition": "evil"}, {"version": "1"}]
    )
    async def test_invalid_parameters_are_rejected(
        self, customer: httpx.AsyncClient, query: dict[str, str]
    ) -> None:
        await upload(customer, CARD)
        response = await customer.get(f"{CARD}/content", params=query)
        assert refusal(response) == (422, "validation-error", next(iter(query)))


class TestPreview:
    """GET /v1/customer/documents/{key}/preview."""

    @pytest.mark.req("R-053")
    async def test_image_has_a_preview(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        document = await upload(customer, CARD, body=files.jpeg(), filename="a.jpg")
        response = await customer.get(f"{CARD}/preview")
        assert document["files"][0]["has_preview"] is True
        assert (response.status_code, response.headers["content-type"]) == (200, "image/jpeg")
        assert b"Factory Camera" not in response.content
        assert (await audited(admin, "document.preview"))[0]["customer"] == "c-1"

    @pytest.mark.req("R-053")
    async def test_unsupported_type_has_no_preview(self, customer: httpx.AsyncClient) -> None:
        await upload(customer, CARD, body=files.docx(), filename="a.docx")
        assert refusal(await customer.get(f"{CARD}/preview")) == (404, "no-preview", None)

    async def test_missing_document_has_no_preview(self, customer: httpx.AsyncClient) -> None:
        assert refusal(await customer.get(f"{CARD}/preview")) == (404, "file-not-found", None)
