"""Uploads: prepare the files, store their bytes, complete the document."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from docvault.context import RequestContext
from docvault.domain.accepted_files import (
    allowed_media_types,
    check_number,
    check_password,
    check_size,
    not_allowed,
)
from docvault.domain.document_types import DocumentType
from docvault.domain.documents import Document
from docvault.domain.field_values import FieldValueChanges, merge_values
from docvault.domain.file_extensions import extensions_of, named_after_type
from docvault.domain.filenames import sanitize_filename
from docvault.domain.media_type_names import describe_media_type
from docvault.domain.scans import ScanVerdict
from docvault.domain.upload_openings import ReservedBlob
from docvault.errors import (
    CorruptFile,
    EmptyFile,
    FileRequired,
    ServiceUnavailable,
    ValidationFailed,
    WrongExtension,
)
from docvault.inspection import Content, CorruptContent, ExtensionMismatch, UnknownContent
from docvault.inspection.inspector import InspectionUnavailable
from docvault.repositories.attachments import NewFile
from docvault.services.attachments import Attachment, attach_files
from docvault.services.blobs import LocalFile, store_bytes
from docvault.services.resources import Resources
from docvault.services.saved_documents import SavedDocument, SaveTarget
from docvault.services.scans import scan_spooled
from docvault.services.upload_openings import release_unused
from docvault.storage.spool import SpoolFile


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """A file as received, in the spool."""

    spooled: SpoolFile
    raw_filename: str


@dataclass(frozen=True, slots=True)
class Submission:
    """The files and values of one upload, and the blob reserved for the first file.

    `appends`: the files are added to those of the document.
    """

    files: Sequence[ReceivedFile]
    field_values: FieldValueChanges = field(default_factory=dict)
    reserved: ReservedBlob | None = None
    appends: bool = False


@dataclass(frozen=True, slots=True)
class PreparedFile:
    """A file that was inspected and scanned, under the name to store."""

    spooled: SpoolFile
    filename: str
    content: Content
    scan: ScanVerdict


async def save_submission(
    resources: Resources,
    context: RequestContext,
    target: SaveTarget,
    document: Document,
    submission: Submission,
) -> SavedDocument:
    """Make files the current version of a document.

    `document` is as it was when the caller was authorized. If it has changed since, permission,
    preconditions and values are checked again. On return the bytes are durable and the rows
    committed. On an exception nothing is stored, except bytes that a job removes.
    """
    prepared = await prepare(resources, target.customer.id, document, submission)
    files = await store(resources, context, target.customer.id, prepared, submission.reserved)
    attachment = Attachment(target, files, submission.field_values, appends=submission.appends)
    return await attach_files(resources, context, attachment, document)


async def prepare(
    resources: Resources, customer_id: UUID, document: Document, submission: Submission
) -> list[PreparedFile]:
    """Check values and files, before anything is stored.

    Raises `UnknownField`, `FieldsNotEnabled`, `FileRequired`, `TooManyFiles`, `EmptyFile`,
    `FileTooLarge`, `CorruptFile`, `UnsupportedMediaType`, `WrongExtension`, `PasswordProtected`,
    `MalwareDetected`, `ScannerUnavailable` or `ServiceUnavailable`.
    """
    merge_values(document.type, document.field_values, submission.field_values)
    files = submission.files
    if not files:
        raise FileRequired(pointer="/file")
    present = document.version.files if document.version and submission.appends else ()
    check_number(document.type, len(present) + len(files), pointer="/file")
    for file in files:
        # The receiver enforces this too, except in a batch, whose files share one limit.
        check_size(document.type, file.spooled.size_bytes, resources.settings, pointer="/file")
    inspected = [await _inspect(resources, customer_id, document.type, file) for file in files]
    # The scans come last because they are slowest.
    return [
        PreparedFile(
            file.spooled,
            filename,
            content,
            await scan_spooled(resources, file.spooled, pointer="/file"),
        )
        for file, (filename, content) in zip(files, inspected, strict=True)
    ]


async def store(
    resources: Resources,
    context: RequestContext,
    customer_id: UUID,
    prepared: Sequence[PreparedFile],
    reserved: ReservedBlob | None = None,
) -> list[NewFile]:
    """Reserve storage and write the bytes; raises `QuotaExceeded` or `StorageUnavailable`."""
    if len(prepared) > 1:
        # It reserves the size of the whole body, which may leave no quota for the other files.
        await release_unused(resources, reserved)
        reserved = None
    blob_ids = await store_bytes(
        resources,
        context,
        customer_id,
        [LocalFile(f.spooled.path, f.spooled.size_bytes, f.spooled.sha256) for f in prepared],
        reserved=reserved,
    )
    return [
        NewFile(
            blob_id=blob_id,
            number=number,
            filename=file.filename,
            media_type=file.content.media_type,
            size_bytes=file.spooled.size_bytes,
            sha256=file.spooled.sha256,
            has_active_content=file.content.has_active_content,
            has_attachments=file.content.has_attachments,
            needs_password=file.content.needs_password,
            pages=file.content.pages,
            scan=file.scan.state,
            scanned_with=file.scan.scanned_with,
        )
        for number, (blob_id, file) in enumerate(zip(blob_ids, prepared, strict=True), start=1)
    ]


async def _inspect(
    resources: Resources, customer_id: UUID, document_type: DocumentType, file: ReceivedFile
) -> tuple[str, Content]:
    """Return the name to store and the content detected."""
    spooled = file.spooled
    if spooled.size_bytes == 0:
        raise EmptyFile(pointer="/file")
    filename = check_filename(file.raw_filename, pointer="/file")
    inspection = resources.inspectors.inspect_file(
        customer_id, spooled.path, spooled.size_bytes, filename
    )
    content = await check_content(document_type, inspection, pointer="/file")
    return named_after_type(filename, content.media_type), content


def check_filename(raw: str, *, pointer: str) -> str:
    """Return the sanitized name; raises `ValidationFailed` if nothing of it remains."""
    try:
        return sanitize_filename(raw)
    except ValueError as error:
        raise ValidationFailed("The file name is not valid.", pointer=pointer) from error


async def check_content(
    document_type: DocumentType, inspection: Awaitable[Content], *, pointer: str | None
) -> Content:
    """Return the content if the type accepts it.

    Raises `CorruptFile`, `UnsupportedMediaType`, `WrongExtension`, `PasswordProtected` or
    `ServiceUnavailable`.
    """
    allowed = allowed_media_types(document_type)
    try:
        content = await inspection
    except UnknownContent as error:
        is_broken = error.detected is None or error.detected in allowed
        detail = (error.reason or "The file type is unknown.") if is_broken else None
        raise not_allowed(document_type, error.detected, detail, pointer=pointer) from error
    except ExtensionMismatch as error:
        if error.detected in allowed:
            raise _wrong_extension(error, pointer) from error
        raise not_allowed(document_type, error.detected, pointer=pointer) from error
    except CorruptContent as error:
        raise CorruptFile(error.reason, pointer=pointer) from error
    except InspectionUnavailable as error:
        raise ServiceUnavailable(
            "File inspection is unavailable.", retry_after_seconds=5
        ) from error
    if content.media_type not in allowed:
        raise not_allowed(document_type, content.media_type, pointer=pointer)
    check_password(document_type, content.needs_password, pointer=pointer)
    return content


def _wrong_extension(mismatch: ExtensionMismatch, pointer: str | None) -> WrongExtension:
    extensions = extensions_of(mismatch.detected)
    kind = describe_media_type(mismatch.detected)
    return WrongExtension(
        f"The name ends in .{mismatch.extension}, but the content is: {kind}."
        f" Rename the file to end in .{extensions[0]}.",
        pointer=pointer,
        members={"detected": mismatch.detected, "extensions": list(extensions)},
    )
