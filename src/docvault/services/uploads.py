"""Storing what was uploaded: check, announce, write, attach (D1)."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from docvault import metrics
from docvault.auth.principals import Access
from docvault.errors import (
    CorruptFile,
    DatabaseUnavailable,
    EmptyFile,
    FileRequired,
    FileTooLarge,
    MediaTypeNotAllowed,
    StorageUnavailable,
    TooManyFiles,
    ValidationFailed,
)
from docvault.models import new_id
from docvault.repositories.documents import NewFile
from docvault.repositories.jobs import JobName
from docvault.rules.customers import CustomerFacts
from docvault.rules.field_values import FieldValueChanges, merge_values
from docvault.rules.filenames import sanitise_filename
from docvault.rules.media_types import (
    DEFAULT_MEDIA_TYPES,
    PREVIEWABLE_MEDIA_TYPES,
    Content,
    CorruptContent,
    ExtensionMismatch,
    UnknownContent,
    inspect_content,
)
from docvault.rules.permissions import require_write
from docvault.rules.scans import ScanVerdict
from docvault.rules.slots import Slot, TypeFacts
from docvault.schemas.audit_events import AuditAction
from docvault.services.blobs import LocalBytes, abandon_blobs, store_bytes
from docvault.services.customers import lock_customer
from docvault.services.documents import get_slot
from docvault.services.resources import Resources
from docvault.services.scans import scan_spooled
from docvault.services.work import Asker, Work
from docvault.settings import Settings
from docvault.storage.spool import SpoolFile

# Checking a text file reads all of it; from this size on it is worth a thread.
INSPECT_IN_THREAD_BYTES = 1024 * 1024

_Answer = TypeVar("_Answer")
Precondition = Callable[[Slot], None]
Respond = Callable[[Work, Slot, bool], Awaitable[_Answer]]


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """A file as it arrived, in the spool."""

    spooled: SpoolFile
    raw_filename: str


@dataclass(frozen=True, slots=True)
class Submission:
    """What one save brings to a slot."""

    files: Sequence[ReceivedFile]
    field_values: FieldValueChanges = field(default_factory=dict)


class SessionSettled(Exception):
    """The upload session was completed, deleted or has expired in the meantime."""


@dataclass(frozen=True, slots=True)
class _CheckedFile:
    spooled: SpoolFile
    filename: str
    content: Content
    scan: ScanVerdict


async def store_submission(
    resources: Resources,
    asker: Asker,
    customer: CustomerFacts,
    slot: Slot,
    submission: Submission,
    *,
    precondition: Precondition,
    respond: Respond[_Answer],
) -> _Answer:
    """Fill a slot with files; return what `respond` makes of it inside the transaction.

    `slot` is as `authorise_write` found it; everything is checked again before it is committed.
    The bytes are durable and the rows committed when this returns. Nothing is stored when it
    raises, but for bytes that a job removes.
    """
    # Before the bytes are written, so that a wrong key costs nothing.
    merge_values(slot.type, slot.field_values, submission.field_values)
    checked = await check_files(resources, slot.type, submission.files)
    blob_ids = await store_bytes(
        resources,
        customer.id,
        [LocalBytes(f.spooled.path, f.spooled.size_bytes, f.spooled.sha256) for f in checked],
    )
    attachment = Attachment(
        customer,
        slot.type.key,
        _new_files(blob_ids, checked),
        submission.field_values,
        precondition,
    )
    return await attach_files(resources, asker, attachment, respond)


async def check_files(
    resources: Resources, document_type: TypeFacts, files: Sequence[ReceivedFile]
) -> list[_CheckedFile]:
    """Return the files with the types their bytes show, scanned where there is a scanner.

    Raises `FileRequired`, `TooManyFiles`, `EmptyFile`, `FileTooLarge`, `CorruptFile`,
    `MediaTypeNotAllowed`, `MalwareDetected` or `ScannerUnavailable`.
    """
    if not files:
        raise FileRequired(pointer="/file")
    if len(files) > document_type.max_files:
        raise TooManyFiles(f"At most {document_type.max_files} here.", pointer="/file")
    limit = max_file_bytes(document_type, resources.settings)
    for file in files:
        # Only a batch, whose parts come under one limit, can still be wrong here.
        if file.spooled.size_bytes > limit:
            raise FileTooLarge(pointer="/file", members={"limit_bytes": limit})
    contents = [await _check_file(document_type, file) for file in files]
    # Last, for it takes longest.
    return [
        _CheckedFile(
            file.spooled,
            filename,
            content,
            await scan_spooled(resources, file.spooled, pointer="/file"),
        )
        for file, (filename, content) in zip(files, contents, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Attachment:
    """Stored bytes on their way to a slot."""

    customer: CustomerFacts
    key: str
    files: Sequence[NewFile]
    field_values: FieldValueChanges
    precondition: Precondition
    action: AuditAction | None = None
    # The upload session that brought the bytes; it ends in the same transaction.
    session_id: UUID | None = None
    version_id: UUID = field(default_factory=new_id)

    @property
    def blob_ids(self) -> list[UUID]:
        """The blobs that hold the bytes."""
        return [file.blob_id for file in self.files]


async def attach_files(
    resources: Resources, asker: Asker, attachment: Attachment, respond: Respond[_Answer]
) -> _Answer:
    """Commit a version; when the outcome of the commit is unknown, look (D4)."""
    answer: list[_Answer] = []
    try:
        async with resources.unit(asker.access) as unit:
            work = asker.work(unit)
            created = await _attach(work, attachment)
            slot = await get_slot(work, attachment.customer, attachment.key)
            answer.append(await respond(work, slot, created))
    except DatabaseUnavailable:
        if answer and await _was_committed(resources, attachment.version_id):
            return answer[0]
        raise
    except Exception:
        # The holder of a session's URL could write them again: they wait for their expiry.
        if attachment.session_id is None:
            await abandon_blobs(resources, attachment.blob_ids)
        raise
    metrics.FILES_STORED.inc(len(attachment.files))
    return answer[0]


async def _attach(work: Work, attachment: Attachment) -> bool:
    """Make the files the slot's current version; return whether it was empty before."""
    unit, customer = work.unit, attachment.customer
    await lock_customer(unit, customer.id)
    # Read again under the lock: the type may have changed while the bytes arrived.
    document_type = (await get_slot(work, customer, attachment.key)).type
    require_write(work.caller, document_type)
    document = await unit.documents.lock(customer.id, document_type.id)
    if attachment.session_id and not await unit.upload_sessions.complete(attachment.session_id):
        raise SessionSettled
    attachment.precondition(await get_slot(work, customer, attachment.key))
    values = merge_values(document_type, document.field_values, attachment.field_values)
    if not await unit.blobs.mark_stored(attachment.blob_ids):
        raise StorageUnavailable("Storing the file took too long.")
    number = await unit.documents.add_version(
        document,
        version_id=attachment.version_id,
        uploaded_by_kind=work.caller.kind,
        uploaded_by_id=work.caller.id,
        field_values=values,
        files=attachment.files,
    )
    created = document.current_version_id is None
    await _remove_old_versions(work, document.id)
    await _ask_for_previews(work, attachment)
    action = AuditAction.DOCUMENT_UPLOAD if created else AuditAction.DOCUMENT_REPLACE
    await work.record(
        attachment.action or action,
        customer=customer,
        document_type=attachment.key,
        version=number,
        changes=_changes(document.field_values, values),
    )
    return created


def _changes(old: dict[str, str], new: dict[str, str]) -> dict[str, object] | None:
    return None if old == new else {"field_values": {"old": old, "new": new}}


async def _remove_old_versions(work: Work, document_id: UUID) -> None:
    unneeded = await work.unit.documents.remove_versions(
        document_id, keep=work.settings.keep_versions
    )
    if unneeded:
        await work.unit.blobs.queue_deletion(unneeded)
        await work.unit.jobs.defer(JobName.DELETE_BLOBS)


async def _ask_for_previews(work: Work, attachment: Attachment) -> None:
    if any(file.media_type in PREVIEWABLE_MEDIA_TYPES for file in attachment.files):
        await work.unit.jobs.defer(JobName.RENDER_PREVIEWS, version_id=str(attachment.version_id))


async def _was_committed(resources: Resources, version_id: UUID) -> bool:
    async with resources.unit(Access.everyone()) as unit:
        return await unit.documents.version_exists(version_id)


async def _check_file(document_type: TypeFacts, file: ReceivedFile) -> tuple[str, Content]:
    """Return the name to store and what the bytes are."""
    spooled = file.spooled
    if spooled.size_bytes == 0:
        raise EmptyFile(pointer="/file")
    filename = check_filename(file.raw_filename, pointer="/file")
    content = await check_content(document_type, _inspect(spooled, filename), pointer="/file")
    return filename, content


def check_filename(raw: str, *, pointer: str) -> str:
    """Return the name to store; raises `ValidationFailed` when nothing of it is left."""
    try:
        return sanitise_filename(raw)
    except ValueError as error:
        raise ValidationFailed("The file has no usable name.", pointer=pointer) from error


async def check_content(
    document_type: TypeFacts, inspection: Awaitable[Content], *, pointer: str | None
) -> Content:
    """Return what the bytes are; raises `CorruptFile` or `MediaTypeNotAllowed`."""
    try:
        content = await inspection
    except UnknownContent as error:
        unknown = "The bytes are of no type that is known here; text has to be UTF-8."
        detail = unknown if error.detected is None else None
        raise not_allowed(document_type, error.detected, detail, pointer=pointer) from error
    except ExtensionMismatch as error:
        detail = f"The name ends in .{error.extension}, but the bytes are {error.detected}."
        raise not_allowed(document_type, error.detected, detail, pointer=pointer) from error
    except CorruptContent as error:
        raise CorruptFile(error.reason, pointer=pointer) from error
    if content.media_type not in allowed_media_types(document_type):
        raise not_allowed(document_type, content.media_type, pointer=pointer)
    return content


async def _inspect(spooled: SpoolFile, filename: str) -> Content:
    if spooled.size_bytes >= INSPECT_IN_THREAD_BYTES:
        return await asyncio.to_thread(_inspect_file, spooled, filename)
    return _inspect_file(spooled, filename)


def _inspect_file(spooled: SpoolFile, filename: str) -> Content:
    with spooled.path.open("rb") as file:
        return inspect_content(file, spooled.size_bytes, filename)


def allowed_media_types(document_type: TypeFacts) -> tuple[str, ...]:
    """Return the type's own allow-list or the default one (A-14)."""
    return document_type.accepted_media_types or DEFAULT_MEDIA_TYPES


def max_file_bytes(document_type: TypeFacts, settings: Settings) -> int:
    """Return the size limit in force: the type's own or the default, under the ceiling (A-15)."""
    return min(
        document_type.max_size_bytes or settings.default_max_file_bytes, settings.max_upload_bytes
    )


def not_allowed(
    document_type: TypeFacts,
    detected: str | None,
    detail: str | None = None,
    *,
    pointer: str | None = "/file",
) -> MediaTypeNotAllowed:
    """Return the refusal of a file whose bytes are not of an accepted type."""
    return MediaTypeNotAllowed(
        detail,
        pointer=pointer,
        members={"allowed": list(allowed_media_types(document_type)), "detected": detected},
    )


def _new_files(blob_ids: Sequence[UUID], checked: Sequence[_CheckedFile]) -> list[NewFile]:
    return [
        NewFile(
            blob_id=blob_id,
            number=number,
            filename=file.filename,
            media_type=file.content.media_type,
            size_bytes=file.spooled.size_bytes,
            sha256=file.spooled.sha256,
            has_active_content=file.content.has_active_content,
            scan=file.scan.state,
            scanned_with=file.scan.scanned_with,
        )
        for number, (blob_id, file) in enumerate(zip(blob_ids, checked, strict=True), start=1)
    ]
