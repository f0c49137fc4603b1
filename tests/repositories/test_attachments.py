"""The statement that attaches an upload: all or nothing."""

import asyncio
import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import uuid_utils.compat
from sqlalchemy import text
from tests.factories.contexts import customer_context
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import CustomerClients

from docvault.context import RequestContext
from docvault.db.tables import new_id
from docvault.domain.actors import CustomerActor
from docvault.domain.audit import AuditAction
from docvault.domain.customers import Customer
from docvault.domain.documents import Document
from docvault.domain.idempotency import StoredResponse
from docvault.domain.scans import ScanState
from docvault.repositories.attachments import KeptFile, NewFile, NewVersion
from docvault.repositories.idempotency_keys import Completion, KeyHolder
from docvault.services.blobs import new_reservation
from docvault.services.resources import Resources

PATH = "/v1/customer/documents/identity-card"
KEY_ID = b"k" * 32


@pytest.fixture
async def customer(admin: httpx.AsyncClient, customer_of: CustomerClients) -> httpx.AsyncClient:
    """A customer with a missing document."""
    fields = [{"label": "Number"}]
    await make_type(admin, "Identity card", collects_fields=True, fields=fields)
    await make_customer(admin, "c-1")
    return customer_of("c-1")


@dataclasses.dataclass
class Attempt:
    """An upload whose bytes are reserved and stored, ready to be attached."""

    resources: Resources
    customer: Customer
    version: NewVersion
    completion: Completion

    @property
    def context(self) -> RequestContext:
        caller = CustomerActor(self.customer.id, self.customer.external_id)
        resources = self.resources
        return RequestContext(
            caller, uuid_utils.compat.uuid7(), resources.keyring, resources.settings
        )

    async def attach(self, context: RequestContext | None = None) -> bool:
        event = self.context.audit_event(
            AuditAction.DOCUMENT_UPLOAD,
            customer=self.customer,
            document_type="identity-card",
            version=self.version.number,
        )
        async with self.resources.autocommit(context or self.resources.system_context()) as uow:
            return await uow.attachments.attach(
                self.version, event, completion=self.completion, has_previews=True
            )

    async def run(self, statement: str) -> list[tuple[Any, ...]]:
        async with self.resources.database.transaction() as session:
            found: Any = await session.execute(text(statement))
            return [tuple(row) for row in found] if found.returns_rows else []

    async def everything(self) -> dict[str, Any]:
        """Return the rows that the statement could have written."""
        tables = {
            "documents": "last_version, current_version_id, field_values",
            "document_versions": "number, uploaded_at, uploaded_by_kind, field_values,"
            " previews_due_at IS NOT NULL",
            "document_files": "number, filename, media_type, sha256",
            "blobs": "state, expires_at IS NULL",
            "audit_events": "action, document_type, version",
            "audit_details": "customer, changes",
            "idempotency_keys": "status, headers, body",
            "procrastinate_jobs": "task_name, args",
        }
        return {
            name: await self.run(f"SELECT {columns} FROM {name} ORDER BY 1, 2")
            for name, columns in tables.items()
        }


@pytest.fixture
async def attempt(customer: httpx.AsyncClient, resources: Resources) -> Attempt:
    """An upload to the customer's missing document."""
    del customer
    return await prepare(resources)


async def prepare(resources: Resources) -> Attempt:
    async with resources.transaction(resources.system_context()) as uow:
        facts = await uow.customers.find("c-1")
        assert facts is not None
        document = await uow.documents.document(facts.id, "identity-card")
        assert document is not None
        reservation = new_reservation(facts.id, 3, "0" * 64)
        await uow.blobs.reserve([reservation])
        token = await uow.idempotency_keys.claim(
            KEY_ID, facts.id, KeyHolder(b"caller", max_keys=10)
        )
    assert token is not None
    file = NewFile(
        reservation.id,
        1,
        "a.pdf",
        "application/pdf",
        3,
        "0" * 64,
        has_active_content=False,
        has_attachments=True,
        needs_password=None,
        pages=1,
        scan=ScanState.CLEAN,
        scanned_with=None,
    )
    version = NewVersion(
        id=new_id(),
        document=document,
        customer_id=facts.id,
        uploaded_at=datetime(2024, 5, 1, tzinfo=UTC),
        uploaded_by_kind="customer",
        uploaded_by_id="c-1",
        field_values={"number": "7"},
        files=[file],
    )
    response = StoredResponse(b"f" * 32, 201, {"etag": '"x"'}, b"{}")
    return Attempt(resources, facts, version, Completion(KEY_ID, token, response, facts.id))


def changed(document: Document, **members: Any) -> Document:
    return dataclasses.replace(document, **members)


async def test_attach_writes_all_rows_of_an_upload(attempt: Attempt) -> None:
    await attempt.run("DELETE FROM audit_events")
    assert await attempt.attach()
    version = attempt.version
    assert await attempt.everything() == {
        "documents": [(1, version.id, {"number": "7"})],
        "document_versions": [(1, version.uploaded_at, "customer", {"number": "7"}, True)],
        "document_files": [(1, "a.pdf", "application/pdf", "0" * 64)],
        "blobs": [("stored", True)],
        "audit_events": [("document.upload", "identity-card", 1)],
        "audit_details": [("c-1", None)],
        "idempotency_keys": [(201, {"etag": '"x"'}, b"{}")],
        "procrastinate_jobs": [],
    }


async def test_attached_document_reads_back(attempt: Attempt, customer: httpx.AsyncClient) -> None:
    assert await attempt.attach()
    read = (await customer.get(PATH)).json()
    assert (read["version"], read["uploaded_at"]) == (1, "2024-05-01T00:00:00Z")
    assert (read["field_values"], read["files"][0]["filename"]) == ({"number": "7"}, "a.pdf")


OBSTACLES = {
    "another upload came first": "UPDATE documents SET last_version = 2, current_version_id = NULL",
    "the values were changed": 'UPDATE documents SET field_values = \'{"number": "8"}\'',
    "the document was deleted": "UPDATE documents SET current_version_id = NULL",
    "the type was changed": "UPDATE document_types SET updated_at = clock_timestamp()",
    "the blob has expired": "UPDATE blobs SET expires_at = now() WHERE state = 'pending'",
    "the reaper has the blob": "UPDATE blobs SET state = 'delete_queued' WHERE state = 'pending'",
    "the claim has another owner": "UPDATE idempotency_keys SET token = gen_random_uuid()",
    "the claim was deleted": "DELETE FROM idempotency_keys",
}


@pytest.mark.parametrize("obstacle", OBSTACLES.values(), ids=OBSTACLES.keys())
async def test_obstacle_changes_nothing(
    customer: httpx.AsyncClient, resources: Resources, obstacle: str
) -> None:
    assert (await customer.put(PATH, **upload_of())).status_code == 201
    attempt = await prepare(resources)
    await attempt.run(obstacle)
    before = await attempt.everything()
    assert not await attempt.attach()
    assert await attempt.everything() == before


async def test_blob_being_reaped_is_not_attached(attempt: Attempt) -> None:
    before = await attempt.everything()
    async with attempt.resources.database.transaction() as session:
        await session.execute(text("UPDATE blobs SET state = 'delete_queued'"))
        attaching = asyncio.create_task(attempt.attach())
        await waits_for_a_lock(attempt)
    assert not await attaching
    after = await attempt.everything()
    assert after.pop("blobs") == [("delete_queued", False)]
    assert before.pop("blobs") == [("pending", False)]
    assert after == before


async def waits_for_a_lock(attempt: Attempt) -> None:
    """Wait until a statement of the test's database waits for another transaction."""
    waiting = (
        "SELECT FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(20):
        while not await attempt.run(waiting):  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)


async def test_unobstructed_replacement_is_attached(
    customer: httpx.AsyncClient, resources: Resources
) -> None:
    assert (await customer.put(PATH, **upload_of())).status_code == 201
    assert await (await prepare(resources)).attach()
    assert (await customer.get(PATH)).json()["version"] == 2


@pytest.mark.req("R-106")
async def test_nothing_is_attached_during_erasure(
    attempt: Attempt, admin: httpx.AsyncClient
) -> None:
    assert (await admin.delete("/v1/admin/customers/c-1")).status_code == 202
    before = await attempt.everything()
    assert not await attempt.attach()
    assert await attempt.everything() == before


async def test_access_to_other_customer_attaches_nothing(attempt: Attempt) -> None:
    before = await attempt.everything()
    assert not await attempt.attach(customer_context(new_id()))
    assert await attempt.everything() == before


@pytest.mark.parametrize(
    "claim",
    [
        lambda document: changed(document, last_version=3),
        lambda document: changed(document, field_values={"number": "1"}),
    ],
    ids=["its number", "its values"],
)
async def test_attach_fails_for_unexpected_document(
    customer: httpx.AsyncClient, resources: Resources, claim: Callable[[Document], Document]
) -> None:
    assert (await customer.patch(PATH, json={"field_values": {"number": "5"}})).status_code == 200
    attempt = await prepare(resources)
    attempt.version = dataclasses.replace(attempt.version, document=claim(attempt.version.document))
    assert not await attempt.attach()


class TestKeepFiles:
    """AttachmentRepository.keep_files()."""

    @pytest.fixture
    async def attached(self, customer: httpx.AsyncClient, resources: Resources) -> Attempt:
        """A second version that is attached and keeps the file of the first one."""
        assert (await customer.put(PATH, **upload_of())).status_code == 201
        attempt = await prepare(resources)
        version, replaced = attempt.version, attempt.version.document.version
        assert replaced is not None
        attempt.version = dataclasses.replace(
            version,
            files=[dataclasses.replace(version.files[0], number=2)],
            kept=[KeptFile(replaced.files[0])],
        )
        assert await attempt.attach()
        return attempt

    async def keep(self, attempt: Attempt, context: RequestContext) -> None:
        async with attempt.resources.transaction(context) as uow:
            await uow.attachments.keep_files(attempt.version)

    @pytest.mark.req("B-190")
    async def test_kept_file_has_facts_and_blob_of_its_original(self, attached: Attempt) -> None:
        await attached.run("UPDATE document_files SET scan = 'infected', failed_pages = '{3}'")
        await self.keep(attached, attached.resources.system_context())
        columns = "blob_id, filename, sha256, pages, scan, failed_pages"
        files = (
            f"SELECT {columns} FROM document_files JOIN document_versions v ON v.id = version_id"
        )
        original = await attached.run(f"{files} WHERE v.number = 1")
        assert (
            await attached.run(f"{files} WHERE v.number = 2 AND document_files.number = 1")
            == original
        )

    async def test_files_of_another_customer_are_not_kept(self, attached: Attempt) -> None:
        before = await attached.everything()
        await self.keep(attached, customer_context(new_id()))
        assert await attached.everything() == before
