"""Making stored bytes the current version of a slot, and what is answered then (D1, D4)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Generic, NoReturn, TypeVar
from uuid import UUID

from docvault import metrics
from docvault.auth.principals import Access, Caller
from docvault.errors import DatabaseUnavailable, Overloaded, StorageUnavailable
from docvault.models import new_id
from docvault.repositories.attachments import NewFile, NewVersion
from docvault.repositories.audit_events import NewAuditEvent
from docvault.repositories.idempotency_keys import Completion
from docvault.repositories.jobs import JobName
from docvault.repositories.unit import Unit
from docvault.rules.customers import CustomerFacts
from docvault.rules.field_values import FieldValueChanges, merge_values
from docvault.rules.media_types import PREVIEWABLE_MEDIA_TYPES
from docvault.rules.permissions import require_write
from docvault.rules.slots import FileFacts, Slot, VersionFacts
from docvault.schemas.audit_events import AuditAction
from docvault.services.accepted_files import check_accepted
from docvault.services.blobs import abandon_blobs
from docvault.services.documents import lock_slot
from docvault.services.idempotency_keys import keep_answer
from docvault.services.resources import Resources
from docvault.services.work import Asker, Work
from docvault.settings import Settings

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


class SessionSettled(Exception):
    """The upload session was completed, deleted or has expired in the meantime."""


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
    is_attached = False
    try:
        if slot is not None and _needs_one_statement(attachment, slot, asker.settings):
            async with resources.statements(asker.access) as unit:
                is_attached = await attempt.attach(unit, slot)
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
    # There are never more versions than the highest number.
    return attachment.session_id is None and slot.last_version < settings.keep_versions


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
        # The type may take less than when the files were checked.
        check_accepted(slot.type, attachment.files, self._asker.settings, pointer=None)
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
        settings = self._asker.settings
        document = await unit.documents.lock(self._attachment.customer.id, slot.type.id)
        unneeded = await unit.documents.remove_versions(document.id, keep=settings.keep_versions)
        if unneeded:
            await unit.blobs.queue_deletion(unneeded, wait=settings.backup_window)
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
