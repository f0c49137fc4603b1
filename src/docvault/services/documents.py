"""Use cases of documents: look, correct values, delete."""

from docvault.auth.principals import CustomerCaller, Staff
from docvault.errors import (
    DocumentQuarantined,
    DocumentTypeUnknown,
    FileRequired,
    NoFile,
)
from docvault.repositories.jobs import JobName
from docvault.rules.customers import CustomerFacts
from docvault.rules.field_values import FieldValueChanges, merge_values
from docvault.rules.permissions import require_customer_delete, require_write
from docvault.rules.scans import is_quarantined
from docvault.rules.slots import FileFacts, Slot, UploadMode, VersionFacts
from docvault.schemas.audit_events import AuditAction
from docvault.services.customers import lock_customer
from docvault.services.work import Work


async def authorise_write(work: Work, customer: CustomerFacts, key: str) -> Slot:
    """Return the slot to write to; raises when the caller may not, before any byte is read."""
    slot = await get_slot(work, customer, key)
    require_write(work.caller, slot.type)
    return slot


async def get_slot(work: Work, customer: CustomerFacts, key: str) -> Slot:
    """Return one slot, filled or not; raises `DocumentTypeUnknown`."""
    slot = await work.unit.documents.slot(customer.id, key, with_archived=sees_archived(work))
    if slot is None:
        raise DocumentTypeUnknown
    return slot


def sees_archived(work: Work) -> bool:
    """Return whether the caller sees archived types that hold a file."""
    return isinstance(work.caller, Staff)


async def lock_slot(work: Work, customer: CustomerFacts, key: str) -> Slot:
    """Return a slot that nobody else changes until the transaction ends."""
    await lock_customer(work.unit, customer.id)
    slot = await get_slot(work, customer, key)
    await work.unit.documents.lock(customer.id, slot.type.id)
    return await get_slot(work, customer, key)


async def update_field_values(
    work: Work, customer: CustomerFacts, slot: Slot, changes: FieldValueChanges
) -> Slot:
    """Correct field values without touching the file (R-045); the slot is locked.

    Raises `FileRequired` for a customer's values to an empty required slot (A-11).
    """
    require_write(work.caller, slot.type)
    key = slot.type.key
    merged = merge_values(slot.type, slot.field_values, changes)
    required = slot.type.upload_mode is UploadMode.REQUIRED
    if slot.version is None and required and isinstance(work.caller, CustomerCaller):
        raise FileRequired(pointer="/file")
    if merged == slot.field_values:
        return slot
    document = await work.unit.documents.lock(customer.id, slot.type.id)
    await work.unit.documents.save_values(document.id, merged)
    await work.record(
        AuditAction.DOCUMENT_UPDATE,
        customer=customer,
        document_type=key,
        version=slot.version.number if slot.version else None,
        changes={"field_values": {"old": dict(slot.field_values), "new": merged}},
    )
    return await get_slot(work, customer, key)


async def delete_document(work: Work, customer: CustomerFacts, slot: Slot) -> None:
    """Empty a locked slot: every version, preview and value goes; raises `NoFile`."""
    if isinstance(work.caller, CustomerCaller):
        await _require_customer_delete(work, slot)
    else:
        require_write(work.caller, slot.type)
    if slot.version is None:
        raise NoFile
    unit = work.unit
    document = await unit.documents.lock(customer.id, slot.type.id)
    await unit.documents.empty(document.id)
    blob_ids = await unit.documents.remove_versions(document.id)
    await unit.blobs.queue_deletion(blob_ids, wait=work.settings.backup_window)
    await unit.jobs.defer(JobName.DELETE_BLOBS)
    await work.record(
        AuditAction.DOCUMENT_DELETE,
        customer=customer,
        document_type=slot.type.key,
        version=slot.version.number,
    )


async def _require_customer_delete(work: Work, slot: Slot) -> None:
    portal = await work.unit.settings.portal()
    require_customer_delete(slot.type, customer_may_delete=portal.customer_may_delete)


async def find_version(
    work: Work, customer: CustomerFacts, slot: Slot, number: int | None
) -> VersionFacts:
    """Return the current version of a slot or the one with this number; raises `NoFile`."""
    found = slot.version
    if number is not None and (found is None or found.number != number):
        versions = await work.unit.documents.versions(customer.id, slot.type.key, number=number)
        found = versions[0] if versions else None
    if found is None:
        raise NoFile
    return found


async def find_file(
    work: Work, customer: CustomerFacts, slot: Slot, *, version: int | None, file: int
) -> tuple[VersionFacts, FileFacts]:
    """Return a stored file of the current or a given version, whose bytes may be given out.

    Raises `NoFile` or `DocumentQuarantined`.
    """
    found = await find_version(work, customer, slot, version)
    for facts in found.files:
        if facts.number == file:
            require_not_quarantined(facts)
            return found, facts
    raise NoFile


def require_not_quarantined(file: FileFacts) -> None:
    """Raise `DocumentQuarantined` when the bytes of a file are given to nobody."""
    if is_quarantined(file.scan):
        raise DocumentQuarantined


async def list_versions(
    work: Work, customer: CustomerFacts, slot: Slot, *, before: int | None, limit: int
) -> list[VersionFacts]:
    """Return up to `limit` stored versions, newest first (A-02)."""
    return await work.unit.documents.versions(
        customer.id, slot.type.key, before=before, limit=limit
    )


async def count_versions(work: Work, customer: CustomerFacts, slot: Slot) -> int:
    """Return how many versions are stored."""
    return await work.unit.documents.count_versions(customer.id, slot.type.key)
