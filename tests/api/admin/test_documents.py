"""Staff and the documents of a customer."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from tests.api.holdings import NOTHING, audited, holdings, refusal
from tests.factories import files
from tests.factories.setups import make_customer, make_type, patch_portal, patch_type, upload_of
from tests.factories.stored import flipped, overwrite, stored_keys
from tests.fixtures.callers import CustomerClients

from docvault.services.resources import Resources
from docvault.settings import Settings

DOCUMENTS = "/v1/admin/customers/c-1/documents"
CARD = f"{DOCUMENTS}/identity-card"
DIPLOMA = f"{DOCUMENTS}/diploma"
CONTRACT = f"{DOCUMENTS}/contract"
OWN_CARD = "/v1/customer/documents/identity-card"


@pytest.fixture
async def staff(admin: httpx.AsyncClient) -> httpx.AsyncClient:
    """Staff, and a customer c-1 with a required, an optional and an admin-only type."""
    await make_type(
        admin, "Identity card", upload_mode="required", collects_fields=True, field_labels="Number"
    )
    await make_type(admin, "Diploma")
    await make_type(admin, "Contract", upload_mode="admin_only")
    await make_customer(admin, "c-1")
    return admin


@pytest.fixture
def customer(staff: httpx.AsyncClient, customer_of: CustomerClients) -> httpx.AsyncClient:
    """The customer c-1."""
    del staff
    return customer_of("c-1")


async def upload(client: httpx.AsyncClient, path: str, **sent: Any) -> dict[str, Any]:
    """Upload a file that is accepted."""
    answer = await client.put(path, **upload_of(**sent))
    assert answer.status_code in {200, 201}, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def listed(client: httpx.AsyncClient, **query: Any) -> dict[str, str]:
    """Return the upload state of each listed document by the key of its type."""
    items = (await client.get(DOCUMENTS, params=query)).json()["items"]
    return {item["type"]["key"]: item["upload_state"] for item in items}


class TestList:
    """GET /v1/admin/customers/{id}/documents."""

    @pytest.mark.req("R-006", "R-060")
    async def test_every_active_type_shows_uploaded_or_missing(
        self, staff: httpx.AsyncClient
    ) -> None:
        await upload(staff, DIPLOMA)
        assert await listed(staff) == {
            "identity-card": "missing",
            "diploma": "uploaded",
            "contract": "missing",
        }

    @pytest.mark.req("R-060")
    async def test_an_archived_type_shows_while_it_holds_a_file(
        self, staff: httpx.AsyncClient
    ) -> None:
        await upload(staff, DIPLOMA)
        await patch_type(staff, "diploma", archived=True)
        await patch_type(staff, "contract", archived=True)
        assert await listed(staff) == {"identity-card": "missing", "diploma": "uploaded"}
        assert (await staff.delete(DIPLOMA)).status_code == 204
        assert await listed(staff) == {"identity-card": "missing"}

    @pytest.mark.req("R-116")
    async def test_an_unknown_customer_has_no_list(self, staff: httpx.AsyncClient) -> None:
        answer = await staff.get("/v1/admin/customers/c-9/documents")
        assert refusal(answer) == (404, "customer-unknown", None)

    @pytest.mark.parametrize("customer_id", ["a b", "é", "x" * 129, "a%00", "a%2Fb"])
    async def test_what_cannot_be_a_customer_is_refused(
        self, staff: httpx.AsyncClient, customer_id: str
    ) -> None:
        answer = await staff.get(f"/v1/admin/customers/{customer_id}/documents")
        assert answer.status_code in {404, 422}
        assert answer.headers["content-type"] == "application/problem+json"

    async def test_pages_include_archived_types(self, staff: httpx.AsyncClient) -> None:
        await upload(staff, DIPLOMA)
        await patch_type(staff, "diploma", archived=True)
        query: dict[str, Any] = {"limit": 1, "include_total": True}
        seen = []
        while query.get("cursor", "") is not None:
            page = (await staff.get(DOCUMENTS, params=query)).json()
            seen += [item["type"]["key"] for item in page["items"]]
            assert page["total"] == 3
            query["cursor"] = page["next_cursor"]
        assert sorted(seen) == ["contract", "diploma", "identity-card"]


class TestUpload:
    """PUT /v1/admin/customers/{id}/documents/{key}."""

    @pytest.mark.req("R-035", "R-036", "R-062", "A-04")
    @pytest.mark.parametrize("path", [CARD, DIPLOMA, CONTRACT])
    async def test_staff_fill_and_replace_documents_of_any_mode(
        self, staff: httpx.AsyncClient, path: str
    ) -> None:
        first = await staff.put(path, **upload_of())
        second = await staff.put(path, **upload_of())
        assert (first.status_code, second.status_code) == (201, 200)
        assert second.json()["uploaded_by"] == {"kind": "admin", "id": "staff-1"}
        assert (second.json()["upload_state"], second.json()["version"]) == ("uploaded", 2)

    async def test_staff_see_which_customer_or_key_uploaded(
        self,
        staff: httpx.AsyncClient,
        customer: httpx.AsyncClient,
        integration: httpx.AsyncClient,
    ) -> None:
        await upload(customer, OWN_CARD)
        assert (await staff.get(CARD)).json()["uploaded_by"] == {"kind": "customer", "id": "c-1"}
        await upload(integration, "/v1/integration/customers/c-1/documents/identity-card")
        uploader = (await staff.get(CARD)).json()["uploaded_by"]
        (key,) = (await staff.get("/v1/admin/api-keys")).json()["items"]
        assert uploader == {"kind": "integration", "id": key["id"]}

    async def test_the_section_and_the_gate_do_not_concern_staff(
        self, staff: httpx.AsyncClient
    ) -> None:
        await patch_portal(staff, section_enabled=False)
        assert (await staff.put(CARD, **upload_of())).status_code == 201
        assert (await staff.get(f"{CARD}/content")).status_code == 200

    async def test_an_archived_type_that_holds_no_file_is_not_there(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await patch_type(staff, "diploma", archived=True)
        assert refusal(await staff.put(DIPLOMA, **upload_of()))[:2] == (
            404,
            "document-type-unknown",
        )
        assert await holdings(resources) == NOTHING

    async def test_an_upload_that_waits_for_its_type_to_be_archived_stores_nothing(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        content = httpx.Request("PUT", "http://x", **upload_of())
        body = content.read()

        async def archiving() -> Any:
            yield body[:100]
            await patch_type(staff, "diploma", archived=True)
            yield body[100:]

        headers = {"Content-Type": content.headers["content-type"]}
        answer = await staff.put(DIPLOMA, content=archiving(), headers=headers)
        assert refusal(answer)[:2] == (404, "document-type-unknown")
        assert await holdings(resources) == NOTHING

    @pytest.mark.req("R-090", "R-091", "A-16")
    async def test_the_customer_has_documents_from_the_first_to_the_last(
        self, staff: httpx.AsyncClient
    ) -> None:
        async def yes_or_no() -> bool:
            answer: bool = (await staff.get("/v1/admin/customers/c-1")).json()["has_documents"]
            return answer

        seen = [await yes_or_no()]
        for change in (
            staff.put(CONTRACT, **upload_of()),
            staff.put(DIPLOMA, **upload_of()),
            staff.delete(CONTRACT),
        ):
            assert (await change).status_code in {201, 204}
            seen.append(await yes_or_no())
        await patch_type(staff, "diploma", archived=True)
        seen.append(await yes_or_no())
        await staff.delete(DIPLOMA)
        assert [*seen, await yes_or_no()] == [False, True, True, True, True, False]

    @pytest.mark.req("R-096")
    async def test_the_counts_follow_every_change(self, staff: httpx.AsyncClient) -> None:
        async def counts() -> tuple[int, int, int]:
            found = (await staff.get("/v1/admin/customers/c-1/summary")).json()["totals"]
            customer = (await staff.get("/v1/admin/customers/c-1")).json()
            assert customer["documents"] == found
            return found["uploaded"], found["missing"], found["required_missing"]

        assert await counts() == (0, 3, 1)
        await upload(staff, CARD)
        assert await counts() == (1, 2, 0)
        await staff.delete(CARD)
        assert await counts() == (0, 3, 1)


class TestUpdate:
    """PATCH /v1/admin/customers/{id}/documents/{key}."""

    @pytest.mark.req("R-044", "R-045", "R-063")
    async def test_staff_correct_what_the_customer_entered(
        self, staff: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await upload(customer, OWN_CARD, field_values='{"number": "1"}')
        before = (await staff.get(CARD)).json()
        answer = await staff.patch(CARD, json={"field_values": {"number": "2"}})
        assert answer.json() == before | {"field_values": {"number": "2"}}
        (event,) = await audited(staff, "document.update")
        changes = {"field_values": {"old": {"number": "1"}, "new": {"number": "2"}}}
        assert (event["actor"]["id"], event["changes"]) == ("staff-1", changes)

    @pytest.mark.req("A-11")
    async def test_staff_may_store_values_before_the_file(self, staff: httpx.AsyncClient) -> None:
        answer = await staff.patch(CARD, json={"field_values": {"number": "1"}})
        assert answer.status_code == 200, answer.text
        document = answer.json()
        assert (document["upload_state"], document["status"]) == ("missing", "missing")
        assert document["field_values"] == {"number": "1"}
        assert (await upload(staff, CARD))["field_values"] == {"number": "1"}

    @pytest.mark.req("A-11", "R-091")
    async def test_a_draft_is_no_document(self, staff: httpx.AsyncClient) -> None:
        await staff.patch(CARD, json={"field_values": {"number": "1"}})
        assert (await staff.get("/v1/admin/customers/c-1")).json()["has_documents"] is False
        assert refusal(await staff.delete(CARD)) == (404, "no-file", None)
        versions = (await staff.get(f"{CARD}/versions")).json()
        assert versions["items"] == []

    async def test_a_stale_etag_is_refused(self, staff: httpx.AsyncClient) -> None:
        stale = (await staff.get(CARD)).headers["etag"]
        await upload(staff, CARD)
        values = {"field_values": {"number": "1"}}
        answer = await staff.patch(CARD, json=values, headers={"If-Match": stale})
        assert refusal(answer)[:2] == (412, "precondition-failed")
        assert (await staff.get(CARD)).json()["field_values"] == {}


class TestDelete:
    """DELETE /v1/admin/customers/{id}/documents/{key}."""

    @pytest.mark.parametrize("path", [CARD, DIPLOMA, CONTRACT])
    async def test_every_version_and_its_bytes_go(
        self, staff: httpx.AsyncClient, resources: Resources, path: str
    ) -> None:
        await upload(staff, path)
        await upload(staff, path)
        assert (await staff.delete(path)).status_code == 204
        assert refusal(await staff.get(f"{path}/content")) == (404, "no-file", None)
        assert (await staff.get(f"{path}/versions")).json()["items"] == []
        assert await holdings(resources) == NOTHING

    async def test_its_previews_go_too(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await upload(staff, CARD, body=files.png(), filename="a.png")
        assert (await staff.get(f"{CARD}/preview")).status_code == 200
        await staff.delete(CARD)
        assert await holdings(resources) == NOTHING

    async def test_a_second_time_there_is_no_file(self, staff: httpx.AsyncClient) -> None:
        await upload(staff, CARD)
        await staff.delete(CARD)
        assert refusal(await staff.delete(CARD)) == (404, "no-file", None)

    async def test_the_version_number_never_restarts(self, staff: httpx.AsyncClient) -> None:
        await upload(staff, CARD)
        await staff.delete(CARD)
        answer = await staff.put(CARD, **upload_of())
        assert (answer.status_code, answer.json()["version"]) == (201, 2)

    async def test_an_old_etag_is_refused(self, staff: httpx.AsyncClient) -> None:
        old = (await staff.put(CARD, **upload_of())).headers["etag"]
        new = (await staff.put(CARD, **upload_of())).headers["etag"]
        refused = await staff.delete(CARD, headers={"If-Match": old})
        deleted = await staff.delete(CARD, headers={"If-Match": new})
        assert (refused.status_code, deleted.status_code) == (412, 204)

    async def test_a_deletion_is_audited(self, staff: httpx.AsyncClient) -> None:
        await upload(staff, CARD)
        await staff.delete(CARD)
        (event,) = await audited(staff, "document.delete")
        assert (event["document_type"], event["version"]) == ("identity-card", 1)


class TestVersions:
    """GET /v1/admin/customers/{id}/documents/{key}/versions."""

    @pytest.mark.req("R-062", "A-02")
    async def test_the_newest_comes_first_with_who_and_what(
        self, staff: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await upload(customer, OWN_CARD, filename="a.pdf", field_values='{"number": "1"}')
        await upload(staff, CARD, filename="b.pdf", field_values='{"number": "2"}')
        items = (await staff.get(f"{CARD}/versions")).json()["items"]
        facts = [
            (
                item["version"],
                item["is_current"],
                item["uploaded_by"],
                item["files"][0]["filename"],
                item["field_values"],
            )
            for item in items
        ]
        assert facts == [
            (2, True, {"kind": "admin", "id": "staff-1"}, "b.pdf", {"number": "2"}),
            (1, False, {"kind": "customer", "id": "c-1"}, "a.pdf", {"number": "1"}),
        ]

    @pytest.mark.req("R-009", "A-02")
    async def test_the_bytes_of_an_older_version_can_be_had(self, staff: httpx.AsyncClient) -> None:
        bodies = [files.pdf("one"), files.pdf("two"), files.png()]
        for body in bodies:
            await upload(staff, CARD, body=body, filename="a")
        got = [await staff.get(f"{CARD}/content", params={"version": n}) for n in (1, 2, 3)]
        assert [content.content for content in got] == bodies

    async def test_a_version_that_is_not_there_has_no_content(
        self, staff: httpx.AsyncClient
    ) -> None:
        await upload(staff, CARD)
        answer = await staff.get(f"{CARD}/content", params={"version": 2})
        assert refusal(answer) == (404, "no-file", None)

    @pytest.mark.parametrize("version", ["0", "-1", "2147483648", "x", "1.5", str(10**30)])
    async def test_what_is_no_version_is_refused(
        self, staff: httpx.AsyncClient, version: str
    ) -> None:
        answer = await staff.get(f"{CARD}/content", params={"version": version})
        assert refusal(answer) == (422, "validation-error", "version")

    async def test_pages_show_each_version_once(self, staff: httpx.AsyncClient) -> None:
        for _ in range(3):
            await upload(staff, CARD)
        path = f"{CARD}/versions"
        first = (await staff.get(path, params={"limit": 2, "include_total": True})).json()
        query = {"limit": 2, "cursor": first["next_cursor"]}
        second = (await staff.get(path, params=query)).json()
        assert [v["version"] for v in [*first["items"], *second["items"]]] == [3, 2, 1]
        assert (first["total"], second["next_cursor"]) == (3, None)

    async def test_a_cursor_of_another_list_is_refused(self, staff: httpx.AsyncClient) -> None:
        cursor = (await staff.get(DOCUMENTS, params={"limit": 1})).json()["next_cursor"]
        answer = await staff.get(f"{CARD}/versions", params={"cursor": cursor})
        assert refusal(answer) == (400, "invalid-cursor", "cursor")

    async def test_an_unknown_type_has_none(self, staff: httpx.AsyncClient) -> None:
        answer = await staff.get(f"{DOCUMENTS}/unknown/versions")
        assert refusal(answer)[:2] == (404, "document-type-unknown")


class TestKeptVersions:
    """DOCVAULT_KEEP_VERSIONS."""

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Settings:
        """A deployment that keeps two versions."""
        return Settings(data_dir=tmp_path / "data", keep_versions=2)

    @pytest.mark.req("A-02")
    async def test_only_the_newest_are_kept(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        for _ in range(4):
            await upload(staff, CARD)
        items = (await staff.get(f"{CARD}/versions")).json()["items"]
        gone = await staff.get(f"{CARD}/content", params={"version": 2})
        assert [item["version"] for item in items] == [4, 3]
        assert refusal(gone) == (404, "no-file", None)
        held = await holdings(resources)
        assert (held.versions, len(held.in_store), held.unsettled) == (2, 2, frozenset())

    async def test_the_bytes_of_the_others_are_queued_with_the_replacement(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await upload(staff, CARD, body=files.png(), filename="a.png")
        assert (await staff.get(f"{CARD}/preview")).status_code == 200
        await upload(staff, CARD)
        await upload(staff, CARD)
        async with resources.database.transaction() as session:
            queued = await session.scalar(
                text("SELECT count(*) FROM blobs WHERE state = 'delete_queued'")
            )
            jobs = await session.scalar(
                text("SELECT count(*) FROM procrastinate_jobs WHERE task_name LIKE '%blobs%'")
            )
        assert queued == 2
        assert jobs

    async def test_a_copy_prunes_too(self, staff: httpx.AsyncClient, resources: Resources) -> None:
        await upload(staff, CARD)
        for _ in range(3):
            await staff.post(f"{DIPLOMA}/copy", json={"from": {"key": "identity-card"}})
        held = await holdings(resources)
        assert (held.versions, len(held.in_store)) == (3, 3)


class TestCopy:
    """POST /v1/admin/customers/{id}/documents/{key}/copy."""

    @pytest.mark.req("R-064", "A-18")
    async def test_a_copy_fills_and_then_replaces(self, staff: httpx.AsyncClient) -> None:
        await upload(staff, CARD, body=files.png(), filename="a.png")
        first = await staff.post(f"{DIPLOMA}/copy", json={"from": {"key": "identity-card"}})
        second = await staff.post(f"{DIPLOMA}/copy", json={"from": {"key": "identity-card"}})
        assert (first.status_code, second.status_code) == (201, 200)
        assert second.json() == (await staff.get(DIPLOMA)).json()
        assert second.json()["files"] == (await staff.get(CARD)).json()["files"]
        assert second.json()["uploaded_by"] == {"kind": "admin", "id": "staff-1"}

    @pytest.mark.req("R-064", "A-18")
    async def test_source_and_copy_live_on_alone(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await upload(staff, CARD)
        await staff.post(f"{DIPLOMA}/copy", json={"from": {"key": "identity-card"}})
        assert len((await holdings(resources)).in_store) == 2
        await staff.delete(CARD)
        assert len((await holdings(resources)).in_store) == 1
        assert (await staff.get(f"{DIPLOMA}/content")).content == files.pdf()

    async def test_values_are_not_copied(self, staff: httpx.AsyncClient) -> None:
        await patch_type(staff, "diploma", collects_fields=True, field_labels="Number")
        await upload(staff, CARD, field_values='{"number": "1"}')
        answer = await staff.post(f"{DIPLOMA}/copy", json={"from": {"key": "identity-card"}})
        assert answer.json()["field_values"] == {}

    async def test_one_file_of_an_older_version_can_be_copied(
        self, staff: httpx.AsyncClient
    ) -> None:
        await patch_type(staff, "identity-card", max_files=2)
        sent = [("file", ("a.png", files.png())), ("file", ("b.jpg", files.jpeg()))]
        await staff.put(CARD, files=sent)
        await upload(staff, CARD)
        source = {"key": "identity-card", "version": 1, "file": 2}
        answer = await staff.post(f"{DIPLOMA}/copy", json={"from": source})
        assert answer.status_code == 201, answer.text
        described = [(file["number"], file["filename"]) for file in answer.json()["files"]]
        assert described == [(1, "b.jpg")]
        assert (await staff.get(f"{DIPLOMA}/content")).content == files.jpeg()

    async def test_a_file_of_an_archived_type_can_be_copied(self, staff: httpx.AsyncClient) -> None:
        await upload(staff, DIPLOMA)
        await patch_type(staff, "diploma", archived=True)
        answer = await staff.post(f"{CARD}/copy", json={"from": {"key": "diploma"}})
        assert answer.status_code == 201, answer.text

    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ({"key": "diploma"}, (404, "no-file", None)),
            ({"key": "unknown"}, (404, "document-type-unknown", None)),
            ({"key": "identity-card", "version": 9}, (404, "no-file", None)),
            ({"key": "identity-card", "file": 2}, (404, "no-file", None)),
            ({"key": "identity-card", "version": 0}, (422, "validation-error", "/from/version")),
            ({"key": "identity-card", "file": 21}, (422, "validation-error", "/from/file")),
            ({"key": "Identity Card"}, (422, "validation-error", "/from/key")),
            (
                {"key": "identity-card", "customer": "c-2"},
                (422, "validation-error", "/from/customer"),
            ),
            ({}, (422, "validation-error", "/from/key")),
            ("identity-card", (422, "validation-error", "/from")),
        ],
    )
    async def test_a_source_that_is_not_there_copies_nothing(
        self,
        staff: httpx.AsyncClient,
        resources: Resources,
        source: Any,
        expected: tuple[int, str, str | None],
    ) -> None:
        await upload(staff, CARD)
        before = await holdings(resources)
        assert refusal(await staff.post(f"{CONTRACT}/copy", json={"from": source})) == expected
        assert await holdings(resources) == before

    async def test_an_unknown_target_copies_nothing(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await upload(staff, CARD)
        before = await holdings(resources)
        answer = await staff.post(
            f"{DOCUMENTS}/unknown/copy", json={"from": {"key": "identity-card"}}
        )
        assert refusal(answer)[:2] == (404, "document-type-unknown")
        assert await holdings(resources) == before

    @pytest.mark.parametrize(
        ("rule", "expected"),
        [
            ({"max_size_bytes": 10}, (413, "file-too-large", "/from")),
            (
                {"accepted_media_types": ["application/pdf"]},
                (415, "media-type-not-allowed", "/from"),
            ),
            ({"max_files": 1}, (422, "too-many-files", "/from")),
        ],
    )
    async def test_a_copy_keeps_the_rules_of_its_new_place(
        self,
        staff: httpx.AsyncClient,
        resources: Resources,
        rule: dict[str, Any],
        expected: tuple[int, str, str],
    ) -> None:
        await patch_type(staff, "identity-card", max_files=2)
        await patch_type(staff, "diploma", **{"max_files": 2, **rule})
        await staff.put(CARD, files=[("file", ("a.png", files.png()))] * 2)
        before = await holdings(resources)
        answer = await staff.post(f"{DIPLOMA}/copy", json={"from": {"key": "identity-card"}})
        assert refusal(answer) == expected
        assert await holdings(resources) == before

    async def test_only_an_empty_slot_on_request(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await upload(staff, CARD)
        await upload(staff, DIPLOMA)
        before = await holdings(resources)
        answer = await staff.post(
            f"{DIPLOMA}/copy",
            json={"from": {"key": "identity-card"}},
            headers={"If-None-Match": "*"},
        )
        assert refusal(answer)[:2] == (412, "precondition-failed")
        assert await holdings(resources) == before

    async def test_damaged_bytes_are_not_copied(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await upload(staff, CARD)
        (key,) = await stored_keys(resources)
        await overwrite(resources, key, flipped(files.pdf()))
        answer = await staff.post(f"{DIPLOMA}/copy", json={"from": {"key": "identity-card"}})
        assert refusal(answer)[:2] == (503, "storage-unavailable")
        assert (await staff.get(DIPLOMA)).json()["upload_state"] == "missing"

    async def test_a_document_can_be_copied_onto_itself(self, staff: httpx.AsyncClient) -> None:
        await upload(staff, CARD, filename="one.pdf")
        await upload(staff, CARD, body=files.png(), filename="two.png")
        source = {"key": "identity-card", "version": 1}
        answer = await staff.post(f"{CARD}/copy", json={"from": source})
        assert (answer.status_code, answer.json()["version"]) == (200, 3)
        assert answer.json()["files"][0]["filename"] == "one.pdf"

    async def test_a_copy_is_audited(self, staff: httpx.AsyncClient) -> None:
        await upload(staff, CARD)
        await staff.post(f"{DIPLOMA}/copy", json={"from": {"key": "identity-card"}})
        (event,) = await audited(staff, "document.copy")
        assert (event["document_type"], event["version"]) == ("diploma", 1)


class TestErasedCustomer:
    """Documents of a customer who is being erased."""

    @pytest.mark.parametrize("suffix", ["", "/content", "/preview", "/versions"])
    @pytest.mark.req("R-100")
    async def test_nothing_can_be_read(self, staff: httpx.AsyncClient, suffix: str) -> None:
        await upload(staff, CARD)
        await staff.delete("/v1/admin/customers/c-1")
        assert refusal(await staff.get(CARD + suffix)) == (404, "customer-unknown", None)

    async def test_nothing_can_be_written(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await upload(staff, CARD)
        await staff.delete("/v1/admin/customers/c-1")
        answers = [
            await staff.put(CARD, **upload_of()),
            await staff.patch(CARD, json={"field_values": {"number": "1"}}),
            await staff.delete(CARD),
            await staff.post(f"{DIPLOMA}/copy", json={"from": {"key": "identity-card"}}),
        ]
        refused = (409, "customer-being-erased", None)
        assert [refusal(answer) for answer in answers] == [refused] * 4
        assert await holdings(resources) == NOTHING
