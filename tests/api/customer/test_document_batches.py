"""Customers who save several documents at once."""

import json
from typing import Any

import httpx
import pytest
from tests.api.holdings import (
    NOTHING,
    audited,
    code_and_place,
    holdings,
    multipart,
    part,
    raw_body,
    refusal,
)
from tests.factories import files
from tests.factories.setups import (
    make_customer,
    make_type,
    patch_portal,
    patch_type,
    upload_of,
)
from tests.fixtures.callers import CustomerClients

from docvault.api import document_batches
from docvault.api.uploads import PartLimits
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
    """Return the arguments of a batch with these file parts."""
    parts = [(name, (f"{name}.bin", body)) for name, body in bodies.items()]
    return {"files": [("items", (None, json.dumps(items))), *parts]}


def item(key: str, *names: str, **values: str | None) -> dict[str, Any]:
    """Return an item of a batch."""
    return {"key": key, "files": list(names), "field_values": values}


def outcome(answer: httpx.Response) -> list[tuple[str, int, str | None]]:
    """Return key, status and problem code of each item of a batch that was taken."""
    assert answer.status_code == 207, answer.text
    return [
        (result["key"], result["status"], result.get("problem", {}).get("code"))
        for result in answer.json()["items"]
    ]


class TestSave:
    """POST /v1/customer/document-batches."""

    @pytest.mark.req("R-056", "R-042")
    async def test_several_documents_are_saved_with_their_values(
        self, customer: httpx.AsyncClient
    ) -> None:
        items = [item("identity-card", "f1", number="1"), item("diploma", "f2", school="TU")]
        answer = await customer.post(BATCHES, **batch(items, f1=files.png(), f2=files.pdf()))
        assert outcome(answer) == [("identity-card", 201, None), ("diploma", 201, None)]
        for result in answer.json()["items"]:
            path = f"{DOCUMENTS}/{result['key']}"
            assert result["document"] == (await customer.get(path)).json()
        content = await customer.get(f"{DOCUMENTS}/diploma/content")
        assert content.content == files.pdf()

    @pytest.mark.req("R-056")
    async def test_each_item_is_saved_or_refused_by_itself(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        items = [
            item("identity-card", "f1"),
            item("contract", "f2"),
            item("unknown", "f3"),
            item("diploma", "f4", school="TU"),
        ]
        bodies = {"f1": files.executable(), "f2": files.pdf(), "f3": files.pdf()}
        answer = await customer.post(BATCHES, **batch(items, **bodies, f4=files.pdf()))
        assert outcome(answer) == [
            ("identity-card", 415, "media-type-not-allowed"),
            ("contract", 403, "admin-only-document"),
            ("unknown", 404, "document-type-unknown"),
            ("diploma", 201, None),
        ]
        held = await holdings(resources)
        assert (held.versions, len(held.in_store), held.in_spool) == (1, 1, frozenset())

    async def test_a_refused_item_has_a_whole_problem(self, customer: httpx.AsyncClient) -> None:
        answer = await customer.post(BATCHES, **batch([item("diploma", "f1")], f1=b"\0"))
        (result,) = answer.json()["items"]
        problem = result["problem"]
        assert "document" not in result
        assert problem["status"] == result["status"] == 415
        assert problem["type"].endswith(problem["code"])
        assert "application/pdf" in problem["allowed"]

    @pytest.mark.req("R-032", "R-056")
    async def test_values_of_a_delivered_document_need_no_file(
        self, customer: httpx.AsyncClient
    ) -> None:
        first = batch([item("identity-card", "f1")], f1=files.pdf())
        await customer.post(BATCHES, **first)
        answer = await customer.post(BATCHES, **batch([item("identity-card", number="1")]))
        assert outcome(answer) == [("identity-card", 200, None)]
        (result,) = answer.json()["items"]
        assert (result["document"]["version"], result["document"]["field_values"]) == (
            1,
            {"number": "1"},
        )

    @pytest.mark.req("R-032", "A-11")
    async def test_values_alone_are_a_draft_only_where_the_file_is_optional(
        self, customer: httpx.AsyncClient
    ) -> None:
        items = [item("identity-card", number="1"), item("diploma", school="TU")]
        answer = await customer.post(BATCHES, **batch(items))
        assert outcome(answer) == [
            ("identity-card", 422, "file-required"),
            ("diploma", 200, None),
        ]

    @pytest.mark.req("R-032")
    async def test_an_item_that_brings_nothing_changes_nothing(
        self, customer: httpx.AsyncClient
    ) -> None:
        await customer.put("/v1/customer/documents/identity-card", **upload_of())
        sent = batch([{"key": "identity-card"}, {"key": "diploma", "files": []}])
        answer = await customer.post(BATCHES, **sent)
        assert outcome(answer) == [("identity-card", 200, None), ("diploma", 200, None)]
        states = [result["document"]["version"] for result in answer.json()["items"]]
        assert states == [1, 0]

    async def test_an_item_that_brings_nothing_to_an_empty_required_slot_wants_a_file(
        self, customer: httpx.AsyncClient
    ) -> None:
        answer = await customer.post(BATCHES, **batch([{"key": "identity-card"}]))
        assert outcome(answer) == [("identity-card", 422, "file-required")]

    async def test_several_files_of_an_item_keep_their_order(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_type(admin, "diploma", max_files=2)
        sent = batch([item("diploma", "back", "front")], front=files.png(), back=files.pdf())
        (result,) = (await customer.post(BATCHES, **sent)).json()["items"]
        assert [file["filename"] for file in result["document"]["files"]] == [
            "back.bin",
            "front.bin",
        ]

    async def test_the_limits_of_each_type_hold(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await patch_type(admin, "diploma", max_size_bytes=10)
        items = [item("diploma", "a"), item("identity-card", "b", "c")]
        bodies = {name: files.pdf() for name in "abc"}
        answer = await customer.post(BATCHES, **batch(items, **bodies))
        assert outcome(answer) == [
            ("diploma", 413, "file-too-large"),
            ("identity-card", 422, "too-many-files"),
        ]
        assert await holdings(resources) == NOTHING

    async def test_a_replacement_is_200(self, customer: httpx.AsyncClient) -> None:
        sent = batch([item("diploma", "f1")], f1=files.pdf())
        await customer.post(BATCHES, **sent)
        answer = await customer.post(BATCHES, **sent)
        assert outcome(answer) == [("diploma", 200, None)]
        assert answer.json()["items"][0]["document"]["version"] == 2

    @pytest.mark.req("R-046")
    async def test_wrong_values_refuse_their_item_alone(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        items = [item("diploma", "f1", nope="1"), item("identity-card", "f2", number="1")]
        answer = await customer.post(BATCHES, **batch(items, f1=files.pdf(), f2=files.pdf()))
        assert outcome(answer) == [("diploma", 422, "unknown-field"), ("identity-card", 201, None)]
        assert (await holdings(resources)).versions == 1

    @pytest.mark.req("R-034")
    async def test_a_denied_item_is_audited(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await customer.post(BATCHES, **batch([item("contract", "f1")], f1=files.pdf()))
        (event,) = await audited(admin, "document.upload")
        assert (event["result"], event["document_type"]) == ("denied", "contract")

    @pytest.mark.req("R-079", "R-074", "R-076")
    async def test_the_gate_opens_at_once(
        self, admin: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await patch_portal(admin, gate_enabled=True)
        assert (await customer.get("/v1/customer/gate")).json()["decision"] == "blocked"
        await customer.post(BATCHES, **batch([item("identity-card", "f")], f=files.pdf()))
        assert (await customer.get("/v1/customer/gate")).json()["decision"] == "open"


WRONG_ITEMS = [
    ("{", (400, "malformed-request", "/items")),
    ("", (400, "malformed-request", "/items")),
    ("{}", (422, "validation-error", "/items")),
    ("null", (422, "validation-error", "/items")),
    ("[]", (422, "validation-error", "/items")),
    ("[7]", (422, "validation-error", "/items/0")),
    ('[{"files": ["f1"]}]', (422, "validation-error", "/items/0/key")),
    ('[{"key": "No Key"}]', (422, "validation-error", "/items/0/key")),
    ('[{"key": "diploma", "owner": 1}]', (422, "validation-error", "/items/0/owner")),
    ('[{"key": "diploma", "files": "f1"}]', (422, "validation-error", "/items/0/files")),
    (
        '[{"key": "diploma", "files": ["f1"], "field_values": {"school": 1}}]',
        (422, "validation-error", "/items/0/field_values/school"),
    ),
    (
        '[{"key": "diploma", "files": ["f1"], "field_values": {"school": "\\u0000"}}]',
        (422, "validation-error", "/items/0/field_values/school"),
    ),
    ('[{"key": "diploma", "files": ["f2"]}]', (422, "validation-error", "/items/0/files/0")),
    ('[{"key": "diploma", "files": []}]', (422, "validation-error", "/f1")),
    ('[{"key": "diploma", "files": ["f1", "f1"]}]', (422, "validation-error", "/items/0/files/1")),
    (
        '[{"key": "diploma", "files": ["f1"]}, {"key": "diploma"}]',
        (422, "validation-error", "/items/1/key"),
    ),
    (
        '[{"key": "diploma", "files": ["f1"]}, {"key": "contract", "files": ["f1"]}]',
        (422, "validation-error", "/items/1/files/0"),
    ),
    (
        json.dumps([{"key": f"k{i}"} for i in range(21)]),
        (422, "validation-error", "/items"),
    ),
]


class TestRefusedBatches:
    """Batches that are refused as a whole, with nothing stored."""

    async def test_wrong_items_are_refused_with_their_place(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        file = part('name="f1"; filename="a.pdf"', files.pdf())
        for items, expected in WRONG_ITEMS:
            sent = multipart(part('name="items"', items.encode()), file)
            answer = await customer.post(BATCHES, **sent)
            assert (items, refusal(answer)) == (items, expected)
            assert (items, await holdings(resources)) == (items, NOTHING)

    async def test_two_parts_of_one_name_are_refused_however_often_it_is_named(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        file = part('name="f1"; filename="a.pdf"', files.pdf())
        for items in ([item("diploma", "f1")], [item("diploma", "f1"), item("contract", "f1")]):
            sent = multipart(part('name="items"', json.dumps(items).encode()), file, file)
            answer = await customer.post(BATCHES, **sent)
            assert answer.status_code == 422
            assert "/f1" in [error["pointer"] for error in answer.json()["errors"]]
            assert await holdings(resources) == NOTHING

    async def test_the_part_that_is_too_large_is_named(
        self, customer: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        limits = PartLimits(40, 1000, 1_000_000, None, frozenset({"items"}))
        monkeypatch.setattr(document_batches, "_limits", lambda _: limits)
        sent = batch([item("diploma", "f1", "f2")], f1=b"x" * 1000, f2=b"x" * 1001)
        assert refusal(await customer.post(BATCHES, **sent)) == (413, "file-too-large", "/f2")
        assert await holdings(resources) == NOTHING

    async def test_items_are_needed(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        sent = multipart(part('name="f1"; filename="a.pdf"', files.pdf()))
        answer = await customer.post(BATCHES, **sent)
        assert refusal(answer) == (422, "validation-error", "/items")
        assert await holdings(resources) == NOTHING

    async def test_a_cut_off_batch_is_malformed(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        parts = [
            part('name="items"', b'[{"key": "diploma", "files": ["f1"]}]'),
            part('name="f1"; filename="a.pdf"', files.pdf()),
        ]
        body = multipart(*parts)["content"][:-10]
        answer = await customer.post(BATCHES, **raw_body(body))
        assert refusal(answer)[:2] == (400, "malformed-request")
        assert await holdings(resources) == NOTHING

    async def test_json_is_not_a_batch(self, customer: httpx.AsyncClient) -> None:
        answer = await customer.post(BATCHES, json=[{"key": "diploma"}])
        assert refusal(answer) == (415, "media-type-not-allowed", "Content-Type")

    async def test_more_than_forty_files_are_too_many(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        names = [f"f{number}" for number in range(41)]
        sent = batch([item("diploma", *names[:20])], **dict.fromkeys(names, b"x"))
        assert refusal(await customer.post(BATCHES, **sent))[:2] == (422, "too-many-files")
        assert await holdings(resources) == NOTHING

    async def test_a_customer_who_is_not_known_saves_nothing(
        self, customer: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        del customer
        sent = batch([item("diploma", "f1")], f1=files.pdf())
        answer = await customer_of("c-9").post(BATCHES, **sent)
        assert refusal(answer) == (403, "customer-unknown", None)


class TestRepeated:
    """POST /v1/customer/document-batches with an Idempotency-Key."""

    @pytest.mark.req("R-117", "R-056")
    async def test_a_repeated_batch_is_done_once_and_answered_alike(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        sent = multipart(
            part('name="items"', json.dumps([item("diploma", "f1"), item("contract")]).encode()),
            part('name="f1"; filename="a.pdf"', files.pdf()),
        )
        sent["headers"]["Idempotency-Key"] = "k-1"
        first = await customer.post(BATCHES, **sent)
        again = await customer.post(BATCHES, **sent)
        assert (again.status_code, again.json()) == (207, first.json())
        assert (await holdings(resources)).versions == 1

    @pytest.mark.req("R-117")
    async def test_another_batch_with_the_same_key_is_refused(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        headers = {"Idempotency-Key": "k-1"}
        await customer.post(
            BATCHES, **batch([item("diploma", "f")], f=files.pdf()), headers=headers
        )
        answer = await customer.post(
            BATCHES, **batch([item("diploma", "f")], f=files.png()), headers=headers
        )
        assert refusal(answer) == (422, "idempotency-key-reused", "Idempotency-Key")
        assert (await holdings(resources)).versions == 1

    async def test_a_refused_batch_gives_the_key_back(self, customer: httpx.AsyncClient) -> None:
        headers = {"Idempotency-Key": "k-1"}
        refused = await customer.post(BATCHES, **batch([]), headers=headers)
        answer = await customer.post(
            BATCHES, **batch([item("diploma", "f")], f=files.pdf()), headers=headers
        )
        assert refused.status_code == 422
        assert outcome(answer) == [("diploma", 201, None)]

    @pytest.mark.own_store("they look at files")
    @pytest.mark.req("R-117")
    async def test_what_the_store_refused_is_done_by_the_retry_and_the_rest_is_not_done_twice(
        self,
        admin: httpx.AsyncClient,
        customer: httpx.AsyncClient,
        settings: Settings,
        resources: Resources,
    ) -> None:
        in_the_way = [settings.data_dir / "blobs" / f"{number:02x}" for number in range(256)]
        for path in in_the_way:
            path.touch()
        items = [item("diploma", school="TU"), item("identity-card", "f")]
        sent = {**batch(items, f=files.pdf()), "headers": {"Idempotency-Key": "k-1"}}
        first = await customer.post(BATCHES, **sent)
        for path in in_the_way:
            path.unlink()
        again = await customer.post(BATCHES, **sent)
        assert outcome(first)[1] == ("identity-card", 503, "storage-unavailable")
        assert outcome(again) == [("diploma", 200, None), ("identity-card", 201, None)]
        assert len(await audited(admin, "document.update")) == 1
        assert (await holdings(resources)).versions == 1

    async def test_the_problems_of_a_batch_have_places(self, customer: httpx.AsyncClient) -> None:
        sent = batch([item("diploma", "f1", nope="1")], f1=files.pdf())
        (result,) = (await customer.post(BATCHES, **sent)).json()["items"]
        assert code_and_place(result["problem"]) == ("unknown-field", "/field_values/nope")
