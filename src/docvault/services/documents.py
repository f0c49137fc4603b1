"""Use cases of documents: read, correct values, delete."""

from dataclasses import replace

from docvault.domain.actors import CustomerActor, Staff
from docvault.domain.audit import AuditAction, difference
from docvault.domain.customers import Customer
from docvault.domain.documents import Document, DocumentVersion, StoredFile
from docvault.domain.events import document_states
from docvault.domain.field_values import FieldValueChanges, merge_values
from docvault.domain.permissions import needs_file, require_customer_delete, require_write
from docvault.domain.scans import is_quarantined
from docvault.errors import DocumentQuarantined, DocumentTypeNotFound, FileNotFound, FileRequired
from docvault.repositories.jobs import JobName
from docvault.repositories.unit_of_work import UnitOfWork
from docvault.services import quotas
from docvault.services.customers import lock_customer
from docvault.services.saved_documents import SaveTarget, check_preconditions


async def authorize_write(uow: UnitOfWork, customer: Customer, key: str) -> Document:
    """Return the document to write to; raises if the actor may not, before any byte is read."""
    document = await get_document(uow, customer, key)
    require_write(uow.context.actor, document.type)
    return document


async def get_document(uow: UnitOfWork, customer: Customer, key: str) -> Document:
    """Return a document, with or without a file; raises `DocumentTypeNotFound`."""
    # Staff also see archived types that hold a file.
    with_archived = isinstance(uow.context.actor, Staff)
    document = await uow.documents.document(customer.id, key, with_archived=with_archived)
    if document is None:
        raise DocumentTypeNotFound
    return document


async def lock_document(uow: UnitOfWork, customer: Customer, key: str) -> Document:
    """Lock a document until the transaction ends, and return it."""
    await lock_customer(uow, customer.id)
    document = await get_document(uow, customer, key)
    await uow.documents.lock(customer.id, document.type.id)
    return await get_document(uow, customer, key)


async def update_field_values(
    uow: UnitOfWork, target: SaveTarget, changes: FieldValueChanges
) -> tuple[Document, bool]:
    """Correct field values, not the file; return the document and whether it changed (R-045).

    Raises `FileRequired` if a customer sets values of a required document without a file (A-11),
    and `QuotaExceeded`. If nothing changes, nothing is audited.
    """
    customer, actor = target.customer, uow.context.actor
    document = await lock_document(uow, customer, target.key)
    check_preconditions(target.preconditions, document, uow.context)
    require_write(actor, document.type)
    merged = merge_values(document.type, document.field_values, changes)
    if needs_file(actor, document):
        raise FileRequired(pointer="/file")
    if merged == document.field_values:
        return document, False
    await quotas.check_values(uow, customer.id)
    document_id = await uow.documents.lock(customer.id, document.type.id)
    await uow.documents.save_values(document_id, merged)
    await uow.audit(
        AuditAction.DOCUMENT_UPDATE,
        customer=customer,
        document_type=document.type.key,
        version=document.version.number if document.version else None,
        changes=difference({"field_values": document.field_values}, {"field_values": merged}),
        event_data=document_states(replace(document, field_values=merged)),
    )
    return await get_document(uow, customer, target.key), True


async def delete_document(uow: UnitOfWork, target: SaveTarget) -> None:
    """Delete every version, preview and value of a document; raises `FileNotFound`."""
    customer, actor = target.customer, uow.context.actor
    document = await lock_document(uow, customer, target.key)
    check_preconditions(target.preconditions, document, uow.context)
    if isinstance(actor, CustomerActor):
        portal = await uow.portal_settings.portal()
        require_customer_delete(document.type, customer_may_delete=portal.customer_may_delete)
    else:
        require_write(actor, document.type)
    if document.version is None:
        raise FileNotFound
    document_id = await uow.documents.lock(customer.id, document.type.id)
    await uow.documents.empty(document_id)
    blob_ids = await uow.documents.remove_versions(document_id)
    await uow.blobs.queue_deletion(blob_ids, wait=uow.context.settings.deleted_blob_retention)
    await uow.jobs.defer(JobName.DELETE_BLOBS)
    await uow.audit(
        AuditAction.DOCUMENT_DELETE,
        customer=customer,
        document_type=document.type.key,
        version=document.version.number,
        files=document.version.files,
        event_data=document_states(replace(document, version=None, field_values={})),
    )


async def find_version(
    uow: UnitOfWork, customer: Customer, document: Document, number: int | None
) -> DocumentVersion:
    """Return the version with this number, by default the current one; raises `FileNotFound`."""
    found = document.version
    if number is not None and (found is None or found.number != number):
        versions = await uow.documents.versions(customer.id, document.type.key, number=number)
        found = versions[0] if versions else None
    if found is None:
        raise FileNotFound
    return found


async def find_file(
    uow: UnitOfWork, customer: Customer, document: Document, *, version: int | None, file: int
) -> tuple[DocumentVersion, StoredFile]:
    """Return a stored file whose bytes may be read; by default of the current version.

    Raises `FileNotFound` or `DocumentQuarantined`.
    """
    found = await find_version(uow, customer, document, version)
    for stored in found.files:
        if stored.number == file:
            require_not_quarantined(stored)
            return found, stored
    raise FileNotFound


def require_not_quarantined(file: StoredFile) -> None:
    """Raise `DocumentQuarantined` for a file in quarantine."""
    if is_quarantined(file.scan):
        raise DocumentQuarantined


async def audit_download(
    uow: UnitOfWork,
    customer: Customer,
    document: Document,
    version: DocumentVersion,
    file: StoredFile,
) -> None:
    """Record that a stored file is sent; every download is audited."""
    await uow.audit(
        AuditAction.DOCUMENT_DOWNLOAD,
        customer=customer,
        document_type=document.type.key,
        version=version.number,
        files=[file],
    )


async def list_versions(
    uow: UnitOfWork, customer: Customer, document: Document, *, before: int | None, limit: int
) -> list[DocumentVersion]:
    """Return up to `limit` stored versions, newest first (A-02)."""
    return await uow.documents.versions(customer.id, document.type.key, before=before, limit=limit)


async def count_versions(uow: UnitOfWork, customer: Customer, document: Document) -> int:
    """Return how many versions are stored."""
    return await uow.documents.count_versions(customer.id, document.type.key)
