"""Documents of a customer, as staff manage them."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from tests.api.stored_state import NOTHING_STORED, audited, refusal, stored_state
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
    """Upload a valid file."""
    response = await client.put(path, **upload_of(**sent))
    assert response.status_code in {200, 201}, response.text
    document: dict[str, Any] = response.json()
    return document


async def listed(client: httpx.AsyncClient, **query: Any) -> dict[str, str]:
    """Return the upload state of each listed document by the key of its type."""
    items = (await client.get(DOCUMENTS, params=query)).json()["items"]
    return {item["type"]["key"]: item["upload_state"] for item in items}


class TestList:
    """GET /v1/admin/customers/{id}/documents."""

    @pytest.mark.req("R-006", "R-060")
    async def test_every_active_type_is_uploaded_or_missing(self, staff: httpx.AsyncClient) -> None:
        await upload(staff, DIPLOMA)
        assert await listed(staff) == {
            "identity-card": "missing",
            "diploma": "uploaded",
            "contract": "missing",
        }

    @pytest.mark.req("R-060")
    async def test_archived_type_is_listed_while_it_has_file(
        self, staff: httpx.AsyncClient
    ) -> None:
        await upload(staff, DIPLOMA)
        await patch_type(staff, "diploma", archived=True)
        await patch_type(staff, "contract", archived=True)
        assert await listed(staff) == {"identity-card": "missing", "diploma": "uploaded"}
        assert (await staff.delete(DIPLOMA)).status_code == 204
        assert await listed(staff) == {"identity-card": "missing"}

    @pytest.mark.req("R-116")
    async def test_unknown_customer_is_not_found(self, staff: httpx.AsyncClient) -> None:
        response = await staff.get("/v1/admin/customers/c-9/documents")
        assert refusal(response) == (404, "customer-not-found", None)

    @pytest.mark.parametrize(
        ("customer_id", "status"),
        [("a b", 422), ("é", 422), ("x" * 129, 422), ("a%00", 422), ("a%2Fb", 404)],
    )
    async def test_invalid_customer_id_is_rejected(
        self, staff: httpx.AsyncClient, customer_id: str, status: int
    ) -> None:
        response = await staff.get(f"/v1/admin/customers/{customer_id}/documents")
        assert response.status_code == status
        assert response.headers["content-type"] == "application/problem+json"

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
    async def test_staff_upload_and_replace_documents_of_any_mode(
        self, staff: httpx.AsyncClient, path: str
    ) -> None:
        first = await staff.put(path, **upload_of())
        second = await staff.put(path, **upload_of())
        assert (first.status_code, second.status_code) == (201, 200)
        assert second.json()["uploaded_by"] == {"kind": "admin", "id": "staff-1"}
        assert (second.json()["upload_state"], second.json()["version"]) == ("uploaded", 2)

    async def test_uploader_is_shown_to_staff(
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

    async def test_portal_and_gate_do_not_restrict_staff(self, staff: httpx.AsyncClient) -> None:
        await patch_portal(staff, section_enabled=False)
        assert (await staff.put(CARD, **upload_of())).status_code == 201
        assert (await staff.get(f"{CARD}/content")).status_code == 200

    async def test_archived_type_without_file_is_not_found(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await patch_type(staff, "diploma", archived=True)
        assert refusal(await staff.put(DIPLOMA, **upload_of()))[:2] == (
            404,
            "document-type-not-found",
        )
        assert await stored_state(resources) == NOTHING_STORED

    async def test_upload_waiting_for_archival_stores_nothing(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        content = httpx.Request("PUT", "http://x", **upload_of())
        body = content.read()

        async def archiving() -> Any:
            yield body[:100]
            await patch_type(staff, "diploma", archived=True)
            yield body[100:]

        headers = {"Content-Type": content.headers["content-type"]}
        response = await staff.put(DIPLOMA, content=archiving(), headers=headers)
        assert refusal(response)[:2] == (404, "document-type-not-found")
        assert await stored_state(resources) == NOTHING_STORED

    @pytest.mark.req("R-090", "R-091", "A-16")
    async def test_has_documents_from_first_upload_to_last_deletion(
        self, staff: httpx.AsyncClient
    ) -> None:
        async def has_documents_now() -> bool:
            shown: bool = (await staff.get("/v1/admin/customers/c-1")).json()["has_documents"]
            return shown

        seen = [await has_documents_now()]
        for change in (
            staff.put(CONTRACT, **upload_of()),
            staff.put(DIPLOMA, **upload_of()),
            staff.delete(CONTRACT),
        ):
            assert (await change).status_code in {201, 204}
            seen.append(await has_documents_now())
        await patch_type(staff, "diploma", archived=True)
        seen.append(await has_documents_now())
        await staff.delete(DIPLOMA)
        assert [*seen, await has_documents_now()] == [False, True, True, True, True, False]

    @pytest.mark.req("R-096")
    async def test_counts_follow_every_change(self, staff: httpx.AsyncClient) -> None:
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
    async def test_staff_correct_customer_values(
        self, staff: httpx.AsyncClient, customer: httpx.AsyncClient
    ) -> None:
        await upload(customer, OWN_CARD, field_values='{"number": "1"}')
        before = (await staff.get(CARD)).json()
        response = await staff.patch(CARD, json={"field_values": {"number": "2"}})
        assert response.json() == before | {"field_values": {"number": "2"}}
        (event,) = await audited(staff, "document.update")
        changes = {"field_values": {"old": {"number": "1"}, "new": {"number": "2"}}}
        assert (event["actor"]["id"], event["changes"]) == ("staff-1", changes)

    @pytest.mark.req("A-11")
    async def test_staff_may_store_values_before_file(self, staff: httpx.AsyncClient) -> None:
        response = await staff.patch(CARD, json={"field_values": {"number": "1"}})
        assert response.status_code == 200, response.text
        document = response.json()
        assert (document["upload_state"], document["status"]) == ("missing", "missing")
        assert document["field_values"] == {"number": "1"}
        assert (await upload(staff, CARD))["field_values"] == {"number": "1"}

    @pytest.mark.req("A-11", "R-091")
    async def test_draft_does_not_count_as_document(self, staff: httpx.AsyncClient) -> None:
        await staff.patch(CARD, json={"field_values": {"number": "1"}})
        assert (await staff.get("/v1/admin/customers/c-1")).json()["has_documents"] is False
        assert refusal(await staff.delete(CARD)) == (404, "file-not-found", None)
        versions = (await staff.get(f"{CARD}/versions")).json()
        assert versions["items"] == []

    async def test_stale_etag_is_rejected(self, staff: httpx.AsyncClient) -> None:
        stale = (await staff.get(CARD)).headers["etag"]
        await upload(staff, CARD)
        values = {"field_values": {"number": "1"}}
        response = await staff.patch(CARD, json=values, headers={"If-Match": stale})
        assert refusal(response)[:2] == (412, "precondition-failed")
        assert (await staff.get(CARD)).json()["field_values"] == {}


class TestDelete:
    """DELETE /v1/admin/customers/{id}/documents/{key}."""

    @pytest.mark.parametrize("path", [CARD, DIPLOMA, CONTRACT])
    async def test_all_versions_and_bytes_are_deleted(
        self, staff: httpx.AsyncClient, resources: Resources, path: str
    ) -> None:
        await upload(staff, path)
        await upload(staff, path)
        assert (await staff.delete(path)).status_code == 204
        assert refusal(await staff.get(f"{path}/content")) == (404, "file-not-found", None)
        assert (await staff.get(f"{path}/versions")).json()["items"] == []
        assert await stored_state(resources) == NOTHING_STORED

    async def test_previews_are_deleted(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await upload(staff, CARD, body=files.png(), filename="a.png")
        assert (await staff.get(f"{CARD}/preview")).status_code == 200
        await staff.delete(CARD)
        assert await stored_state(resources) == NOTHING_STORED

    async def test_second_deletion_returns_file_not_found(self, staff: httpx.AsyncClient) -> None:
        await upload(staff, CARD)
        await staff.delete(CARD)
        assert refusal(await staff.delete(CARD)) == (404, "file-not-found", None)

    async def test_version_number_does_not_restart(self, staff: httpx.AsyncClient) -> None:
        await upload(staff, CARD)
        await staff.delete(CARD)
        response = await staff.put(CARD, **upload_of())
        assert (response.status_code, response.json()["version"]) == (201, 2)

    async def test_stale_etag_is_rejected(self, staff: httpx.AsyncClient) -> None:
        old = (await staff.put(CARD, **upload_of())).headers["etag"]
        new = (await staff.put(CARD, **upload_of())).headers["etag"]
        rejected = await staff.delete(CARD, headers={"If-Match": old})
        deleted = await staff.delete(CARD, headers={"If-Match": new})
        assert (rejected.status_code, deleted.status_code) == (412, 204)

    async def test_deletion_is_audited(self, staff: httpx.AsyncClient) -> None:
        await upload(staff, CARD)
        await staff.delete(CARD)
        (event,) = await audited(staff, "document.delete")
        assert (event["document_type"], event["version"]) == ("identity-card", 1)


class TestVersions:
    """GET /v1/admin/customers/{id}/documents/{key}/versions."""

    @pytest.mark.req("R-062", "A-02")
    async def test_newest_version_comes_first_with_uploader_and_files(
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
    async def test_older_version_can_be_downloaded(self, staff: httpx.AsyncClient) -> None:
        bodies = [files.pdf("one"), files.pdf("two"), files.png()]
        for body in bodies:
            await upload(staff, CARD, body=body, filename="a")
        contents = [await staff.get(f"{CARD}/content", params={"version": n}) for n in (1, 2, 3)]
        assert [response.content for response in contents] == bodies

    async def test_unknown_version_has_no_content(self, staff: httpx.AsyncClient) -> None:
        await upload(staff, CARD)
        response = await staff.get(f"{CARD}/content", params={"version": 2})
        assert refusal(response) == (404, "file-not-found", None)

    @pytest.mark.parametrize("version", ["0", "-1", "2147483648", "x", "1.5", str(10**30)])
    async def test_invalid_version_is_rejected(
        self, staff: httpx.AsyncClient, version: str
    ) -> None:
        response = await staff.get(f"{CARD}/content", params={"version": version})
        assert refusal(response) == (422, "validation-error", "version")

    async def test_pages_show_each_version_once(self, staff: httpx.AsyncClient) -> None:
        for _ in range(3):
            await upload(staff, CARD)
        path = f"{CARD}/versions"
        first = (await staff.get(path, params={"limit": 2, "include_total": True})).json()
        query = {"limit": 2, "cursor": first["next_cursor"]}
        second = (await staff.get(path, params=query)).json()
        assert [v["version"] for v in [*first["items"], *second["items"]]] == [3, 2, 1]
        assert (first["total"], second["next_cursor"]) == (3, None)

    async def test_cursor_of_another_list_is_rejected(self, staff: httpx.AsyncClient) -> None:
        cursor = (await staff.get(DOCUMENTS, params={"limit": 1})).json()["next_cursor"]
        response = await staff.get(f"{CARD}/versions", params={"cursor": cursor})
        assert refusal(response) == (400, "invalid-cursor", "cursor")

    async def test_unknown_type_has_no_versions(self, staff: httpx.AsyncClient) -> None:
        response = await staff.get(f"{DOCUMENTS}/unknown/versions")
        assert refusal(response)[:2] == (404, "document-type-not-found")


class TestVersionRetention:
    """DOCVAULT_KEEP_VERSIONS."""

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Settings:
        """A deployment that keeps two versions."""
        return Settings(data_dir=tmp_path / "data", keep_versions=2)

    @pytest.mark.req("A-02")
    async def test_only_newest_versions_are_kept(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        for _ in range(4):
            await upload(staff, CARD)
        items = (await staff.get(f"{CARD}/versions")).json()["items"]
        gone = await staff.get(f"{CARD}/content", params={"version": 2})
        assert [item["version"] for item in items] == [4, 3]
        assert refusal(gone) == (404, "file-not-found", None)
        held = await stored_state(resources)
        assert (held.versions, len(held.in_store), held.unsettled) == (2, 2, frozenset())

    async def test_pruned_bytes_are_queued_in_the_replacing_transaction(
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
            jobs = await session.scalar(text("SELECT count(*) FROM procrastinate_jobs"))
        # The reaper finds them without a job.
        assert (queued, jobs) == (2, 0)

    async def test_copy_prunes_old_versions(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await upload(staff, CARD)
        for _ in range(3):
            await staff.post(f"{DIPLOMA}/copy", json={"from": {"key": "identity-card"}})
        held = await stored_state(resources)
        assert (held.versions, len(held.in_store)) == (3, 3)


class TestCopy:
    """POST /v1/admin/customers/{id}/documents/{key}/copy."""

    @pytest.mark.req("R-064", "A-18")
    async def test_copy_creates_then_replaces(self, staff: httpx.AsyncClient) -> None:
        await upload(staff, CARD, body=files.png(), filename="a.png")
        first = await staff.post(f"{DIPLOMA}/copy", json={"from": {"key": "identity-card"}})
        second = await staff.post(f"{DIPLOMA}/copy", json={"from": {"key": "identity-card"}})
        assert (first.status_code, second.status_code) == (201, 200)
        assert second.json() == (await staff.get(DIPLOMA)).json()
        assert second.json()["files"] == (await staff.get(CARD)).json()["files"]
        assert second.json()["uploaded_by"] == {"kind": "admin", "id": "staff-1"}

    @pytest.mark.req("R-064", "A-18")
    async def test_source_and_copy_are_independent(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await upload(staff, CARD)
        await staff.post(f"{DIPLOMA}/copy", json={"from": {"key": "identity-card"}})
        assert len((await stored_state(resources)).in_store) == 2
        await staff.delete(CARD)
        assert len((await stored_state(resources)).in_store) == 1
        assert (await staff.get(f"{DIPLOMA}/content")).content == files.pdf()

    async def test_values_are_not_copied(self, staff: httpx.AsyncClient) -> None:
        await patch_type(staff, "diploma", collects_fields=True, field_labels="Number")
        await upload(staff, CARD, field_values='{"number": "1"}')
        response = await staff.post(f"{DIPLOMA}/copy", json={"from": {"key": "identity-card"}})
        assert response.json()["field_values"] == {}

    async def test_single_file_of_older_version_can_be_copied(
        self, staff: httpx.AsyncClient
    ) -> None:
        await patch_type(staff, "identity-card", max_files=2)
        sent = [("file", ("a.png", files.png())), ("file", ("b.jpg", files.jpeg()))]
        await staff.put(CARD, files=sent)
        await upload(staff, CARD)
        source = {"key": "identity-card", "version": 1, "file": 2}
        response = await staff.post(f"{DIPLOMA}/copy", json={"from": source})
        assert response.status_code == 201, response.text
        described = [(file["number"], file["filename"]) for file in response.json()["files"]]
        assert described == [(1, "b.jpg")]
        assert (await staff.get(f"{DIPLOMA}/content")).content == files.jpeg()

    async def test_file_of_archived_type_can_be_copied(self, staff: httpx.AsyncClient) -> None:
        await upload(staff, DIPLOMA)
        await patch_type(staff, "diploma", archived=True)
        response = await staff.post(f"{CARD}/copy", json={"from": {"key": "diploma"}})
        assert response.status_code == 201, response.text

    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ({"key": "diploma"}, (404, "file-not-found", None)),
            ({"key": "unknown"}, (404, "document-type-not-found", None)),
            ({"key": "identity-card", "version": 9}, (404, "file-not-found", None)),
            ({"key": "identity-card", "file": 2}, (404, "file-not-found", None)),
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
    async def test_missing_source_copies_nothing(
        self,
        staff: httpx.AsyncClient,
        resources: Resources,
        source: Any,
        expected: tuple[int, str, str | None],
    ) -> None:
        await upload(staff, CARD)
        before = await stored_state(resources)
        assert refusal(await staff.post(f"{CONTRACT}/copy", json={"from": source})) == expected
        assert await stored_state(resources) == before

    async def test_unknown_target_copies_nothing(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await upload(staff, CARD)
        before = await stored_state(resources)
        response = await staff.post(
            f"{DOCUMENTS}/unknown/copy", json={"from": {"key": "identity-card"}}
        )
        assert refusal(response)[:2] == (404, "document-type-not-found")
        assert await stored_state(resources) == before

    @pytest.mark.parametrize(
        ("rule", "expected"),
        [
            ({"max_size_bytes": 10}, (413, "file-too-large", "/from")),
            (
                {"accepted_media_types": ["application/pdf"]},
                (415, "unsupported-media-type", "/from"),
            ),
            ({"max_files": 1}, (422, "too-many-files", "/from")),
        ],
    )
    async def test_copy_obeys_target_type_limits(
        self,
        staff: httpx.AsyncClient,
        resources: Resources,
        rule: dict[str, Any],
        expected: tuple[int, str, str],
    ) -> None:
        await patch_type(staff, "identity-card", max_files=2)
        await patch_type(staff, "diploma", **{"max_files": 2, **rule})
        await staff.put(CARD, files=[("file", ("a.png", files.png()))] * 2)
        before = await stored_state(resources)
        response = await staff.post(f"{DIPLOMA}/copy", json={"from": {"key": "identity-card"}})
        assert refusal(response) == expected
        assert await stored_state(resources) == before

    async def test_if_none_match_copies_only_to_empty_document(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await upload(staff, CARD)
        await upload(staff, DIPLOMA)
        before = await stored_state(resources)
        response = await staff.post(
            f"{DIPLOMA}/copy",
            json={"from": {"key": "identity-card"}},
            headers={"If-None-Match": "*"},
        )
        assert refusal(response)[:2] == (412, "precondition-failed")
        assert await stored_state(resources) == before

    async def test_corrupt_bytes_are_not_copied(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await upload(staff, CARD)
        (key,) = await stored_keys(resources)
        await overwrite(resources, key, flipped(files.pdf()))
        response = await staff.post(f"{DIPLOMA}/copy", json={"from": {"key": "identity-card"}})
        assert refusal(response)[:2] == (503, "storage-unavailable")
        assert (await staff.get(DIPLOMA)).json()["upload_state"] == "missing"

    async def test_document_can_be_copied_onto_itself(self, staff: httpx.AsyncClient) -> None:
        await upload(staff, CARD, filename="one.pdf")
        await upload(staff, CARD, body=files.png(), filename="two.png")
        source = {"key": "identity-card", "version": 1}
        response = await staff.post(f"{CARD}/copy", json={"from": source})
        assert (response.status_code, response.json()["version"]) == (200, 3)
        assert response.json()["files"][0]["filename"] == "one.pdf"

    async def test_copy_is_audited(self, staff: httpx.AsyncClient) -> None:
        await upload(staff, CARD)
        await staff.post(f"{DIPLOMA}/copy", json={"from": {"key": "identity-card"}})
        (event,) = await audited(staff, "document.copy")
        assert (event["document_type"], event["version"]) == ("diploma", 1)


class TestErasedCustomer:
    """Documents of a customer who is being erased."""

    @pytest.mark.parametrize("suffix", ["", "/content", "/preview", "/versions"])
    @pytest.mark.req("R-100")
    async def test_reads_return_customer_unknown(
        self, staff: httpx.AsyncClient, suffix: str
    ) -> None:
        await upload(staff, CARD)
        await staff.delete("/v1/admin/customers/c-1")
        assert refusal(await staff.get(CARD + suffix)) == (404, "customer-not-found", None)

    async def test_writes_return_customer_unknown(
        self, staff: httpx.AsyncClient, resources: Resources
    ) -> None:
        await upload(staff, CARD)
        await staff.delete("/v1/admin/customers/c-1")
        responses = [
            await staff.put(CARD, **upload_of()),
            await staff.patch(CARD, json={"field_values": {"number": "1"}}),
            await staff.delete(CARD),
            await staff.post(f"{DIPLOMA}/copy", json={"from": {"key": "identity-card"}}),
        ]
        rejected = (409, "customer-being-erased", None)
        assert [refusal(response) for response in responses] == [rejected] * 4
        assert await stored_state(resources) == NOTHING_STORED
