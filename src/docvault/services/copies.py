"""Copying stored files of a customer into another slot of the same customer (R-064, A-18)."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from docvault.errors import NoFile
from docvault.repositories.attachments import NewFile
from docvault.rules.customers import CustomerFacts
from docvault.rules.scans import ScanVerdict
from docvault.rules.slots import FileFacts
from docvault.schemas.audit_events import AuditAction
from docvault.schemas.documents import CopySource
from docvault.services.accepted_files import check_accepted
from docvault.services.attachments import (
    Attachment,
    Precondition,
    Respond,
    attach_files,
)
from docvault.services.blobs import LocalBytes, store_bytes
from docvault.services.documents import (
    authorise_write,
    find_version,
    get_slot,
    require_not_quarantined,
)
from docvault.services.local_files import fetched_file
from docvault.services.resources import Resources
from docvault.services.scans import scan_spooled
from docvault.services.work import Asker

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Copying:
    """From where to where, within one customer."""

    customer: CustomerFacts
    key: str
    source: CopySource


async def copy_files(
    resources: Resources,
    asker: Asker,
    copying: Copying,
    *,
    precondition: Precondition,
    respond: Respond[_Answer],
) -> _Answer:
    """Fill a slot with copies of its own of stored bytes; see `uploads.store_submission`."""
    async with resources.statements(asker.access) as unit:
        work = asker.work(unit)
        slot = await authorise_write(work, copying.customer, copying.key)
        source = copying.source
        source_slot = await get_slot(work, copying.customer, source.key)
        version = await find_version(work, copying.customer, source_slot, source.version)
    files = _chosen(version.files, source.file)
    for file in files:
        require_not_quarantined(file)
    check_accepted(slot.type, files, resources.settings, pointer="/from")
    attachment = Attachment(
        copying.customer,
        copying.key,
        await _copied(resources, copying.customer.id, files),
        field_values={},
        precondition=precondition,
        action=AuditAction.DOCUMENT_COPY,
    )
    return await attach_files(resources, asker, attachment, respond, slot)


def _chosen(files: Sequence[FileFacts], number: int | None) -> list[FileFacts]:
    chosen = [file for file in files if number in (None, file.number)]
    if not chosen:
        raise NoFile
    return chosen


async def _copied(
    resources: Resources, customer_id: UUID, files: Sequence[FileFacts]
) -> list[NewFile]:
    """Store the bytes once more; they are scanned as if they had been sent."""
    async with AsyncExitStack() as stack:
        local = [await stack.enter_async_context(fetched_file(resources, file)) for file in files]
        scans = [await scan_spooled(resources, one, pointer="/from") for one in local]
        blob_ids = await store_bytes(
            resources, customer_id, [LocalBytes(o.path, o.size_bytes, o.sha256) for o in local]
        )
    return _new_files(blob_ids, files, scans)


def _new_files(
    blob_ids: Sequence[UUID], files: Sequence[FileFacts], scans: Sequence[ScanVerdict]
) -> list[NewFile]:
    return [
        NewFile(
            blob_id=blob_id,
            number=number,
            filename=file.filename,
            media_type=file.media_type,
            size_bytes=file.size_bytes,
            sha256=file.sha256,
            has_active_content=file.has_active_content,
            scan=scan.state,
            scanned_with=scan.scanned_with,
        )
        for number, (blob_id, file, scan) in enumerate(
            zip(blob_ids, files, scans, strict=True), start=1
        )
    ]
