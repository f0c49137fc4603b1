"""Saving several documents in one request, as a customer."""

import json
from typing import Any

import httpx
import pytest
from tests.api.stored_state import (
    NOTHING_STORED,
    audited,
    code_and_place,
    multipart,
    part,
    raw_body,
    refusal,
    stored_state,
)
from tests.factories import files
from tests.factories.setups import make_customer, make_type, patch_portal, patch_type, upload_of
from tests.fixtures.callers import CustomerClients

from docvault.api.http.uploads import PartLimits
from docvault.api.shared import document_batches
from docvault.services.resources import Resources
from docvault.settings import Settings

BATCHES = "/v1/customer/document-batches"
DOCUMENTS = "/v1/customer/documents"


@pytest.fixture
async def customer(admin: httpx.AsyncClient, customer_of: CustomerClients) -> httpx.AsyncClient:
    """A customer c-1 with a required, an optional and an admin-only type."""
    await make_type(
        admin, "Identity card", upload_mode="required", collects_fields=True, field_labels="Number"
    )
    await make_type(admin, "Diploma", collects_fields=True, field_labels="School")
    await make_type(admin, "Contract", upload_mode="admin_only")
    await make_customer(admin, "c-1")
    return customer_of("c-1")


def batch(items: Any, **bodies: bytes) -> dict[str, Any]:
    """Return the arguments of a batch with these files, which the items name."""
    names = list(bodies)
    indexed = [
        {**item, "files": [names.index(name) for name in item["files"]]}
        if "files" in item
        else item
        for item in items
    ]
    parts = [("files", (f"{name}.bin", body)) for name, body in bodies.items()]
    return {"files": [("batch", (None, json.dumps({"items": indexed}))), *parts]}


def item(key: str, *names: str, **values: str | None) -> dict[str, Any]:
    """Return an item of a batch."""
    return {"key": key, "files": list(names), "field_values": values}


def outcome(response: httpx.Response) -> list[tuple[str, int, str | None]]:
    """Return key, status and problem code of each item of a processed batch."""
    assert response.status_code == 207, response.text
    return [
        (result["key"], result["status"], (result["problem"] or {}).get("code"))
        for result in response.json()["items"]
    ]


class TestSave:
    """POST /v1/customer/document-batches."""

    @pytest.mark.req("R-056", "R-042")
    async def test_documents_are_saved_with_values(self, customer: httpx.AsyncClient) -> None:
        items = [item("identity-card", "f1", number="1"), item("diploma", "f2", school="TU")]
        response = await customer.post(BATCHES, **batch(items, f1=files.png(), f2=files.pdf()))
        assert outcome(response) == [("identity-card", 201, None), ("diploma", 201, None)]
        for result in response.json()["items"]:
            path = f"{DOCUMENTS}/{result['key']}"
            assert result["document"] == (await customer.get(path)).json()
        content = await customer.get(f"{DOCUMENTS}/diploma/content")
        assert content.content == files.pdf()

    @pytest.mark.req("R-056")
    async def test_each_item_is_saved_or_rejected_independently(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        items = [
            item("identity-card", "f1"),
            item("contract", "f2"),
            item("unknown", "f3"),
            item("diploma", "f4", school="TU"),
        ]
        bodies = {"f1": files.executable(), "f2": files.pdf(), "f3": files.pdf()}
        response = await customer.post(BATCHES, **batch(items, **bodies, f4=files.pdf()))
        assert outcome(response) == [
            ("identity-card", 415, "unsupported-media-type"),
            ("contract", 403, "admin-only-document"),
            ("unknown", 404, "document-type-not-found"),
            ("diploma", 201, None),
        ]
        held = await stored_state(resources)
        assert (held.versions, len(held.in_store), held.in_spool) == (1, 1, frozenset())

    @pytest.mark.req("R-034")
    async def test_values_for_admin_only_document_are_rejected(
        self, customer: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        await make_type(
            admin, "Report", upload_mode="admin_only", collects_fields=True, field_labels="Grade"
        )
        response = await customer.post(BATCHES, **batch([item("report", grade="1")]))
        assert outcome(response) == [("report", 403, "admin-only-document")]
        assert (await customer.get(f"{DOCUMENTS}/report")).json()["field_values"] == {}
        (event,) = await audited(admin, "document.upload")
        assert (event["result"], event["document_type"]) == ("denied", "report")

    async def test_rejected_item_has_complete_problem(self, customer: httpx.AsyncClient) -> None:
        response = await customer.post(BATCHES, **batch([item("diploma", "f1")], f1=b"\0"))
        (result,) = response.json()["items"]
        problem = result["problem"]
        assert result["document"] is None
        assert problem["status"] == result["status"] == 415
        assert problem["type"].endswith(problem["code"])
        assert "application/pdf" in problem["allowed"]

    @pytest.mark.req("R-032", "R-056")
    async def test_values_for_uploaded_document_need_no_file(
        self, customer: httpx.AsyncClient
    ) -> None:
        first = batch([item("identity-card", "f1")], f1=files.pdf())
        await customer.post(BATCHES, **first)
        response = await customer.post(BATCHES, **batch([item("identity-card", number="1")]))
        assert outcome(response) == [("identity-card", 200, None)]
        (result,) = response.json()["items"]
        assert (result["document"]["version"], result["document"]["field_values"]) == (
            1,
            {"number": "1"},
        )

    @pytest.mark.req("R-032", "A-11")
    async def test_values_without_file_are_a_draft_only_for_optional_types(
        self, customer: httpx.AsyncClient
    ) -> None:
        items = [item("identity-card", number="1"), item("diploma", school="TU")]
        response = await customer.post(BATCHES, **batch(items))
        assert outcome(response) == [
            ("identity-card", 422, "file-required"),
            ("diploma", 200, None),
        ]

    @pytest.mark.req("R-032")
    async def test_item_without_changes_changes_nothing(self, customer: httpx.AsyncClient) -> None:
        await customer.put("/v1/customer/documents/identity-card", **upload_of())
        sent = batch([{"key": "identity-card"}, {"key": "diploma", "files": []}])
        response = await customer.post(BATCHES, **sent)
        assert outcome(response) == [("identity-card", 200, None), ("diploma", 200, None)]
        states = [result["document"]["version"] for result in response.json()["items"]]
        assert states == [1, 0]

    async def test_empty_item_for_missing_required_document_needs_file(
        self, customer: httpx.AsyncClient
    ) -> None:
        response = await customer.post(BATCHES, **batch([{"key": "identity-card"}]))
        assert outcome(response) == [("identity-card", 422, "file-required")]

    async def test_files_of_an_item_keep_their_order(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_type(admin, "diploma", max_files=2)
        sent = batch([item("diploma", "back", "front")], front=files.png(), back=files.pdf())
        (result,) = (await customer.post(BATCHES, **sent)).json()["items"]
        assert [file["filename"] for file in result["document"]["files"]] == [
            "back.bin.pdf",
            "front.bin.png",
        ]

    async def test_type_limits_apply(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await patch_type(admin, "diploma", max_size_bytes=10)
        items = [item("diploma", "a"), item("identity-card", "b", "c")]
        bodies = {name: files.pdf() for name in "abc"}
        response = await customer.post(BATCHES, **batch(items, **bodies))
        assert outcome(response) == [
            ("diploma", 413, "file-too-large"),
            ("identity-card", 422, "too-many-files"),
        ]
        assert await stored_state(resources) == NOTHING_STORED

    async def test_replacement_returns_200(self, customer: httpx.AsyncClient) -> None:
        sent = batch([item("diploma", "f1")], f1=files.pdf())
        await customer.post(BATCHES, **sent)
        response = await customer.post(BATCHES, **sent)
        assert outcome(response) == [("diploma", 200, None)]
        assert response.json()["items"][0]["document"]["version"] == 2

    @pytest.mark.req("R-046")
    async def test_invalid_values_reject_only_their_item(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        items = [item("diploma", "f1", nope="1"), item("identity-card", "f2", number="1")]
        response = await customer.post(BATCHES, **batch(items, f1=files.pdf(), f2=files.pdf()))
        assert outcome(response) == [
            ("diploma", 422, "unknown-field"),
            ("identity-card", 201, None),
        ]
        assert (await stored_state(resources)).versions == 1

    @pytest.mark.req("R-034")
    async def test_denied_item_is_audited(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await customer.post(BATCHES, **batch([item("contract", "f1")], f1=files.pdf()))
        (event,) = await audited(admin, "document.upload")
        assert (event["result"], event["document_type"]) == ("denied", "contract")

    @pytest.mark.req("R-079", "R-074", "R-076")
    async def test_gate_opens_immediately(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_portal(admin, gate_enabled=True)
        assert (await customer.get("/v1/customer/gate")).json()["decision"] == "blocked"
        await customer.post(BATCHES, **batch([item("identity-card", "f")], f=files.pdf()))
        assert (await customer.get("/v1/customer/gate")).json()["decision"] == "open"


ONE_FILE = '{"items": [{"key": "diploma", "files": [0]}]}'
WRONG_BATCHES = [
    ("{", (400, "malformed-request", "/batch")),
    ("", (400, "malformed-request", "/batch")),
    ("{}", (422, "validation-error", "/batch/items")),
    ("null", (422, "validation-error", "/batch")),
    ("[]", (422, "validation-error", "/batch")),
    ('[{"key": "diploma", "files": [0]}]', (422, "validation-error", "/batch")),
    ('{"items": []}', (422, "validation-error", "/batch/items")),
    ('{"items": [], "more": 1}', (422, "validation-error", "/batch/items")),
]
WRONG_ITEMS = [
    ("7", "", "wrong-type"),
    ('{"files": [0]}', "/key", "required"),
    ('{"key": "No Key"}', "/key", "invalid-format"),
    ('{"key": "diploma", "owner": 1}', "/owner", "unknown-member"),
    ('{"key": "diploma", "files": 0}', "/files", "wrong-type"),
    ('{"key": "diploma", "files": ["f1"]}', "/files/0", "wrong-type"),
    ('{"key": "diploma", "files": [true]}', "/files/0", "wrong-type"),
    ('{"key": "diploma", "files": [-1]}', "/files/0", "out-of-range"),
    ('{"key": "diploma", "files": [40]}', "/files/0", "out-of-range"),
    (
        '{"key": "diploma", "files": [0], "field_values": {"school": 1}}',
        "/field_values/school",
        "wrong-type",
    ),
    (
        '{"key": "diploma", "files": [0], "field_values": {"school": "\\u0000"}}',
        "/field_values/school",
        "unsafe-text",
    ),
    (
        '{"key": "diploma", "files": [0], "field_values": {"school": "\\u009b"}}',
        "/field_values/school",
        "unsafe-text",
    ),
    ('{"key": "diploma", "files": [1]}', "/files/0", "missing-file"),
    ('{"key": "diploma", "files": [39]}', "/files/0", "missing-file"),
    ('{"key": "diploma", "files": [0, 0]}', "/files/1", "repeated-file"),
    ('{"key": "contract", "files": [0]}, {"key": "contract"}', "/key", "repeated-key"),
]


class TestRejectedBatches:
    """Batches that are rejected as a whole, with nothing stored."""

    async def test_invalid_batches_are_rejected_with_pointer(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        file = part('name="files"; filename="a.pdf"', files.pdf())
        for sent, expected in WRONG_BATCHES:
            body = multipart(part('name="batch"', sent.encode()), file)
            response = await customer.post(BATCHES, **body)
            assert (sent, refusal(response)) == (sent, expected)
            assert (sent, await stored_state(resources)) == (sent, NOTHING_STORED)

    async def test_invalid_items_are_rejected_with_pointer_and_code(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        file = part('name="files"; filename="a.pdf"', files.pdf())
        for item, place, code in WRONG_ITEMS:
            sent = f'{{"items": [{item}]}}'
            body = multipart(part('name="batch"', sent.encode()), file)
            response = await customer.post(BATCHES, **body)
            assert refusal(response)[:2] == (422, "validation-error"), item
            found = {(e["pointer"], e["code"]) for e in response.json()["errors"]}
            number = sent.count('"key"') - 1 if code == "repeated-key" else 0
            assert (f"/batch/items/{number}{place}", code) in found, item
            assert (item, await stored_state(resources)) == (item, NOTHING_STORED)

    @pytest.mark.req("B-122")
    async def test_file_used_by_two_items_is_rejected(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        items = [item("diploma", "f"), item("contract", "f")]
        response = await customer.post(BATCHES, **batch(items, f=files.pdf()))
        assert refusal(response) == (422, "validation-error", "/batch/items/1/files/0")
        assert response.json()["errors"][0]["code"] == "repeated-file"
        assert await stored_state(resources) == NOTHING_STORED

    @pytest.mark.req("B-122")
    async def test_file_used_by_no_item_is_rejected(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        sent = batch([item("diploma", "f")], f=files.pdf(), g=files.pdf())
        response = await customer.post(BATCHES, **sent)
        assert refusal(response) == (422, "validation-error", "/files/1")
        assert response.json()["errors"][0]["code"] == "unused-file"
        assert await stored_state(resources) == NOTHING_STORED

    async def test_more_than_twenty_items_are_rejected(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        response = await customer.post(BATCHES, **batch([{"key": f"k{i}"} for i in range(21)]))
        assert refusal(response) == (422, "validation-error", "/batch/items")
        assert await stored_state(resources) == NOTHING_STORED

    @pytest.mark.req("B-122")
    async def test_former_form_is_rejected(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        items = json.dumps([{"key": "diploma", "files": ["f1"]}]).encode()
        file = part('name="f1"; filename="a.pdf"', files.pdf())
        response = await customer.post(BATCHES, **multipart(part('name="items"', items), file))
        assert refusal(response) == (422, "validation-error", "/items")
        assert await stored_state(resources) == NOTHING_STORED

    async def test_oversized_part_is_named(
        self, customer: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        limits = PartLimits(
            40, 1000, 1_000_000, frozenset({"files"}), frozenset({"batch"}), is_batch=True
        )
        monkeypatch.setattr(document_batches, "_limits", lambda _: limits)
        sent = batch([item("diploma", "f1", "f2")], f1=b"x" * 1000, f2=b"x" * 1001)
        assert refusal(await customer.post(BATCHES, **sent)) == (413, "file-too-large", "/files/1")
        assert await stored_state(resources) == NOTHING_STORED

    async def test_batch_part_is_required(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        sent = multipart(part('name="files"; filename="a.pdf"', files.pdf()))
        response = await customer.post(BATCHES, **sent)
        assert refusal(response) == (422, "validation-error", "/batch")
        assert await stored_state(resources) == NOTHING_STORED

    async def test_truncated_batch_is_malformed(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        parts = [
            part('name="batch"', ONE_FILE.encode()),
            part('name="files"; filename="a.pdf"', files.pdf()),
        ]
        body = multipart(*parts)["content"][:-10]
        response = await customer.post(BATCHES, **raw_body(body))
        assert refusal(response)[:2] == (400, "malformed-request")
        assert await stored_state(resources) == NOTHING_STORED

    async def test_json_body_is_not_a_batch(self, customer: httpx.AsyncClient) -> None:
        response = await customer.post(BATCHES, json=[{"key": "diploma"}])
        assert refusal(response) == (415, "unsupported-media-type", "Content-Type")

    async def test_more_than_forty_files_are_rejected(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        names = [f"f{number}" for number in range(41)]
        sent = batch([item("diploma", *names[:20])], **dict.fromkeys(names, b"x"))
        assert refusal(await customer.post(BATCHES, **sent))[:2] == (422, "too-many-files")
        assert await stored_state(resources) == NOTHING_STORED

    async def test_unknown_customer_saves_nothing(
        self, customer: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        del customer
        sent = batch([item("diploma", "f1")], f1=files.pdf())
        response = await customer_of("c-9").post(BATCHES, **sent)
        assert refusal(response) == (403, "customer-not-registered", None)


class TestIdempotency:
    """POST /v1/customer/document-batches with an Idempotency-Key."""

    @pytest.mark.req("R-117", "R-056")
    async def test_repeated_batch_is_processed_once_and_replayed(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        sent = multipart(
            part(
                'name="batch"',
                b'{"items": [{"key": "diploma", "files": [0]}, {"key": "contract"}]}',
            ),
            part('name="files"; filename="a.pdf"', files.pdf()),
        )
        sent["headers"]["Idempotency-Key"] = "k-1"
        first = await customer.post(BATCHES, **sent)
        again = await customer.post(BATCHES, **sent)
        assert (again.status_code, again.json()) == (207, first.json())
        assert (await stored_state(resources)).versions == 1

    @pytest.mark.req("R-117")
    async def test_different_batch_with_same_key_is_rejected(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        headers = {"Idempotency-Key": "k-1"}
        await customer.post(
            BATCHES, **batch([item("diploma", "f")], f=files.pdf()), headers=headers
        )
        response = await customer.post(
            BATCHES, **batch([item("diploma", "f")], f=files.png()), headers=headers
        )
        assert refusal(response) == (422, "idempotency-key-reused", "Idempotency-Key")
        assert (await stored_state(resources)).versions == 1

    async def test_rejected_batch_releases_key(self, customer: httpx.AsyncClient) -> None:
        headers = {"Idempotency-Key": "k-1"}
        rejected = await customer.post(BATCHES, **batch([]), headers=headers)
        response = await customer.post(
            BATCHES, **batch([item("diploma", "f")], f=files.pdf()), headers=headers
        )
        assert rejected.status_code == 422
        assert outcome(response) == [("diploma", 201, None)]

    @pytest.mark.req("B-064")
    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"upload_mode": "admin_only"}, (403, "admin-only-document")),
            ({"archived": True}, (404, "document-type-not-found")),
        ],
    )
    async def test_document_response_is_not_replayed_without_write_permission(
        self,
        admin: httpx.AsyncClient,
        customer: httpx.AsyncClient,
        change: dict[str, Any],
        expected: tuple[int, str],
    ) -> None:
        items = [item("diploma", "f"), item("contract"), item("identity-card", "g")]
        bodies = {"f": files.pdf(), "g": files.pdf()}
        sent = {**batch(items, **bodies), "headers": {"Idempotency-Key": "k-1"}}
        first = await customer.post(BATCHES, **sent)
        await patch_type(admin, "diploma", **change)
        again = await customer.post(BATCHES, **sent)
        assert outcome(again)[0] == ("diploma", *expected)
        assert again.json()["items"][1:] == first.json()["items"][1:]
        assert again.headers["idempotency-replayed"] == "true"

    @pytest.mark.own_store("it inspects files")
    @pytest.mark.req("B-064")
    async def test_item_response_is_not_replayed_without_write_permission(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, settings: Settings
    ) -> None:
        blockers = [settings.data_dir / "blobs" / f"{number:02x}" for number in range(256)]
        for path in blockers:
            path.touch()
        items = [item("diploma", school="TU"), item("identity-card", "f")]
        sent = {**batch(items, f=files.pdf()), "headers": {"Idempotency-Key": "k-1"}}
        first = await customer.post(BATCHES, **sent)
        await patch_type(admin, "diploma", upload_mode="admin_only")
        again = await customer.post(BATCHES, **sent)
        assert outcome(first)[0] == ("diploma", 200, None)
        assert outcome(again)[0] == ("diploma", 403, "admin-only-document")

    @pytest.mark.own_store("it inspects files")
    @pytest.mark.req("R-117")
    async def test_retry_saves_only_items_that_failed_in_storage(
        self,
        admin: httpx.AsyncClient,
        customer: httpx.AsyncClient,
        settings: Settings,
        resources: Resources,
    ) -> None:
        blockers = [settings.data_dir / "blobs" / f"{number:02x}" for number in range(256)]
        for path in blockers:
            path.touch()
        items = [item("diploma", school="TU"), item("identity-card", "f")]
        sent = {**batch(items, f=files.pdf()), "headers": {"Idempotency-Key": "k-1"}}
        first = await customer.post(BATCHES, **sent)
        for path in blockers:
            path.unlink()
        again = await customer.post(BATCHES, **sent)
        assert outcome(first)[1] == ("identity-card", 503, "storage-unavailable")
        assert outcome(again) == [("diploma", 200, None), ("identity-card", 201, None)]
        assert len(await audited(admin, "document.update")) == 1
        assert (await stored_state(resources)).versions == 1

    async def test_batch_problems_have_pointers(self, customer: httpx.AsyncClient) -> None:
        sent = batch([item("diploma", "f1", nope="1")], f1=files.pdf())
        (result,) = (await customer.post(BATCHES, **sent)).json()["items"]
        assert code_and_place(result["problem"]) == ("unknown-field", "/field_values/nope")
