"""The first statement of an upload does what look-up, count and reservation do one by one."""

import dataclasses
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text
from tests.factories.contexts import customer_context
from tests.factories.setups import make_customer, make_type, upload_of

from docvault.db.tables import new_id
from docvault.domain.actors import Actor, CustomerActor, Staff
from docvault.domain.customer_documents import CustomerDocuments, DocumentSelection
from docvault.domain.permissions import may_write
from docvault.domain.quotas import StorageUsage
from docvault.domain.upload_openings import Uploader, UploadOpening
from docvault.repositories.unit_of_work import UnitOfWork
from docvault.services.blobs import new_reservation
from docvault.services.resources import Resources

KEY = "contract"
COUNTER = b"c" * 32
MAX_UPLOADS = 3
DECLARED, DEFAULT, MOST = 1000, 5000, 9000
TOKEN_ISSUED_AT = datetime(2024, 5, 1, tzinfo=UTC)
QUOTA = StorageUsage(files=2, size_bytes=2500, value_bytes=10_000)
CUSTOMER = Uploader("customer", "c-1", writes_admin_only=False, token_issued_at=TOKEN_ISSUED_AT)
STAFF = Uploader("admin", "staff", writes_admin_only=True)

STORED = (
    "INSERT INTO blobs (id, customer_id, key, state, size_bytes, sha256)"
    " SELECT gen_random_uuid(), id, gen_random_uuid()::text, 'stored', {size}, '' FROM customers"
)
COUNTED = (
    "INSERT INTO rate_limits (id, number, ends_at)"
    f" VALUES ('\\x{COUNTER.hex()}', {{number}}, now() + interval '{{seconds}} seconds')"
)
SITUATIONS = {
    "nothing special": "SELECT 1",
    "unknown customer": "UPDATE customers SET external_id = 'c-2'",
    "unknown type": "UPDATE document_types SET key = 'other'",
    "archived type": "UPDATE document_types SET archived_at = now()",
    "admin-only type": "UPDATE document_types SET upload_mode = 'admin_only'",
    "small type": "UPDATE document_types SET max_size_bytes = 10",
    "large type": "UPDATE document_types SET max_size_bytes = 100000",
    "portal off": "UPDATE portal_settings SET section_enabled = false",
    "token from before an erasure": "UPDATE customers SET tokens_valid_from = '2024-05-02Z'",
    "token from after an erasure": "UPDATE customers SET tokens_valid_from = '2024-04-30Z'",
    "last upload of the minute": COUNTED.format(number=MAX_UPLOADS - 1, seconds=60),
    "too many uploads": COUNTED.format(number=MAX_UPLOADS, seconds=60),
    "window that has ended": COUNTED.format(number=MAX_UPLOADS, seconds=-1),
    "last bytes of the quota": STORED.format(size=QUOTA.size_bytes - DECLARED),
    "no bytes left": STORED.format(size=QUOTA.size_bytes - DECLARED + 1),
    "no file left": f"{STORED.format(size=1)}, generate_series(1, 2)",
}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What was found, counted and reserved, with the rows."""

    found: CustomerDocuments | None
    counted: int | None
    is_reserved: bool
    rows: list[Any]


@pytest.fixture
async def _uploaded(admin: httpx.AsyncClient) -> None:
    await make_type(admin, "Contract", upload_mode="optional")
    await make_customer(admin, "c-1")


async def run(resources: Resources, statement: str) -> list[tuple[Any, ...]]:
    async with resources.database.transaction() as session:
        result: Any = await session.execute(text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []


async def rows(resources: Resources) -> list[Any]:
    """Return the rows that both ways write."""
    blobs = "SELECT customer_id, kind, state, size_bytes, expires_at > now() FROM blobs ORDER BY 4"
    counts = "SELECT number, ends_at > now() FROM rate_limits"
    return [await run(resources, blobs), await run(resources, counts)]


def opening(uploader: Uploader) -> UploadOpening:
    counter_id = COUNTER if uploader.is_customer else None
    return UploadOpening(uploader, DECLARED, DEFAULT, MOST, counter_id, MAX_UPLOADS, QUOTA)


async def open_at_once(uow: UnitOfWork, uploader: Uploader) -> tuple[Any, int | None, bool]:
    choice = DocumentSelection("one", KEY, not uploader.is_customer, opening(uploader))
    found = await uow.customer_documents.find("c-1", choice)
    if found is None:
        return None, None, False
    assert found.upload is not None
    counted, blob = found.upload.counted, found.upload.blob
    number = counted.number if counted else None
    return dataclasses.replace(found, upload=None), number, blob is not None


async def open_step_by_step(uow: UnitOfWork, uploader: Uploader) -> tuple[Any, int | None, bool]:
    choice = DocumentSelection("one", KEY, not uploader.is_customer)
    found = await uow.customer_documents.find("c-1", choice)
    if found is None or not found.documents or not may_upload(found, uploader):
        return found, None, False
    number, limit = None, found.documents[0].type.max_size_bytes or DEFAULT
    if uploader.is_customer:
        (counted,) = await uow.rate_limits.count([COUNTER])
        number = counted.number
        if number > MAX_UPLOADS:
            return found, number, False
    blob = new_reservation(found.customer.id, min(DECLARED, limit, MOST), "")
    return found, number, await uow.blobs.reserve([blob], quota=QUOTA) is None


def may_upload(found: CustomerDocuments, uploader: Uploader) -> bool:
    customer, actor = found.customer, actor_of(uploader, found.customer.id)
    if uploader.is_customer and not found.switches.section_enabled:
        return False
    valid_from = customer.tokens_valid_from
    if uploader.token_issued_at and valid_from and uploader.token_issued_at < valid_from:
        return False
    return customer.erasure_id is None and may_write(actor, found.documents[0].type)


def actor_of(uploader: Uploader, customer_id: UUID) -> Actor:
    return CustomerActor(customer_id, "c-1") if uploader.is_customer else Staff("staff")


async def outcome(resources: Resources, open_upload: Any, uploader: Uploader) -> Outcome:
    async with resources.autocommit(resources.system_context()) as uow:
        found, number, is_reserved = await open_upload(uow, uploader)
    return Outcome(found, number, is_reserved, await rows(resources))


@pytest.mark.req("B-071")
@pytest.mark.usefixtures("_uploaded")
@pytest.mark.parametrize("uploader", [CUSTOMER, STAFF], ids=["customer", "staff"])
@pytest.mark.parametrize("situation", SITUATIONS.values(), ids=SITUATIONS.keys())
async def test_one_statement_does_what_the_steps_do(
    resources: Resources, situation: str, uploader: Uploader
) -> None:
    outcomes = []
    await run(resources, situation)
    before = await run(resources, "SELECT number, ends_at FROM rate_limits")
    stored = "DELETE FROM blobs WHERE state = 'pending'"
    for open_upload in (open_at_once, open_step_by_step):
        outcomes.append(await outcome(resources, open_upload, uploader))
        await run(resources, stored)
        await run(resources, "DELETE FROM rate_limits")
        if before:
            await run(resources, situation)
    assert outcomes[0] == outcomes[1]


@pytest.mark.usefixtures("_uploaded")
async def test_customer_being_erased_is_found_only(
    admin: httpx.AsyncClient, resources: Resources
) -> None:
    await run(resources, "DELETE FROM blobs")
    assert (await admin.delete("/v1/admin/customers/c-1")).status_code == 202
    found = await outcome(resources, open_at_once, CUSTOMER)
    assert (found.counted, found.is_reserved, found.rows) == (None, False, [[], []])


@pytest.mark.usefixtures("_uploaded")
async def test_limits_may_be_of_any_size(resources: Resources) -> None:
    most = 10**30
    endless = dataclasses.replace(opening(CUSTOMER), max_uploads=most, max_file_bytes=10**15)
    async with resources.autocommit(resources.system_context()) as uow:
        choice = DocumentSelection("one", KEY, upload=endless)
        found = await uow.customer_documents.find("c-1", choice)
    assert found is not None
    assert found.upload is not None
    assert found.upload.blob is not None


@pytest.mark.usefixtures("_uploaded")
async def test_without_quota_nothing_is_reserved(resources: Resources) -> None:
    without = dataclasses.replace(opening(CUSTOMER), quota=None)
    async with resources.autocommit(resources.system_context()) as uow:
        choice = DocumentSelection("one", KEY, upload=without)
        found = await uow.customer_documents.find("c-1", choice)
    assert found is not None
    assert found.upload is not None
    assert (found.upload.counted is None, found.upload.blob) == (False, None)
    assert (await rows(resources))[0] == []


@pytest.mark.usefixtures("_uploaded")
async def test_access_to_other_customer_finds_and_writes_nothing(resources: Resources) -> None:
    async with resources.autocommit(customer_context(new_id())) as uow:
        choice = DocumentSelection("one", KEY, upload=opening(CUSTOMER))
        assert await uow.customer_documents.find("c-1", choice) is None
    assert await rows(resources) == [[], []]


@pytest.mark.usefixtures("_uploaded")
async def test_released_blob_is_gone_and_a_stored_one_is_not(
    admin: httpx.AsyncClient, resources: Resources
) -> None:
    await admin.put(f"/v1/admin/customers/c-1/documents/{KEY}", **upload_of())
    ((stored,),) = await run(resources, "SELECT id FROM blobs")
    async with resources.autocommit(resources.system_context()) as uow:
        choice = DocumentSelection("one", KEY, upload=opening(STAFF))
        found = await uow.customer_documents.find("c-1", choice)
        assert found is not None
        assert found.upload is not None
        assert found.upload.blob is not None
        for blob_id in (found.upload.blob.id, stored):
            await uow.blobs.release(blob_id)
    assert await run(resources, "SELECT id FROM blobs") == [(stored,)]
