"""Customers and their documents."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.api.holdings import NOTHING, Chunks, audited, holdings, raw_body, refusal
from tests.factories import files
from tests.factories.setups import make_customer, make_type, patch_portal, patch_type, upload_of
from tests.fixtures.callers import CustomerClients

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
    """Upload a file that is accepted."""
    answer = await client.put(path, **upload_of(**sent))
    assert answer.status_code in {200, 201}, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def keys(client: httpx.AsyncClient, **query: Any) -> list[str]:
    """Return the type keys of a list of documents."""
    answer = await client.get(DOCUMENTS, params=query)
    return [item["type"]["key"] for item in answer.json()["items"]]


class TestList:
    """GET /v1/customer/documents."""

    @pytest.mark.req("R-001", "R-003", "R-006", "R-050")
    async def test_a_new_customer_sees_every_active_type_as_missing(
        self, customer: httpx.AsyncClient
    ) -> None:
        answer = await customer.get(DOCUMENTS)
        states = {item["type"]["key"]: item["upload_state"] for item in answer.json()["items"]}
        assert states == dict.fromkeys(["identity-card", "diploma", "contract"], "missing")
        assert answer.json()["next_cursor"] is None

    async def test_a_missing_document_has_nothing_but_its_type(
        self, customer: httpx.AsyncClient
    ) -> None:
        document = (await customer.get(DOCUMENTS)).json()["items"][0]
        assert document.pop("type")["key"] == "identity-card"
        assert document == {
            "upload_state": "missing",
            "status": "missing",
            "version": 0,
            "uploaded_at": None,
            "uploaded_by": None,
            "files": [],
            "field_values": {},
            "can_upload": True,
        }

    @pytest.mark.req("R-040", "R-047", "R-050")
    async def test_an_entry_tells_what_is_asked(
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
        asked = (await customer.get(DOCUMENTS)).json()["items"][0]["type"]
        assert asked == {
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
        }

    @pytest.mark.req("R-019", "R-020")
    async def test_fields_and_values_hide_while_they_are_not_collected(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await upload(customer, CARD, field_values='{"issued-in": "Delft"}')
        await patch_type(admin, "identity-card", collects_fields=False)
        hidden = (await customer.get(CARD)).json()
        assert (hidden["type"]["fields"], hidden["field_values"]) == ([], {})
        await patch_type(admin, "identity-card", collects_fields=True)
        assert (await customer.get(CARD)).json()["field_values"] == {"issued-in": "Delft"}

    @pytest.mark.req("R-021")
    async def test_a_renamed_field_keeps_its_value(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await upload(customer, CARD, field_values='{"issued-in": "Delft"}')
        fields = [{"key": "issued-in", "label": "Place"}]
        await patch_type(admin, "identity-card", fields=fields)
        document = (await customer.get(CARD)).json()
        assert [field["label"] for field in document["type"]["fields"]] == ["Place"]
        assert document["field_values"] == {"issued-in": "Delft"}

    @pytest.mark.req("R-004")
    async def test_a_type_added_later_is_asked_at_once(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await make_type(admin, "Passport")
        assert "passport" in await keys(customer)

    async def test_an_archived_type_is_not_asked_even_with_a_file(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await upload(customer, DIPLOMA)
        await patch_type(admin, "diploma", archived=True)
        assert await keys(customer) == ["identity-card", "contract"]

    @pytest.mark.req("R-022")
    async def test_the_order_of_the_types_is_the_order_of_the_list(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        order = ["contract", "identity-card", "diploma"]
        answer = await admin.put("/v1/admin/document-type-order", json={"keys": order})
        assert answer.status_code == 204
        assert await keys(customer) == order

    async def test_pages_show_each_type_once(self, customer: httpx.AsyncClient) -> None:
        first = (await customer.get(DOCUMENTS, params={"limit": 2})).json()
        query = {"limit": 2, "cursor": first["next_cursor"]}
        second = (await customer.get(DOCUMENTS, params=query)).json()
        found = [item["type"]["key"] for item in [*first["items"], *second["items"]]]
        assert found == ["identity-card", "diploma", "contract"]
        assert second["next_cursor"] is None

    async def test_the_total_is_counted_when_asked(self, customer: httpx.AsyncClient) -> None:
        plain = (await customer.get(DOCUMENTS)).json()
        counted = (await customer.get(DOCUMENTS, params={"include_total": True, "limit": 1})).json()
        assert "total" not in plain
        assert counted["total"] == 3

    @pytest.mark.parametrize(
        ("limit", "status"), [("0", 422), ("1", 200), ("200", 200), ("201", 422), ("1e2", 422)]
    )
    async def test_the_limit_is_1_to_200(
        self, customer: httpx.AsyncClient, limit: str, status: int
    ) -> None:
        answer = await customer.get(DOCUMENTS, params={"limit": limit})
        assert answer.status_code == status

    @pytest.mark.parametrize("cursor", ["x", "AAAA", "é", "a" * 5000, ""])
    async def test_a_forged_cursor_is_refused(
        self, customer: httpx.AsyncClient, cursor: str
    ) -> None:
        answer = await customer.get(DOCUMENTS, params={"cursor": cursor})
        assert refusal(answer) == (400, "invalid-cursor", "cursor")

    async def test_an_unknown_parameter_is_refused(self, customer: httpx.AsyncClient) -> None:
        answer = await customer.get(DOCUMENTS, params={"customer": "c-2"})
        assert refusal(answer) == (422, "validation-error", "customer")

    @pytest.mark.req("R-057", "R-107")
    async def test_another_customers_documents_are_not_there(
        self,
        admin: httpx.AsyncClient,
        customer: httpx.AsyncClient,
        customer_of: CustomerClients,
    ) -> None:
        await upload(customer, CARD)
        await make_customer(admin, "c-2")
        stranger = customer_of("c-2")
        assert (await stranger.get(CARD)).json()["upload_state"] == "missing"
        for path in (f"{CARD}/content", f"{CARD}/preview"):
            assert refusal(await stranger.get(path))[:2] == (404, "no-file")

    async def test_staff_are_not_named_to_the_customer(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await upload(admin, f"{ADMIN}/identity-card")
        answer = await customer.get(DOCUMENTS)
        assert answer.json()["items"][0]["uploaded_by"] == {"kind": "admin"}
        assert "staff-1" not in answer.text


class TestRead:
    """GET /v1/customer/documents/{key}."""

    @pytest.mark.parametrize("key", ["unknown", "Identity-Card", "x" * 300, "%00", "..%2f"])
    async def test_an_unknown_type_is_not_found(
        self, customer: httpx.AsyncClient, key: str
    ) -> None:
        answer = await customer.get(f"{DOCUMENTS}/{key}")
        assert answer.status_code in {404, 422}, answer.text
        assert answer.headers["content-type"] == "application/problem+json"

    async def test_an_unchanged_document_is_not_sent_again(
        self, customer: httpx.AsyncClient
    ) -> None:
        tag = (await customer.get(CARD)).headers["etag"]
        again = await customer.get(CARD, headers={"If-None-Match": f'"other", {tag}'})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)

    async def test_the_etag_changes_with_the_document(self, customer: httpx.AsyncClient) -> None:
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
    async def test_an_uploaded_file_comes_back_byte_for_byte(
        self, customer: httpx.AsyncClient
    ) -> None:
        body = files.jpeg()
        answer = await customer.put(CARD, **upload_of(body, "card.jpg"))
        assert answer.status_code == 201, answer.text
        content = await customer.get(f"{CARD}/content")
        assert content.content == body

    async def test_the_answer_is_the_document(self, customer: httpx.AsyncClient) -> None:
        answer = await customer.put(CARD, **upload_of(files.jpeg(), "card.jpg"))
        read = await customer.get(CARD)
        assert answer.json() == read.json()
        assert answer.headers["etag"] == read.headers["etag"]

    async def test_the_file_is_described(self, customer: httpx.AsyncClient) -> None:
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
                "scan": "not_configured",
            }
        ]

    @pytest.mark.req("R-055", "A-01", "A-02")
    async def test_a_second_upload_replaces_the_first(self, customer: httpx.AsyncClient) -> None:
        first = await customer.put(CARD, **upload_of())
        second = await customer.put(CARD, **upload_of(files.png(), "new.png"))
        assert (first.status_code, second.status_code) == (201, 200)
        old, new = first.json(), second.json()
        assert (old["version"], new["version"]) == (1, 2)
        assert new["uploaded_at"] > old["uploaded_at"]
        assert [file["filename"] for file in new["files"]] == ["new.png"]

    @pytest.mark.req("R-052", "R-058", "A-31")
    async def test_the_upload_date_is_the_servers_in_utc(self, customer: httpx.AsyncClient) -> None:
        before = datetime.now(UTC)
        document = await upload(customer, CARD)
        assert document["uploaded_at"].endswith("Z")
        at = datetime.fromisoformat(document["uploaded_at"])
        assert before - timedelta(seconds=5) < at < datetime.now(UTC) + timedelta(seconds=5)

    @pytest.mark.req("R-058")
    async def test_an_upload_date_of_the_customers_own_is_refused(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        answer = await customer.put(CARD, **upload_of(uploaded_at="2020-01-01T00:00:00Z"))
        assert refusal(answer) == (422, "validation-error", "/uploaded_at")
        assert await holdings(resources) == NOTHING

    async def test_the_uploader_is_the_customer(self, customer: httpx.AsyncClient) -> None:
        document = await upload(customer, CARD)
        assert document["uploaded_by"] == {"kind": "customer"}

    @pytest.mark.req("R-042", "R-043", "R-054")
    async def test_file_and_values_come_in_one_request(self, customer: httpx.AsyncClient) -> None:
        values = '{"issued-on": "2024-05-02", "issued-in": "Delft"}'
        await upload(customer, CARD, field_values=values)
        document = (await customer.get(CARD)).json()
        assert document["field_values"] == {"issued-on": "2024-05-02", "issued-in": "Delft"}

    async def test_a_replacement_without_values_keeps_them(
        self, customer: httpx.AsyncClient
    ) -> None:
        await upload(customer, CARD, field_values='{"issued-in": "Delft"}')
        assert (await upload(customer, CARD))["field_values"] == {"issued-in": "Delft"}

    async def test_a_replacement_merges_its_values(self, customer: httpx.AsyncClient) -> None:
        await upload(customer, CARD, field_values='{"issued-in": "Delft", "issued-on": "2024"}')
        document = await upload(customer, CARD, field_values='{"issued-in": null}')
        assert document["field_values"] == {"issued-on": "2024"}

    async def test_values_may_come_before_the_file(self, customer: httpx.AsyncClient) -> None:
        parts = [("field_values", (None, '{"issued-in": "Delft"}'))]
        answer = await customer.put(CARD, files=[*parts, *upload_of()["files"]])
        assert answer.status_code == 201, answer.text
        assert answer.json()["field_values"] == {"issued-in": "Delft"}

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
    async def test_any_text_comes_back_unchanged(
        self, customer: httpx.AsyncClient, value: str
    ) -> None:
        await upload(customer, CARD)
        sent = {"field_values": {"issued-in": value}}
        assert (await customer.patch(CARD, json=sent)).json()["field_values"] == {
            "issued-in": value
        }
        assert (await customer.get(CARD)).json()["field_values"] == {"issued-in": value}

    @pytest.mark.req("A-10")
    async def test_a_document_that_lacks_a_required_value_is_incomplete(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        fields = [{"key": "issued-on", "label": "Issued on", "required": True}]
        await patch_type(admin, "identity-card", fields=fields)
        assert (await upload(customer, CARD))["status"] == "incomplete"
        answer = await customer.patch(CARD, json={"field_values": {"issued-on": "2024"}})
        assert answer.json()["status"] == "accepted"

    @pytest.mark.req("A-01")
    async def test_several_files_keep_their_order(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_type(admin, "identity-card", max_files=3)
        bodies = [files.jpeg(), files.png(), files.pdf()]
        sent = [("file", (f"{i}", body)) for i, body in enumerate(bodies)]
        answer = await customer.put(CARD, files=sent)
        assert answer.status_code == 201, answer.text
        described = [(file["number"], file["filename"]) for file in answer.json()["files"]]
        assert described == [(1, "0"), (2, "1"), (3, "2")]
        got = [await customer.get(f"{CARD}/content", params={"file": n}) for n in (1, 2, 3)]
        assert [content.content for content in got] == bodies

    @pytest.mark.req("R-051", "A-14")
    @pytest.mark.parametrize("media_type", sorted(set(files.GOOD_FILES) - {files.PPTX, files.ODP}))
    async def test_common_types_are_accepted_and_told_by_their_bytes(
        self, customer: httpx.AsyncClient, media_type: str
    ) -> None:
        make, extension = files.GOOD_FILES[media_type]
        sent = {"files": [("file", (f"a.{extension}", make(), "application/x-wrong"))]}
        answer = await customer.put(CARD, **sent)
        assert answer.status_code == 201, answer.text
        assert answer.json()["files"][0]["media_type"] == media_type
        content = await customer.get(f"{CARD}/content")
        assert (content.content, content.headers["content-type"]) == (make(), media_type)

    @pytest.mark.req("R-034", "R-065")
    async def test_an_admin_only_document_is_refused_before_the_body_is_read(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        body = Chunks(b"x" * 100_000)
        headers = raw_body(b"")["headers"]
        answer = await customer.put(CONTRACT, content=body, headers=headers)
        assert refusal(answer) == (403, "admin-only-document", None)
        assert answer.headers["connection"] == "close"
        assert body.taken == 0
        assert await holdings(resources) == NOTHING

    @pytest.mark.req("R-034")
    async def test_a_refused_upload_is_audited(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        answer = await customer.put(CONTRACT, **upload_of())
        event = (await audited(admin, "document.upload"))[0]
        assert (event["result"], event["customer"], event["document_type"]) == (
            "denied",
            "c-1",
            "contract",
        )
        assert answer.json()["instance"] == f"urn:uuid:{event['request_id']}"
        assert event["actor"] == {"kind": "customer", "id": "c-1"}

    @pytest.mark.req("R-002")
    async def test_an_unknown_type_takes_no_file(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        answer = await customer.put(f"{DOCUMENTS}/unknown", **upload_of())
        assert refusal(answer)[:2] == (404, "document-type-unknown")
        assert await holdings(resources) == NOTHING

    async def test_an_archived_type_takes_no_file(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_type(admin, "diploma", archived=True)
        answer = await customer.put(DIPLOMA, **upload_of())
        assert refusal(answer)[:2] == (404, "document-type-unknown")

    @pytest.mark.req("R-002")
    async def test_a_customer_who_is_not_known_uploads_nothing(
        self, customer: httpx.AsyncClient, customer_of: CustomerClients, resources: Resources
    ) -> None:
        del customer
        answer = await customer_of("c-9").put(CARD, **upload_of())
        assert refusal(answer) == (403, "customer-unknown", None)
        assert await holdings(resources) == NOTHING

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
    async def test_everything_is_closed_while_the_section_is_off(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, method: str, path: str
    ) -> None:
        await upload(admin, f"{ADMIN}/identity-card")
        await patch_portal(admin, section_enabled=False)
        answer = await customer.request(method, path)
        assert refusal(answer) == (403, "portal-section-disabled", None)

    @pytest.mark.req("A-07")
    async def test_knocking_while_the_section_is_off_is_audited(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_portal(admin, section_enabled=False)
        answer = await customer.get(f"{CARD}/content")
        (event,) = await audited(admin, "document.download")
        assert (event["result"], event["customer"]) == ("denied", "c-1")
        assert answer.headers["x-request-id"] == event["request_id"]

    async def test_knocking_of_a_customer_who_is_not_known_is_audited(
        self, admin: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        answer = await customer_of("c-9").get(DOCUMENTS)
        (event,) = await audited(admin, "document.list")
        assert (event["result"], event["actor"]["kind"]) == ("denied", "customer")
        assert answer.headers["x-request-id"] == event["request_id"]

    @pytest.mark.req("R-076")
    async def test_a_blocked_customer_reaches_the_documents(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_portal(admin, gate_enabled=True)
        assert (await customer.get("/v1/customer/gate")).json()["decision"] == "blocked"
        assert (await customer.get(DOCUMENTS)).status_code == 200
        assert (await customer.put(CARD, **upload_of())).status_code == 201
        assert (await customer.get("/v1/customer/gate")).json()["decision"] == "open"

    async def test_both_upload_and_replacement_are_audited(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await upload(customer, CARD)
        await upload(customer, CARD)
        first = await audited(admin, "document.upload")
        second = await audited(admin, "document.replace")
        assert [event["version"] for event in [*first, *second]] == [1, 2]


class TestConditionalUpload:
    """PUT /v1/customer/documents/{key} with If-Match or If-None-Match."""

    async def test_create_only_fills_an_empty_slot(self, customer: httpx.AsyncClient) -> None:
        answer = await customer.put(CARD, **upload_of(), headers={"If-None-Match": "*"})
        assert answer.status_code == 201

    async def test_create_only_leaves_a_filled_slot_alone(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await upload(customer, CARD)
        before = await holdings(resources)
        answer = await customer.put(CARD, **upload_of(), headers={"If-None-Match": "*"})
        assert refusal(answer)[:2] == (412, "precondition-failed")
        assert await holdings(resources) == before

    async def test_a_stale_etag_leaves_the_slot_alone(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        stale = (await customer.get(CARD)).headers["etag"]
        await upload(customer, CARD)
        before = await holdings(resources)
        answer = await customer.put(CARD, **upload_of(), headers={"If-Match": stale})
        assert refusal(answer)[:2] == (412, "precondition-failed")
        assert await holdings(resources) == before

    async def test_the_current_etag_replaces(self, customer: httpx.AsyncClient) -> None:
        tag = (await customer.put(CARD, **upload_of())).headers["etag"]
        answer = await customer.put(CARD, **upload_of(), headers={"If-Match": f'"x", {tag}'})
        assert (answer.status_code, answer.json()["version"]) == (200, 2)

    async def test_a_weak_etag_never_matches(self, customer: httpx.AsyncClient) -> None:
        tag = (await customer.put(CARD, **upload_of())).headers["etag"]
        answer = await customer.put(CARD, **upload_of(), headers={"If-Match": f"W/{tag}"})
        assert answer.status_code == 412

    async def test_etags_may_stand_on_several_lines(self, customer: httpx.AsyncClient) -> None:
        tag = (await customer.put(CARD, **upload_of())).headers["etag"]
        headers = [("If-Match", '"other"'), ("If-Match", tag)]
        answer = await customer.put(CARD, **upload_of(), headers=headers)
        assert answer.status_code == 200, answer.text

    @pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
    async def test_what_is_no_etag_is_refused(
        self, customer: httpx.AsyncClient, resources: Resources, header: str
    ) -> None:
        answer = await customer.put(CARD, **upload_of(), headers={header: "no quotes"})
        assert refusal(answer) == (422, "validation-error", header)
        assert await holdings(resources) == NOTHING


class TestRaces:
    """Uploads to one slot at the same time."""

    async def test_of_two_uploads_one_creates_and_one_replaces(
        self, customer: httpx.AsyncClient
    ) -> None:
        bodies = [files.pdf("one"), files.pdf("two")]
        answers = await asyncio.gather(
            *(customer.put(CARD, **upload_of(body, "a.pdf")) for body in bodies)
        )
        assert sorted(answer.status_code for answer in answers) == [200, 201]
        assert {answer.status_code: answer.json()["version"] for answer in answers} == {
            201: 1,
            200: 2,
        }

    async def test_only_one_creates_when_both_ask_for_an_empty_slot(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        headers = {"If-None-Match": "*"}
        answers = await asyncio.gather(
            *(customer.put(CARD, **upload_of(), headers=headers) for _ in range(4))
        )
        assert sorted(answer.status_code for answer in answers) == [201, 412, 412, 412]
        held = await holdings(resources)
        assert (held.versions, len(held.in_store), held.unsettled) == (1, 1, frozenset())

    async def test_only_one_replaces_the_version_both_have_seen(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        tag = (await customer.put(CARD, **upload_of())).headers["etag"]
        answers = await asyncio.gather(
            *(customer.put(CARD, **upload_of(), headers={"If-Match": tag}) for _ in range(4))
        )
        assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412]
        assert (await holdings(resources)).versions == 2

    async def test_a_replacement_and_a_deletion_leave_one_outcome(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await upload(customer, CARD)
        put, deleted = await asyncio.gather(
            customer.put(CARD, **upload_of()), admin.delete(f"{ADMIN}/identity-card")
        )
        assert (put.status_code, deleted.status_code) in {(200, 204), (201, 204)}
        held = await holdings(resources)
        assert held.versions == (1 if put.status_code == 201 else 0)
        assert held.attached == held.in_store

    async def test_corrections_of_two_fields_are_both_kept(
        self, customer: httpx.AsyncClient
    ) -> None:
        await upload(customer, CARD)
        corrections = [{"issued-on": "2024"}, {"issued-in": "Delft"}]
        answers = await asyncio.gather(
            *(customer.patch(CARD, json={"field_values": values}) for values in corrections)
        )
        assert [answer.status_code for answer in answers] == [200, 200]
        values = (await customer.get(CARD)).json()["field_values"]
        assert values == {"issued-on": "2024", "issued-in": "Delft"}

    async def test_a_correction_during_a_replacement_is_kept(
        self, customer: httpx.AsyncClient
    ) -> None:
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
    async def test_a_type_that_becomes_admin_only_meanwhile_takes_no_file(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        request = httpx.Request("PUT", "http://docvault.test", **upload_of())
        body = request.read()

        async def changing() -> AsyncIterator[bytes]:
            yield body[:100]
            await patch_type(admin, "diploma", upload_mode="admin_only")
            yield body[100:]

        headers = {"Content-Type": request.headers["content-type"]}
        answer = await customer.put(DIPLOMA, content=changing(), headers=headers)
        assert refusal(answer) == (403, "admin-only-document", None)
        assert await holdings(resources) == NOTHING

    @pytest.mark.req("R-106")
    async def test_an_upload_racing_with_the_erasure_leaves_nothing(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        put, erased = await asyncio.gather(
            customer.put(CARD, **upload_of()), admin.delete("/v1/admin/customers/c-1")
        )
        assert erased.status_code == 202
        assert put.status_code in {201, 401, 403, 404, 409}, put.text
        assert await holdings(resources) == NOTHING


class TestUpdate:
    """PATCH /v1/customer/documents/{key}."""

    @pytest.mark.req("R-045")
    async def test_values_change_and_the_file_stays(self, customer: httpx.AsyncClient) -> None:
        before = await upload(customer, CARD)
        answer = await customer.patch(CARD, json={"field_values": {"issued-in": "Delft"}})
        assert answer.status_code == 200, answer.text
        assert answer.json() == before | {"field_values": {"issued-in": "Delft"}}

    async def test_absent_is_unchanged_and_null_is_cleared(
        self, customer: httpx.AsyncClient
    ) -> None:
        await upload(customer, CARD, field_values='{"issued-in": "Delft", "issued-on": "2024"}')
        answer = await customer.patch(CARD, json={"field_values": {"issued-on": None}})
        assert answer.json()["field_values"] == {"issued-in": "Delft"}

    async def test_an_empty_patch_changes_nothing(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        before = await upload(customer, CARD)
        answer = await customer.patch(CARD, json={})
        assert (answer.status_code, answer.json()) == (200, before)
        assert await audited(admin, "document.update") == []

    async def test_a_merge_patch_is_named_as_such(self, customer: httpx.AsyncClient) -> None:
        await upload(customer, CARD)
        answer = await customer.patch(
            CARD,
            content=b'{"field_values": {"issued-in": "Delft"}}',
            headers={"Content-Type": "application/merge-patch+json"},
        )
        assert answer.json()["field_values"] == {"issued-in": "Delft"}

    @pytest.mark.req("R-032", "A-11")
    async def test_an_empty_required_slot_wants_the_file_first(
        self, customer: httpx.AsyncClient
    ) -> None:
        answer = await customer.patch(CARD, json={"field_values": {"issued-in": "Delft"}})
        assert refusal(answer) == (422, "file-required", "/file")
        assert (await customer.get(CARD)).json()["field_values"] == {}

    @pytest.mark.req("A-11")
    async def test_values_of_an_empty_optional_slot_are_kept_as_a_draft(
        self, customer: httpx.AsyncClient
    ) -> None:
        answer = await customer.patch(DIPLOMA, json={"field_values": {"school": "TU"}})
        assert answer.status_code == 200, answer.text
        assert (answer.json()["upload_state"], answer.json()["version"]) == ("missing", 0)
        assert (await upload(customer, DIPLOMA))["field_values"] == {"school": "TU"}

    @pytest.mark.req("R-034")
    async def test_an_admin_only_document_is_refused(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_type(admin, "contract", collects_fields=True, field_labels="Number")
        answer = await customer.patch(CONTRACT, json={"field_values": {"number": "1"}})
        assert refusal(answer) == (403, "admin-only-document", None)
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
    async def test_wrong_values_are_refused_with_their_place(
        self, customer: httpx.AsyncClient, values: Any, expected: tuple[int, str, str]
    ) -> None:
        before = await upload(customer, CARD, field_values='{"issued-in": "Delft"}')
        assert refusal(await customer.patch(CARD, json={"field_values": values})) == expected
        assert (await customer.get(CARD)).json() == before

    @pytest.mark.parametrize("member", ["version", "uploaded_at", "files", "status", "type"])
    async def test_other_members_are_refused(
        self, customer: httpx.AsyncClient, member: str
    ) -> None:
        await upload(customer, CARD)
        answer = await customer.patch(CARD, json={member: None})
        assert refusal(answer) == (422, "validation-error", f"/{member}")

    @pytest.mark.req("R-046")
    async def test_a_type_that_collects_none_takes_no_values(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await upload(customer, CARD)
        await patch_type(admin, "identity-card", collects_fields=False)
        answer = await customer.patch(CARD, json={"field_values": {"issued-in": "x"}})
        assert refusal(answer)[:2] == (422, "fields-not-enabled")

    async def test_a_stale_etag_is_refused(self, customer: httpx.AsyncClient) -> None:
        tag = (await customer.put(CARD, **upload_of())).headers["etag"]
        values = {"field_values": {"issued-in": "Delft"}}
        fresh = await customer.patch(CARD, json=values, headers={"If-Match": tag})
        stale = await customer.patch(CARD, json={}, headers={"If-Match": tag})
        assert (fresh.status_code, stale.status_code) == (200, 412)

    @pytest.mark.req("R-044")
    async def test_the_audit_trail_has_old_and_new_values(
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
    async def test_customers_delete_nothing_by_default(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await upload(customer, DIPLOMA)
        assert refusal(await customer.delete(DIPLOMA)) == (403, "delete-not-allowed", None)
        assert (await customer.get(DIPLOMA)).json()["upload_state"] == "uploaded"
        assert (await audited(admin, "document.delete"))[0]["result"] == "denied"

    @pytest.mark.req("A-19")
    async def test_an_optional_document_goes_where_that_is_allowed(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await upload(customer, DIPLOMA, field_values='{"school": "TU"}')
        await patch_portal(admin, customer_may_delete=True)
        assert (await customer.delete(DIPLOMA)).status_code == 204
        document = (await customer.get(DIPLOMA)).json()
        assert (document["upload_state"], document["version"]) == ("missing", 0)
        assert document["field_values"] == {}
        assert await holdings(resources) == NOTHING

    @pytest.mark.req("A-19", "R-034")
    @pytest.mark.parametrize("key", ["identity-card", "contract"])
    async def test_required_and_admin_only_documents_stay(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, key: str
    ) -> None:
        await upload(admin, f"{ADMIN}/{key}")
        await patch_portal(admin, customer_may_delete=True)
        answer = await customer.delete(f"{DOCUMENTS}/{key}")
        assert refusal(answer) == (403, "delete-not-allowed", None)
        assert (await customer.get(f"{DOCUMENTS}/{key}")).json()["version"] == 1

    async def test_an_empty_slot_has_no_file_to_delete(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_portal(admin, customer_may_delete=True)
        assert refusal(await customer.delete(DIPLOMA)) == (404, "no-file", None)

    async def test_the_version_number_never_restarts(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_portal(admin, customer_may_delete=True)
        await upload(customer, DIPLOMA)
        await customer.delete(DIPLOMA)
        answer = await customer.put(DIPLOMA, **upload_of())
        assert (answer.status_code, answer.json()["version"]) == (201, 2)

    async def test_a_stale_etag_is_refused(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_portal(admin, customer_may_delete=True)
        stale = (await customer.get(DIPLOMA)).headers["etag"]
        await upload(customer, DIPLOMA)
        answer = await customer.delete(DIPLOMA, headers={"If-Match": stale})
        assert refusal(answer)[:2] == (412, "precondition-failed")


class TestContent:
    """GET /v1/customer/documents/{key}/content."""

    @pytest.mark.req("R-033")
    async def test_an_admin_only_document_can_be_seen(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await upload(admin, f"{ADMIN}/contract", body=files.pdf("signed"))
        document = (await customer.get(CONTRACT)).json()
        assert (document["upload_state"], document["can_upload"]) == ("uploaded", False)
        assert (await customer.get(f"{CONTRACT}/content")).content == files.pdf("signed")

    async def test_an_empty_slot_has_no_content(self, customer: httpx.AsyncClient) -> None:
        assert refusal(await customer.get(f"{CARD}/content")) == (404, "no-file", None)

    async def test_a_file_that_is_not_there_is_not_found(self, customer: httpx.AsyncClient) -> None:
        await upload(customer, CARD)
        answer = await customer.get(f"{CARD}/content", params={"file": 2})
        assert refusal(answer) == (404, "no-file", None)

    @pytest.mark.parametrize(
        "query", [{"file": "0"}, {"file": "21"}, {"disposition": "evil"}, {"version": "1"}]
    )
    async def test_wrong_parameters_are_refused(
        self, customer: httpx.AsyncClient, query: dict[str, str]
    ) -> None:
        await upload(customer, CARD)
        answer = await customer.get(f"{CARD}/content", params=query)
        assert refusal(answer) == (422, "validation-error", next(iter(query)))


class TestPreview:
    """GET /v1/customer/documents/{key}/preview."""

    @pytest.mark.req("R-053")
    async def test_an_image_has_a_preview(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        document = await upload(customer, CARD, body=files.jpeg(), filename="a.jpg")
        answer = await customer.get(f"{CARD}/preview")
        assert document["files"][0]["has_preview"] is True
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
        assert b"Factory Camera" not in answer.content
        assert (await audited(admin, "document.preview"))[0]["customer"] == "c-1"

    @pytest.mark.req("R-053")
    async def test_what_cannot_be_shown_has_none(self, customer: httpx.AsyncClient) -> None:
        await upload(customer, CARD, body=files.docx(), filename="a.docx")
        assert refusal(await customer.get(f"{CARD}/preview")) == (404, "no-preview", None)

    async def test_an_empty_slot_has_none(self, customer: httpx.AsyncClient) -> None:
        assert refusal(await customer.get(f"{CARD}/preview")) == (404, "no-file", None)
