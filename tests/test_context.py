"""What audit events record about actor and customer."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

from tests.factories.contexts import context_of, system_context

from docvault.domain.actors import ApiKeyActor, CustomerActor, Staff
from docvault.domain.audit import AuditAction
from docvault.domain.customers import Customer, CustomerData
from docvault.domain.documents import StoredFile
from docvault.domain.scans import ScanState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FILE = StoredFile(
    uuid4(),
    1,
    "card.pdf",
    "application/pdf",
    9,
    "0" * 64,
    has_active_content=False,
    has_attachments=False,
    needs_password=False,
    pages=1,
    scan=ScanState.CLEAN,
    preview_failed=False,
    blob_key="k",
)


def customer(erasure_id: UUID | None = None) -> Customer:
    return Customer(uuid4(), "c-1", "anon-1", CustomerData(), erasure_id, None, NOW, NOW)


class TestAccess:
    """RequestContext.access."""

    def test_customer_reaches_only_their_own_rows(self) -> None:
        actor = CustomerActor(uuid4(), "c-1")
        assert context_of(actor).access.customer_id == actor.customer_id

    def test_staff_keys_and_system_reach_all_customers(self) -> None:
        contexts = [
            context_of(Staff("staff-1")),
            context_of(ApiKeyActor(uuid4(), frozenset())),
            system_context(),
        ]
        assert {context.access.customer_id for context in contexts} == {None}


class TestAuditEvent:
    """RequestContext.audit_event()."""

    def test_customer_actor_is_pseudonymised(self) -> None:
        event = context_of(CustomerActor(uuid4(), "c-1")).audit_event(AuditAction.GATE_READ)
        assert event.actor_id.startswith("anon-")

    def test_staff_actor_is_named(self) -> None:
        event = context_of(Staff("staff-1")).audit_event(AuditAction.GATE_READ)
        assert (event.actor_kind, event.actor_id, event.result) == ("admin", "staff-1", "ok")

    def test_event_about_a_customer_has_id_and_files(self) -> None:
        event = context_of(Staff("staff-1")).audit_event(
            AuditAction.DOCUMENT_DOWNLOAD, customer=customer(), files=[FILE]
        )
        assert event.customer == "c-1"
        assert event.files is not None
        assert event.files[0]["filename"] == "card.pdf"

    def test_customer_being_erased_is_pseudonymised(self) -> None:
        event = context_of(Staff("staff-1")).audit_event(
            AuditAction.DOCUMENT_DOWNLOAD, customer=customer(erasure_id=uuid4()), files=[FILE]
        )
        assert (event.customer, event.customer_id, event.files) == (None, None, None)
        assert (event.customer_pseudonym or "").startswith("anon-")
