"""Copying stored files into another document of the same customer (R-064, A-18)."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from uuid import UUID

from docvault.context import RequestContext
from docvault.domain.accepted_files import check_accepted
from docvault.domain.audit import AuditAction
from docvault.domain.documents import StoredFile
from docvault.domain.scans import ScanVerdict
from docvault.errors import FileNotFound
from docvault.repositories.attachments import NewFile
from docvault.schemas.documents import CopySource
from docvault.services.attachments import Attachment, attach_files
from docvault.services.blobs import LocalFile, store_bytes
from docvault.services.documents import (
    authorize_write,
    find_version,
    get_document,
    require_not_quarantined,
)
from docvault.services.local_files import downloaded_copy
from docvault.services.resources import Resources
from docvault.services.saved_documents import SavedDocument, SaveTarget
from docvault.services.scans import scan_spooled


async def copy_files(
    resources: Resources, context: RequestContext, target: SaveTarget, source: CopySource
) -> SavedDocument:
    """Make copies of stored files of the same customer the current version of a document."""
    async with resources.autocommit(context) as uow:
        document = await authorize_write(uow, target.customer, target.key)
        source_document = await get_document(uow, target.customer, source.key)
        version = await find_version(uow, target.customer, source_document, source.version)
    files = _select(version.files, source.file)
    for file in files:
        require_not_quarantined(file)
    check_accepted(document.type, files, resources.settings, pointer="/from")
    attachment = Attachment(
        target,
        await _copy(resources, context, target.customer.id, files),
        field_values={},
        action=AuditAction.DOCUMENT_COPY,
    )
    return await attach_files(resources, context, attachment, document)


def _select(files: Sequence[StoredFile], number: int | None) -> list[StoredFile]:
    selected = [file for file in files if number in (None, file.number)]
    if not selected:
        raise FileNotFound
    return selected


async def _copy(
    resources: Resources, context: RequestContext, customer_id: UUID, files: Sequence[StoredFile]
) -> list[NewFile]:
    """Store the bytes again; they are scanned like an upload."""
    async with AsyncExitStack() as stack:
        local = [
            await stack.enter_async_context(downloaded_copy(resources, file)) for file in files
        ]
        scans = [await scan_spooled(resources, one, pointer="/from") for one in local]
        blob_ids = await store_bytes(
            resources,
            context,
            customer_id,
            [LocalFile(o.path, o.size_bytes, o.sha256) for o in local],
        )
    return _new_files(blob_ids, files, scans)


def _new_files(
    blob_ids: Sequence[UUID], files: Sequence[StoredFile], scans: Sequence[ScanVerdict]
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
            has_attachments=file.has_attachments,
            needs_password=file.needs_password,
            pages=file.pages,
            scan=scan.state,
            scanned_with=scan.scanned_with,
        )
        for number, (blob_id, file, scan) in enumerate(
            zip(blob_ids, files, scans, strict=True), start=1
        )
    ]
