"""Storing what was uploaded: check, announce and write, then attach (D1)."""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from docvault.errors import (
    CorruptFile,
    EmptyFile,
    FileRequired,
    ValidationFailed,
)
from docvault.repositories.attachments import NewFile
from docvault.rules.customers import CustomerFacts
from docvault.rules.field_values import FieldValueChanges, merge_values
from docvault.rules.filenames import sanitise_filename
from docvault.rules.media_types import (
    Content,
    CorruptContent,
    ExtensionMismatch,
    UnknownContent,
    inspect_content,
)
from docvault.rules.scans import ScanVerdict
from docvault.rules.slots import Slot, TypeFacts
from docvault.services.accepted_files import (
    allowed_media_types,
    check_number,
    check_size,
    not_allowed,
)
from docvault.services.attachments import Attachment, Precondition, Respond, attach_files
from docvault.services.blobs import LocalBytes, store_bytes
from docvault.services.resources import Resources
from docvault.services.scans import scan_spooled
from docvault.services.work import Asker
from docvault.storage.spool import SpoolFile

# Checking a text file reads all of it; from this size on it is worth a thread.
INSPECT_IN_THREAD_BYTES = 1024 * 1024

_Answer = TypeVar("_Answer")


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
    check_number(document_type, len(files), pointer="/file")
    for file in files:
        # Only a batch, whose parts come under one limit, can still be wrong here.
        size_bytes = file.spooled.size_bytes
        check_size(document_type, size_bytes, resources.settings, pointer="/file")
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
