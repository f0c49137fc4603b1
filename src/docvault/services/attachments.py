"""Making stored bytes the current version of a document."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import NoReturn
from uuid import UUID

from docvault.context import RequestContext
from docvault.db.tables import new_id
from docvault.domain.accepted_files import check_accepted, check_number
from docvault.domain.audit import AuditAction, AuditedFile, NewAuditEvent, difference
from docvault.domain.documents import Document, DocumentVersion, StoredFile
from docvault.domain.events import document_states
from docvault.domain.field_values import FieldValueChanges, merge_values
from docvault.domain.media_types import PREVIEWABLE_MEDIA_TYPES
from docvault.domain.permissions import require_write
from docvault.errors import (
    DatabaseUnavailable,
    FileNotFound,
    FileRequired,
    ServiceUnavailable,
    StorageUnavailable,
)
from docvault.observability import metrics
from docvault.repositories.attachments import KeptFile, NewFile, NewVersion
from docvault.repositories.idempotency_keys import Completion
from docvault.repositories.unit_of_work import UnitOfWork
from docvault.services import quotas
from docvault.services.blobs import abandon_blobs
from docvault.services.documents import lock_document
from docvault.services.idempotency_keys import store_response
from docvault.services.resources import Resources
from docvault.services.saved_documents import (
    SavedDocument,
    SaveTarget,
    check_preconditions,
    saved_document,
)


class SessionClosed(Exception):
    """The upload session was completed or deleted, or has expired, in the meantime."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """Stored bytes to attach to a document."""

    target: SaveTarget
    files: Sequence[NewFile]
    field_values: FieldValueChanges
    action: AuditAction | None = None
    # The upload session that brought the bytes; it ends in the same transaction.
    session_id: UUID | None = None
    # Whether the files are added to those of the current version.
    appends: bool = False
    # The number of a file that is removed from those of the current version.
    removes: int | None = None
    version_id: UUID = field(default_factory=new_id)

    @property
    def blob_ids(self) -> list[UUID]:
        """The blobs that hold the bytes."""
        return [file.blob_id for file in self.files]

    def may_skip_locks(self, document: Document, keep_versions: int) -> bool:
        """Whether there is nothing to do but attach: no session, no kept file, no old version."""
        # There are never more versions than the highest number.
        is_short = document.last_version < keep_versions
        return is_short and self.session_id is None and not self.kept_files(document)

    def kept_files(self, document: Document) -> Sequence[StoredFile]:
        """Return the files of the current version that the new one keeps.

        Raises `FileNotFound`, and `FileRequired` if none would be left.
        """
        current = document.version.files if document.version else ()
        if self.appends:
            return current
        if self.removes is None:
            return ()
        kept = [file for file in current if file.number != self.removes]
        if len(kept) == len(current):
            raise FileNotFound
        if not kept:
            raise FileRequired("The only file cannot be removed. Delete the document instead.")
        return kept


@dataclass(frozen=True, slots=True)
class _Plan:
    """Everything the attach statement writes, decided from the document as it was read."""

    version: NewVersion
    event: NewAuditEvent
    completion: Completion | None
    saved: SavedDocument


async def attach_files(
    resources: Resources,
    context: RequestContext,
    attachment: Attachment,
    document: Document | None = None,
) -> SavedDocument:
    """Commit a new version; when the outcome of the commit is unknown, look it up.

    `document` is the state that the caller's checks were based on. If it is unchanged, one
    statement does everything. Otherwise, and without it, the document is read again under locks.
    """
    plan: _Plan | None = None
    try:
        if document and attachment.may_skip_locks(document, context.settings.keep_versions):
            plan = _plan(context, attachment, document)
        if plan is None or not await _attach_unlocked(resources, context, plan):
            async with resources.transaction(context) as uow:
                plan = _plan(context, attachment, await _lock(uow, attachment))
                await _attach_locked(uow, plan)
    except DatabaseUnavailable:
        if plan is None or not await _was_committed(resources, attachment.version_id):
            raise
    except Exception:
        # A signed URL could write the bytes of a session again: those blobs expire instead.
        if attachment.files and attachment.session_id is None:
            await abandon_blobs(resources, attachment.blob_ids)
        raise
    metrics.FILES_STORED.inc(len(attachment.files))
    return plan.saved


def _plan(context: RequestContext, attachment: Attachment, document: Document) -> _Plan:
    """Check permission, preconditions and values, and decide what to write."""
    target = attachment.target
    require_write(context.actor, document.type)
    check_preconditions(target.preconditions, document, context)
    kept = [KeptFile(file) for file in attachment.kept_files(document)]
    version = NewVersion(
        id=attachment.version_id,
        document=document,
        customer_id=target.customer.id,
        # Set here rather than by the database: the response is stored with the version.
        uploaded_at=datetime.now(UTC),
        uploaded_by_kind=context.actor.kind,
        uploaded_by_id=context.actor.id,
        field_values=merge_values(document.type, document.field_values, attachment.field_values),
        files=[replace(file, number=len(kept) + file.number) for file in attachment.files],
        kept=kept,
    )
    saved = saved_document(
        _with_version(document, version),
        context,
        created=document.version is None or attachment.appends,
    )
    return _Plan(
        version,
        _event(context, attachment, version, saved.document),
        saved.completion(target.claim, target.customer.id),
        saved,
    )


async def _attach_unlocked(resources: Resources, context: RequestContext, plan: _Plan) -> bool:
    async with resources.autocommit(context) as uow:
        return await _execute(uow, plan)


async def _execute(uow: UnitOfWork, plan: _Plan) -> bool:
    """Attach in one statement; False if the document has changed since it was read."""
    version = plan.version
    media_types = [file.media_type for file in version.files]
    media_types += [kept.file.media_type for kept in version.kept]
    return await uow.attachments.attach(
        version,
        plan.event,
        completion=plan.completion,
        has_previews=any(media_type in PREVIEWABLE_MEDIA_TYPES for media_type in media_types),
    )


async def _lock(uow: UnitOfWork, attachment: Attachment) -> Document:
    """Return the document, locked, once files and session are accepted again."""
    target, settings = attachment.target, uow.context.settings
    document = await lock_document(uow, target.customer, target.key)
    # The type may accept less than when the files were checked.
    check_accepted(document.type, attachment.files, settings, pointer=None)
    if attachment.appends:
        total = len(attachment.kept_files(document)) + len(attachment.files)
        check_number(document.type, total, pointer=None)
    if attachment.removes is not None:
        # Every version has a copy of the values.
        await quotas.check_values(uow, target.customer.id)
    if attachment.session_id:
        if not await uow.upload_sessions.complete(attachment.session_id):
            raise SessionClosed
        # The files were counted when the session was created, the values were not.
        await quotas.check_values(uow, target.customer.id)
    return document


async def _attach_locked(uow: UnitOfWork, plan: _Plan) -> None:
    """Attach to a locked document, and prune the versions that are no longer kept."""
    if not await _execute(uow, plan):
        await _explain_failure(uow, plan)
    settings, version = uow.context.settings, plan.version
    if version.kept:
        await uow.attachments.keep_files(version)
    document_id = await uow.documents.lock(version.customer_id, version.document.type.id)
    unneeded = await uow.documents.remove_versions(document_id, keep=settings.keep_versions)
    if unneeded:
        # The reaper deletes them within a minute: a job would notify the workers at the commit,
        # for which PostgreSQL takes a lock of the whole server.
        await uow.blobs.queue_deletion(unneeded, wait=settings.deleted_blob_retention)


async def _explain_failure(uow: UnitOfWork, plan: _Plan) -> NoReturn:
    """Raise the reason why attaching to a locked document failed; this rolls back."""
    await store_response(uow, plan.completion)
    if not await uow.blobs.mark_stored([file.blob_id for file in plan.version.files]):
        raise StorageUnavailable("Storing the file took too long. Retry it.")
    raise ServiceUnavailable("The document type was changed during the request. Retry it.")


def _event(
    context: RequestContext, attachment: Attachment, version: NewVersion, saved: Document
) -> NewAuditEvent:
    document = version.document
    return context.audit_event(
        attachment.action or _action(attachment, document),
        customer=attachment.target.customer,
        document_type=document.type.key,
        version=version.number,
        changes=difference(
            {"field_values": document.field_values}, {"field_values": version.field_values}
        ),
        files=_audited_files(attachment, version),
        event_data=document_states(saved),
    )


def _action(attachment: Attachment, document: Document) -> AuditAction:
    if document.version is None:
        return AuditAction.DOCUMENT_UPLOAD
    if attachment.appends:
        return AuditAction.DOCUMENT_ADD_FILE
    if attachment.removes is not None:
        return AuditAction.DOCUMENT_REMOVE_FILE
    return AuditAction.DOCUMENT_REPLACE


def _audited_files(attachment: Attachment, version: NewVersion) -> Sequence[AuditedFile]:
    """Return what was sent, or what was removed."""
    replaced = version.document.version
    if attachment.removes is None or replaced is None:
        return version.files
    return [file for file in replaced.files if file.number == attachment.removes]


def _with_version(document: Document, version: NewVersion) -> Document:
    """Return the document as it will be with the version attached."""
    kept = [
        replace(kept.file, id=kept.id, number=number)
        for number, kept in enumerate(version.kept, start=1)
    ]
    files = [
        StoredFile(
            id=file.id,
            number=file.number,
            filename=file.filename,
            media_type=file.media_type,
            size_bytes=file.size_bytes,
            sha256=file.sha256,
            has_active_content=file.has_active_content,
            has_attachments=file.has_attachments,
            needs_password=file.needs_password,
            pages=file.pages,
            scan=file.scan,
            preview_failed=False,
            # The response to an upload does not lead to the bytes.
            blob_key="",
        )
        for file in version.files
    ]
    current = DocumentVersion(
        id=version.id,
        number=version.number,
        uploaded_at=version.uploaded_at,
        uploaded_by_kind=version.uploaded_by_kind,
        uploaded_by_id=version.uploaded_by_id,
        field_values=version.field_values,
        files=(*kept, *files),
    )
    return Document(document.type, current, version.field_values, version.number)


async def _was_committed(resources: Resources, version_id: UUID) -> bool:
    async with resources.transaction(resources.system_context()) as uow:
        return await uow.documents.version_exists(version_id)
