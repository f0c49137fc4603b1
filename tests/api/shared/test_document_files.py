"""Adding a file to a document and removing one."""

import asyncio
import hashlib
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from tests.api.stored_state import audited
from tests.factories import files
from tests.factories.setups import make_customer, make_type, patch_portal, patch_type, upload_of
from tests.factories.upload_sessions import send_bytes
from tests.fixtures.callers import CustomerClients

from docvault.services.blobs import delete_queued_blobs
from docvault.services.resources import Resources
from docvault.services.verification import verify

CUSTOMER = "/v1/customer/documents/payslips"
STAFF = "/v1/admin/customers/c-1/documents/payslips"
PARTNER = "/v1/integration/customers/c-1/documents/payslips"
BODIES = [files.pdf(f"page of file {number}") for number in range(6)]

Clients = dict[str, httpx.AsyncClient]


@pytest.fixture
async def clients(
    admin: httpx.AsyncClient, customer_of: CustomerClients, integration: httpx.AsyncClient
) -> Clients:
    """Callers of each kind, and a type that accepts four files."""
    await make_type(
        admin, "Payslips", max_files=4, collects_fields=True, fields=[{"label": "Employer"}]
    )
    await make_customer(admin, "c-1")
    return {CUSTOMER: customer_of("c-1"), STAFF: admin, PARTNER: integration}


@pytest.fixture
def customer(clients: Clients) -> httpx.AsyncClient:
    """The customer of the documents."""
    return clients[CUSTOMER]


async def add(client: httpx.AsyncClient, number: int, path: str = CUSTOMER, **options: Any) -> Any:
    """Add file `number`, and return the document."""
    response = await client.post(
        f"{path}/files", **upload_of(BODIES[number], f"{number}.pdf"), **options
    )
    assert response.status_code == 201, response.text
    return response.json()


async def add_files(client: httpx.AsyncClient, *numbers: int) -> Any:
    """Add files one after the other, and return the document."""
    for number in numbers:
        document = await add(client, number)
    return document


def names(document: Any) -> list[str]:
    """Return the file names, once their numbers are those of their positions."""
    found = document["files"]
    assert [file["number"] for file in found] == list(range(1, len(found) + 1))
    return [file["filename"] for file in found]


async def rows(resources: Resources, statement: str) -> list[tuple[Any, ...]]:
    async with resources.database.transaction() as session:
        return [tuple(row) for row in await session.execute(text(statement))]


@pytest.mark.parametrize("path", [CUSTOMER, STAFF, PARTNER])
@pytest.mark.req("B-190")
class TestEveryApi:
    """POST and DELETE …/files in each API."""

    async def test_added_file_follows_present_ones(self, clients: Clients, path: str) -> None:
        first = await add(clients[path], 1, path)
        assert (names(first), first["version"]) == (["1.pdf"], 1)
        second = await add(clients[path], 2, path)
        assert (names(second), second["version"]) == (["1.pdf", "2.pdf"], 2)
        assert (await clients[path].get(path)).json() == second

    async def test_remaining_files_move_up(self, clients: Clients, path: str) -> None:
        await add_files(clients[CUSTOMER], 1, 2, 3)
        response = await clients[path].delete(f"{path}/files/2")
        assert response.status_code == 200
        assert (names(response.json()), response.json()["version"]) == (["1.pdf", "3.pdf"], 4)
        assert response.headers["etag"] == (await clients[path].get(path)).headers["etag"]


@pytest.mark.req("B-190")
class TestAdd:
    """POST …/files."""

    async def test_bytes_of_every_file_are_read_back(self, customer: httpx.AsyncClient) -> None:
        await add_files(customer, 1, 2, 3)
        for number in (1, 2, 3):
            content = await customer.get(f"{CUSTOMER}/content", params={"file": number})
            assert content.content == BODIES[number]

    async def test_kept_bytes_are_neither_stored_nor_counted_again(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await add_files(customer, 1, 2, 3)
        assert await rows(resources, "SELECT count(*) FROM blobs") == [(3,)]

    async def test_values_are_merged(self, customer: httpx.AsyncClient) -> None:
        await customer.put(CUSTOMER, **upload_of(BODIES[0], field_values='{"employer": "A"}'))
        assert (await add(customer, 1))["field_values"] == {"employer": "A"}
        response = await customer.post(
            f"{CUSTOMER}/files", **upload_of(BODIES[2], field_values='{"employer": "B"}')
        )
        assert response.json()["field_values"] == {"employer": "B"}

    async def test_file_over_the_limit_is_refused(self, customer: httpx.AsyncClient) -> None:
        document = await add_files(customer, 1, 2, 3, 4)
        response = await customer.post(f"{CUSTOMER}/files", **upload_of(BODIES[5]))
        assert (response.status_code, response.json()["code"]) == (422, "too-many-files")
        assert (await customer.get(CUSTOMER)).json() == document

    @pytest.mark.parametrize(
        ("sent", "code"),
        [
            ([], "file-required"),
            ([("file", ("a.pdf", BODIES[n])) for n in (1, 2)], "too-many-files"),
        ],
        ids=["none", "two"],
    )
    async def test_exactly_one_file_is_sent(
        self, customer: httpx.AsyncClient, sent: Any, code: str
    ) -> None:
        parts = sent or [("field_values", (None, "{}"))]
        response = await customer.post(f"{CUSTOMER}/files", files=parts)
        assert (response.status_code, response.json()["code"]) == (422, code)

    async def test_refused_file_changes_nothing(self, customer: httpx.AsyncClient) -> None:
        document = await add(customer, 1)
        response = await customer.post(f"{CUSTOMER}/files", **upload_of(b"\0\1\2", "a.pdf"))
        assert response.status_code in {415, 422}
        assert (await customer.get(CUSTOMER)).json() == document

    async def test_stale_etag_is_refused(self, customer: httpx.AsyncClient) -> None:
        await add(customer, 1)
        etag = (await customer.get(CUSTOMER)).headers["etag"]
        await add(customer, 2, headers={"If-Match": etag})
        response = await customer.post(
            f"{CUSTOMER}/files", **upload_of(BODIES[3]), headers={"If-Match": etag}
        )
        assert response.status_code == 412
        assert names((await customer.get(CUSTOMER)).json()) == ["1.pdf", "2.pdf"]

    async def test_request_with_key_is_executed_once(self, customer: httpx.AsyncClient) -> None:
        await add(customer, 0)
        headers = {"Idempotency-Key": "k"}
        first = await add(customer, 1, headers=headers)
        assert await add(customer, 1, headers=headers) == first
        assert (await customer.get(CUSTOMER)).json() == first

    async def test_what_was_added_is_audited(
        self, customer: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        await add_files(customer, 1, 2)
        event = (await audited(admin, "document.add_file"))[0]
        assert event["version"] == 2
        assert [(file["number"], file["filename"]) for file in event["files"]] == [(2, "2.pdf")]

    async def test_all_of_simultaneous_files_are_kept(self, customer: httpx.AsyncClient) -> None:
        await add(customer, 0)
        await asyncio.gather(*(add(customer, number) for number in (1, 2, 3)))
        document = (await customer.get(CUSTOMER)).json()
        assert sorted(names(document)) == ["0.pdf", "1.pdf", "2.pdf", "3.pdf"]

    async def test_limit_holds_for_simultaneous_files(self, customer: httpx.AsyncClient) -> None:
        await add_files(customer, 0, 1, 2)
        responses = await asyncio.gather(
            *(customer.post(f"{CUSTOMER}/files", **upload_of(BODIES[n])) for n in (3, 4, 5))
        )
        assert sorted(response.status_code for response in responses) == [201, 422, 422]
        assert len(names((await customer.get(CUSTOMER)).json())) == 4

    async def test_previews_move_to_the_new_version(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await add(customer, 1)
        preview = (await customer.get(f"{CUSTOMER}/preview")).content
        await add(customer, 2)
        assert (await customer.get(f"{CUSTOMER}/preview")).content == preview
        assert await rows(resources, "SELECT count(*) FROM previews") == [(1,)]
        other = await customer.get(f"{CUSTOMER}/preview", params={"file": 2})
        assert other.content != preview

    async def test_verdict_of_a_scan_is_kept(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await add(customer, 1)
        async with resources.database.transaction() as session:
            await session.execute(text("UPDATE document_files SET scan = 'infected'"))
        assert [file["scan"] for file in (await add(customer, 2))["files"]] == [
            "infected",
            "not_configured",
        ]
        assert (await customer.get(f"{CUSTOMER}/content")).status_code == 409


@pytest.mark.req("B-191")
class TestRemove:
    """DELETE …/files/{number}."""

    async def test_only_file_is_kept(self, customer: httpx.AsyncClient) -> None:
        document = await add(customer, 1)
        response = await customer.delete(f"{CUSTOMER}/files/1")
        assert (response.status_code, response.json()["code"]) == (422, "file-required")
        assert (await customer.get(CUSTOMER)).json() == document

    @pytest.mark.parametrize(
        ("number", "status"), [("3", 404), ("0", 422), ("21", 422), ("x", 422)]
    )
    async def test_unknown_file_is_refused(
        self, customer: httpx.AsyncClient, number: str, status: int
    ) -> None:
        document = await add_files(customer, 1, 2)
        assert (await customer.delete(f"{CUSTOMER}/files/{number}")).status_code == status
        assert (await customer.get(CUSTOMER)).json() == document

    async def test_file_of_missing_document_is_not_found(self, customer: httpx.AsyncClient) -> None:
        response = await customer.delete(f"{CUSTOMER}/files/1")
        assert (response.status_code, response.json()["code"]) == (404, "file-not-found")

    async def test_removal_with_one_etag_succeeds_once(self, customer: httpx.AsyncClient) -> None:
        await add_files(customer, 1, 2, 3)
        etag = (await customer.get(CUSTOMER)).headers["etag"]
        responses = await asyncio.gather(
            *(customer.delete(f"{CUSTOMER}/files/1", headers={"If-Match": etag}) for _ in range(4))
        )
        assert sorted(response.status_code for response in responses) == [200, 412, 412, 412]
        assert names((await customer.get(CUSTOMER)).json()) == ["2.pdf", "3.pdf"]

    async def test_removed_file_stays_in_its_version(
        self, customer: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        await add_files(customer, 1, 2)
        await customer.delete(f"{CUSTOMER}/files/1")
        old = await admin.get(f"{STAFF}/content", params={"version": 2, "file": 1})
        assert old.content == BODIES[1]

    async def test_what_was_removed_is_audited(
        self, customer: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        await add_files(customer, 1, 2)
        await customer.delete(f"{CUSTOMER}/files/1")
        event = (await audited(admin, "document.remove_file"))[0]
        assert event["version"] == 3
        assert [file["filename"] for file in event["files"]] == ["1.pdf"]

    async def test_file_can_be_removed_below_a_lowered_limit(
        self, customer: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        await add_files(customer, 1, 2, 3)
        await patch_type(admin, "payslips", max_files=1)
        assert (await customer.delete(f"{CUSTOMER}/files/1")).status_code == 200


@pytest.mark.req("B-192")
class TestSharedBytes:
    """The blobs that versions share."""

    async def test_blob_lives_as_long_as_a_version_refers_to_it(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        keep = resources.settings.keep_versions
        await add_files(customer, 0, 1)
        # More versions than are kept: those that the first file came with are gone.
        for number in range(keep + 1):
            await add(customer, 2 + number % 2)
            assert (await customer.delete(f"{CUSTOMER}/files/3")).status_code == 200
        assert (await rows(resources, "SELECT min(number) FROM document_versions"))[0][0] > 2
        await delete_queued_blobs(resources)
        for number in (1, 2):
            content = await customer.get(f"{CUSTOMER}/content", params={"file": number})
            assert content.content == BODIES[number - 1]
        findings = await verify(resources, rehash=True, progress=lambda _: None)
        assert findings.is_clean

    async def test_last_reference_frees_the_blob(
        self, customer: httpx.AsyncClient, resources: Resources
    ) -> None:
        await add_files(customer, 0, 1)
        for _ in range(resources.settings.keep_versions):
            await customer.put(CUSTOMER, **upload_of(BODIES[5]))
        states = await rows(
            resources, "SELECT state FROM blobs WHERE size_bytes <> 0 ORDER BY created_at LIMIT 2"
        )
        assert states == [("delete_queued",), ("delete_queued",)]

    async def test_deleting_the_document_frees_every_blob(
        self, customer: httpx.AsyncClient, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await add_files(customer, 0, 1, 2)
        assert (await admin.delete(STAFF)).status_code == 204
        assert await rows(resources, "SELECT DISTINCT state FROM blobs") == [("delete_queued",)]

    async def test_additions_and_deletion_at_once_leave_no_stray_blob(
        self, customer: httpx.AsyncClient, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await add(customer, 0)
        await asyncio.gather(
            *(customer.post(f"{CUSTOMER}/files", **upload_of(BODIES[n])) for n in (1, 2, 3)),
            admin.delete(STAFF),
        )
        stray = """
            SELECT state FROM blobs WHERE (state = 'stored')
                <> EXISTS (SELECT FROM document_files WHERE blob_id = blobs.id)
        """
        assert await rows(resources, stray) == []


@pytest.mark.req("B-193")
class TestUploadSession:
    """POST …/uploads with `append`."""

    async def declare(self, client: httpx.AsyncClient, number: int) -> httpx.Response:
        body = BODIES[number]
        digest = hashlib.sha256(body).hexdigest()
        declared = {"filename": f"{number}.pdf", "size_bytes": len(body), "sha256": digest}
        return await client.post(f"{CUSTOMER}/uploads", json={**declared, "append": True})

    async def send(self, client: httpx.AsyncClient, number: int) -> str:
        session = (await self.declare(client, number)).json()
        sent = await send_bytes(client, session, BODIES[number])
        assert sent.is_success, sent.text
        return f"{CUSTOMER}/uploads/{session['id']}/complete"

    async def test_completed_file_follows_present_ones(self, customer: httpx.AsyncClient) -> None:
        await add(customer, 1)
        completed = await customer.post(await self.send(customer, 2))
        assert completed.status_code == 201
        assert names(completed.json()) == ["1.pdf", "2.pdf"]

    async def test_session_over_the_limit_is_refused(self, customer: httpx.AsyncClient) -> None:
        await add_files(customer, 0, 1, 2, 3)
        response = await self.declare(customer, 4)
        assert (response.status_code, response.json()["code"]) == (422, "too-many-files")

    async def test_limit_reached_meanwhile_is_refused(self, customer: httpx.AsyncClient) -> None:
        await add_files(customer, 0, 1, 2)
        path = await self.send(customer, 4)
        document = await add(customer, 3)
        response = await customer.post(path)
        assert (response.status_code, response.json()["code"]) == (422, "too-many-files")
        assert (await customer.get(CUSTOMER)).json() == document


@pytest.mark.req("B-194")
class TestCapabilities:
    """`can_edit_fields` and `can_delete` of a document."""

    async def flags(self, client: httpx.AsyncClient, path: str) -> tuple[bool, bool, bool]:
        document = (await client.get(path)).json()
        return document["can_upload"], document["can_edit_fields"], document["can_delete"]

    async def test_staff_can_delete_what_is_there(self, clients: Clients) -> None:
        assert await self.flags(clients[STAFF], STAFF) == (True, True, False)
        await add(clients[CUSTOMER], 1)
        assert await self.flags(clients[STAFF], STAFF) == (True, True, True)

    async def test_customer_can_delete_where_settings_allow(self, clients: Clients) -> None:
        await add(clients[CUSTOMER], 1)
        assert await self.flags(clients[CUSTOMER], CUSTOMER) == (True, True, False)
        await patch_portal(clients[STAFF], customer_may_delete=True)
        assert await self.flags(clients[CUSTOMER], CUSTOMER) == (True, True, True)
        saved = await add(clients[CUSTOMER], 2)
        assert saved["can_delete"]
        await patch_type(clients[STAFF], "payslips", upload_mode="required")
        assert await self.flags(clients[CUSTOMER], CUSTOMER) == (True, True, False)

    async def test_integration_has_no_deletion(self, clients: Clients) -> None:
        await add(clients[CUSTOMER], 1)
        assert await self.flags(clients[PARTNER], PARTNER) == (True, True, False)

    async def test_values_of_required_document_wait_for_its_file(self, clients: Clients) -> None:
        await patch_type(clients[STAFF], "payslips", upload_mode="required")
        assert await self.flags(clients[CUSTOMER], CUSTOMER) == (True, False, False)
        assert await self.flags(clients[STAFF], STAFF) == (True, True, False)

    async def test_document_without_fields_has_none_to_edit(self, clients: Clients) -> None:
        await patch_type(clients[STAFF], "payslips", collects_fields=False)
        assert await self.flags(clients[CUSTOMER], CUSTOMER) == (True, False, False)

    async def test_customer_can_change_nothing_of_admin_only_document(
        self, clients: Clients
    ) -> None:
        await patch_type(clients[STAFF], "payslips", upload_mode="admin_only")
        assert await self.flags(clients[CUSTOMER], CUSTOMER) == (False, False, False)
