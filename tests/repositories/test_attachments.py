"""The statement that attaches an upload: everything, or nothing at all."""

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import uuid_utils.compat
from sqlalchemy import text
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import CustomerClients

from docvault.auth.principals import Access, CustomerCaller
from docvault.models import new_id
from docvault.repositories.attachments import NewFile, NewVersion
from docvault.repositories.idempotency_keys import Completion
from docvault.rules.customers import CustomerFacts
from docvault.rules.scans import ScanState
from docvault.rules.slots import Slot
from docvault.rules.stored_answers import StoredAnswer
from docvault.schemas.audit_events import AuditAction
from docvault.services.blobs import new_intent
from docvault.services.resources import Resources
from docvault.services.work import Asker

PATH = "/v1/customer/documents/identity-card"
KEY_ID = b"k" * 32


@pytest.fixture
async def customer(admin: httpx.AsyncClient, customer_of: CustomerClients) -> httpx.AsyncClient:
    """A customer with an empty slot."""
    fields = [{"label": "Number"}]
    await make_type(admin, "Identity card", collects_fields=True, fields=fields)
    await make_customer(admin, "c-1")
    return customer_of("c-1")


@dataclasses.dataclass
class Attempt:
    """An upload whose bytes are stored and announced, about to be attached."""

    resources: Resources
    customer: CustomerFacts
    version: NewVersion
    completion: Completion

    @property
    def asker(self) -> Asker:
        caller = CustomerCaller(self.customer.id, self.customer.external_id)
        resources = self.resources
        return Asker(caller, uuid_utils.compat.uuid7(), resources.keyring, resources.settings)

    async def attach(self, access: Access | None = None) -> bool:
        event = self.asker.event(
            AuditAction.DOCUMENT_UPLOAD,
            customer=self.customer,
            document_type="identity-card",
            version=self.version.number,
        )
        async with self.resources.statements(access or Access.everyone()) as unit:
            return await unit.attachments.attach(
                self.version, event, completion=self.completion, has_previews=True
            )

    async def run(self, statement: str) -> list[tuple[Any, ...]]:
        async with self.resources.database.transaction() as session:
            found = await session.execute(text(statement))
            return [tuple(row) for row in found] if found.returns_rows else []

    async def everything(self) -> dict[str, Any]:
        """Return what the statement could have written to."""
        tables = {
            "documents": "last_version, current_version_id, field_values",
            "document_versions": "number, uploaded_at, uploaded_by_kind, field_values",
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
    """An upload to the empty slot of the customer."""
    del customer
    return await prepare(resources)


async def prepare(resources: Resources) -> Attempt:
    async with resources.unit(Access.everyone()) as unit:
        facts = await unit.customers.find("c-1")
        assert facts is not None
        slot = await unit.documents.slot(facts.id, "identity-card")
        assert slot is not None
        intent = new_intent(facts.id, 3, "0" * 64)
        await unit.blobs.announce([intent])
        token = await unit.idempotency_keys.claim(KEY_ID, facts.id)
    assert token is not None
    file = NewFile(
        intent.id, 1, "a.pdf", "application/pdf", 3, "0" * 64, False, ScanState.CLEAN, None
    )
    version = NewVersion(
        id=new_id(),
        slot=slot,
        customer_id=facts.id,
        uploaded_at=datetime(2024, 5, 1, tzinfo=UTC),
        uploaded_by_kind="customer",
        uploaded_by_id="c-1",
        field_values={"number": "7"},
        files=[file],
    )
    answer = StoredAnswer(b"f" * 32, 201, {"etag": '"x"'}, b"{}")
    return Attempt(resources, facts, version, Completion(KEY_ID, token, answer, facts.id))


def changed(slot: Slot, **members: Any) -> Slot:
    return dataclasses.replace(slot, **members)


async def test_it_writes_everything_an_upload_leaves(attempt: Attempt) -> None:
    await attempt.run("DELETE FROM audit_events")
    assert await attempt.attach()
    version = attempt.version
    assert await attempt.everything() == {
        "documents": [(1, version.id, {"number": "7"})],
        "document_versions": [(1, version.uploaded_at, "customer", {"number": "7"})],
        "document_files": [(1, "a.pdf", "application/pdf", "0" * 64)],
        "blobs": [("stored", True)],
        "audit_events": [("document.upload", "identity-card", 1)],
        "audit_details": [("c-1", None)],
        "idempotency_keys": [(201, {"etag": '"x"'}, b"{}")],
        "procrastinate_jobs": [("render_previews", {"version_id": str(version.id)})],
    }


async def test_a_slot_reads_back_as_it_was_attached(
    attempt: Attempt, customer: httpx.AsyncClient
) -> None:
    assert await attempt.attach()
    read = (await customer.get(PATH)).json()
    assert (read["version"], read["uploaded_at"]) == (1, "2024-05-01T00:00:00Z")
    assert (read["field_values"], read["files"][0]["filename"]) == ({"number": "7"}, "a.pdf")


OBSTACLES = {
    "another upload was faster": "UPDATE documents SET last_version = 2, current_version_id = NULL",
    "the values were changed": 'UPDATE documents SET field_values = \'{"number": "8"}\'',
    "the slot was emptied": "UPDATE documents SET current_version_id = NULL",
    "the type was changed": "UPDATE document_types SET updated_at = clock_timestamp()",
    "the blob has expired": "UPDATE blobs SET expires_at = now() WHERE state = 'pending'",
    "the reaper has the blob": "UPDATE blobs SET state = 'delete_queued' WHERE state = 'pending'",
    "the claim was taken over": "UPDATE idempotency_keys SET token = gen_random_uuid()",
    "the claim is gone": "DELETE FROM idempotency_keys",
}


@pytest.mark.parametrize("obstacle", OBSTACLES.values(), ids=OBSTACLES.keys())
async def test_an_obstacle_leaves_everything_as_it_was(
    customer: httpx.AsyncClient, resources: Resources, obstacle: str
) -> None:
    assert (await customer.put(PATH, **upload_of())).status_code == 201
    attempt = await prepare(resources)
    await attempt.run(obstacle)
    before = await attempt.everything()
    assert not await attempt.attach()
    assert await attempt.everything() == before


async def test_a_replacement_without_an_obstacle_is_attached(
    customer: httpx.AsyncClient, resources: Resources
) -> None:
    assert (await customer.put(PATH, **upload_of())).status_code == 201
    assert await (await prepare(resources)).attach()
    assert (await customer.get(PATH)).json()["version"] == 2


@pytest.mark.req("R-106")
async def test_nothing_is_attached_to_a_customer_who_is_being_erased(
    attempt: Attempt, admin: httpx.AsyncClient
) -> None:
    assert (await admin.delete("/v1/admin/customers/c-1")).status_code == 202
    before = await attempt.everything()
    assert not await attempt.attach()
    assert await attempt.everything() == before


async def test_an_access_to_another_customer_reaches_nothing(attempt: Attempt) -> None:
    before = await attempt.everything()
    assert not await attempt.attach(Access(new_id()))
    assert await attempt.everything() == before


@pytest.mark.parametrize(
    "claim",
    [
        lambda slot: changed(slot, last_version=3),
        lambda slot: changed(slot, field_values={"number": "1"}),
    ],
    ids=["its number", "its values"],
)
async def test_an_empty_slot_has_to_be_what_the_caller_says(
    customer: httpx.AsyncClient, resources: Resources, claim: Callable[[Slot], Slot]
) -> None:
    assert (await customer.patch(PATH, json={"field_values": {"number": "5"}})).status_code == 200
    attempt = await prepare(resources)
    attempt.version = dataclasses.replace(attempt.version, slot=claim(attempt.version.slot))
    assert not await attempt.attach()
