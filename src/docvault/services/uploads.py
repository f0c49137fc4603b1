"""Storing what was uploaded: check, announce, write, attach (D1)."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Generic, NoReturn, TypeVar
from uuid import UUID

from docvault import metrics
from docvault.auth.principals import Access, Caller
from docvault.errors import (
    CorruptFile,
    DatabaseUnavailable,
    EmptyFile,
    FileRequired,
    FileTooLarge,
    MediaTypeNotAllowed,
    Overloaded,
    StorageUnavailable,
    TooManyFiles,
    ValidationFailed,
)
from docvault.models import new_id
from docvault.repositories.attachments import NewFile, NewVersion
from docvault.repositories.audit_events import NewAuditEvent
from docvault.repositories.idempotency_keys import Completion
from docvault.repositories.jobs import JobName
from docvault.repositories.unit import Unit
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
from docvault.rules.slots import FileFacts, Slot, TypeFacts, VersionFacts
from docvault.schemas.audit_events import AuditAction
from docvault.services.blobs import LocalBytes, abandon_blobs, store_bytes
from docvault.services.documents import lock_slot
from docvault.services.idempotency_keys import keep_answer
from docvault.services.resources import Resources
from docvault.services.scans import scan_spooled
from docvault.services.work import Asker, Work
from docvault.settings import Settings
from docvault.storage.spool import SpoolFile

# Checking a text file reads all of it; from this size on it is worth a thread.
INSPECT_IN_THREAD_BYTES = 1024 * 1024

_Answer = TypeVar("_Answer")
Precondition = Callable[[Slot], None]


@dataclass(frozen=True, slots=True)
class Reply(Generic[_Answer]):
    """What a save answers, and what is kept of that for repeated requests."""

    answer: _Answer
    completion: Completion | None


# Makes the reply of the filled slot and of whether it was empty before.
Respond = Callable[[Slot, bool], Reply[_Answer]]


async def settle(work: Work, reply: Reply[_Answer]) -> _Answer:
    """Return the answer of a reply whose change is not an attachment, in its transaction."""
    await keep_answer(work, reply.completion)
    return reply.answer


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
    """Fill a slot with files; return what `respond` makes of it.

    `slot` is as `authorise_write` found it; should it be another by now, everything is decided
    again.
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
    return await attach_files(resources, asker, attachment, respond, slot)


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

    def version_of(self, slot: Slot, field_values: dict[str, str], caller: Caller) -> NewVersion:
        """Return this as the next version of a slot."""
        return NewVersion(
            id=self.version_id,
            slot=slot,
            customer_id=self.customer.id,
            # The answer, which is stored with the version, has to tell it beforehand.
            uploaded_at=datetime.now(UTC),
            uploaded_by_kind=caller.kind,
            uploaded_by_id=caller.id,
            field_values=field_values,
            files=self.files,
        )


async def attach_files(
    resources: Resources,
    asker: Asker,
    attachment: Attachment,
    respond: Respond[_Answer],
    slot: Slot | None = None,
) -> _Answer:
    """Commit a version; when the outcome of the commit is unknown, look (D4).

    `slot` is what the caller decided upon. As long as it still is what it was, a single
    statement does everything; otherwise, and without it, the slot is read again under locks.
    """
    attempt = _Attempt(asker, attachment, respond)
    try:
        if slot is not None and _needs_one_statement(attachment, slot, asker.settings):
            async with resources.statements(asker.access) as unit:
                is_attached = await attempt.attach(unit, slot)
        else:
            is_attached = False
        if not is_attached:
            async with resources.unit(asker.access) as unit:
                await attempt.attach_under_locks(unit)
    except DatabaseUnavailable:
        if attempt.reply is None or not await _was_committed(resources, attachment.version_id):
            raise
    except Exception:
        # The holder of a session's URL could write them again: they wait for their expiry.
        if attachment.session_id is None:
            await abandon_blobs(resources, attachment.blob_ids)
        raise
    metrics.FILES_STORED.inc(len(attachment.files))
    return attempt.answer


def _needs_one_statement(attachment: Attachment, slot: Slot, settings: Settings) -> bool:
    """Whether nothing is to be done beside attaching: no session to end, no old version to go."""
    stored_versions = slot.version.number if slot.version else 0
    return attachment.session_id is None and stored_versions < settings.keep_versions


class _Attempt(Generic[_Answer]):
    """An attachment on its way into the database, perhaps at the second try."""

    def __init__(self, asker: Asker, attachment: Attachment, respond: Respond[_Answer]) -> None:
        self._asker = asker
        self._attachment = attachment
        self._respond = respond
        self.reply: Reply[_Answer] | None = None

    @property
    def answer(self) -> _Answer:
        """What to answer, once the version is attached."""
        if self.reply is None:
            raise RuntimeError("nothing was attached")
        return self.reply.answer

    async def attach(self, unit: Unit, slot: Slot) -> bool:
        """Attach to the slot as it was read; False when it is another by now."""
        attachment = self._attachment
        require_write(self._asker.caller, slot.type)
        attachment.precondition(slot)
        values = merge_values(slot.type, slot.field_values, attachment.field_values)
        version = attachment.version_of(slot, values, self._asker.caller)
        self.reply = self._respond(_filled(slot, version), slot.version is None)
        return await unit.attachments.attach(
            version,
            self._event(slot, version),
            completion=self.reply.completion,
            has_previews=any(file.media_type in PREVIEWABLE_MEDIA_TYPES for file in version.files),
        )

    async def attach_under_locks(self, unit: Unit) -> None:
        """Attach to the slot as it is now, and say what is in the way if something is."""
        work, attachment = self._asker.work(unit), self._attachment
        slot = await lock_slot(work, attachment.customer, attachment.key)
        if attachment.session_id and not await unit.upload_sessions.complete(attachment.session_id):
            raise SessionSettled
        if not await self.attach(unit, slot):
            await self._explain_refusal(work)
        await self._remove_old_versions(unit, slot)

    async def _explain_refusal(self, work: Work) -> NoReturn:
        """Find what a slot that is locked was refused for; the transaction is rolled back."""
        await keep_answer(work, self.reply.completion if self.reply else None)
        if not await work.unit.blobs.mark_stored(self._attachment.blob_ids):
            raise StorageUnavailable("Storing the file took too long.")
        raise Overloaded("The document type was changed at this moment.")

    def _event(self, slot: Slot, version: NewVersion) -> NewAuditEvent:
        is_new = slot.version is None
        action = AuditAction.DOCUMENT_UPLOAD if is_new else AuditAction.DOCUMENT_REPLACE
        return self._asker.event(
            self._attachment.action or action,
            customer=self._attachment.customer,
            document_type=slot.type.key,
            version=version.number,
            changes=_changes(slot.field_values, version.field_values),
        )

    async def _remove_old_versions(self, unit: Unit, slot: Slot) -> None:
        keep = self._asker.settings.keep_versions
        document = await unit.documents.lock(self._attachment.customer.id, slot.type.id)
        unneeded = await unit.documents.remove_versions(document.id, keep=keep)
        if unneeded:
            await unit.blobs.queue_deletion(unneeded)
            await unit.jobs.defer(JobName.DELETE_BLOBS)


def _filled(slot: Slot, version: NewVersion) -> Slot:
    """Return the slot as it will be with the version attached."""
    files = tuple(
        FileFacts(
            id=file.id,
            number=file.number,
            filename=file.filename,
            media_type=file.media_type,
            size_bytes=file.size_bytes,
            sha256=file.sha256,
            has_active_content=file.has_active_content,
            scan=file.scan,
            preview_failed=False,
            # Nobody reads bytes through the answer to an upload.
            blob_key="",
        )
        for file in version.files
    )
    current = VersionFacts(
        id=version.id,
        number=version.number,
        uploaded_at=version.uploaded_at,
        uploaded_by_kind=version.uploaded_by_kind,
        uploaded_by_id=version.uploaded_by_id,
        field_values=version.field_values,
        files=files,
    )
    return Slot(slot.type, current, version.field_values, version.number)


def _changes(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, object] | None:
    if old == new:
        return None
    return {"field_values": {"old": dict(old), "new": dict(new)}}


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
