"""Upload sessions: create a session, send the bytes to its signed URL, complete it.

The URL is one of the store or, if the store does not support presigned URLs, of this service.
"""

from dataclasses import dataclass
from uuid import UUID

from docvault.context import RequestContext
from docvault.domain.accepted_files import check_number, check_size
from docvault.domain.audit import AuditAction
from docvault.domain.document_types import DocumentType
from docvault.domain.documents import Document
from docvault.domain.field_values import merge_values
from docvault.domain.file_extensions import named_after_type
from docvault.domain.idempotency import StoredResponse
from docvault.domain.scans import ScanVerdict
from docvault.domain.upload_sessions import (
    BYTES_MARGIN,
    MAX_PENDING_UPLOADS,
    SESSION_LIFETIME,
    BytesRefusal,
    UploadSession,
    UploadSessionState,
)
from docvault.errors import (
    CorruptFile,
    DigestMismatch,
    DocvaultError,
    EmptyFile,
    MalwareDetected,
    NotFound,
    PasswordProtected,
    PreconditionFailed,
    TooManyUploads,
    UnsupportedMediaType,
    UploadExpired,
    UploadNotComplete,
    WrongExtension,
)
from docvault.inspection.result import Content
from docvault.presenters.representation import render
from docvault.presenters.upload_sessions import present_created_upload
from docvault.repositories.attachments import NewFile
from docvault.repositories.jobs import JobName
from docvault.repositories.unit_of_work import UnitOfWork
from docvault.schemas.upload_sessions import UploadCreate
from docvault.services import quotas
from docvault.services.attachments import Attachment, SessionClosed, attach_files
from docvault.services.blobs import new_reservation
from docvault.services.customers import lock_customer
from docvault.services.documents import authorize_write, get_document
from docvault.services.idempotency_keys import release_claim, store_response
from docvault.services.remote_files import digest_of, inspect_stored
from docvault.services.resources import Resources
from docvault.services.saved_documents import (
    SavedDocument,
    SaveTarget,
    check_preconditions,
    saved_document,
)
from docvault.services.scans import scan_stored
from docvault.services.uploads import check_content, check_filename
from docvault.settings import Settings
from docvault.storage.base import IDENTITY, BlobExists, BlobMissing, BlobReader, SignedRequest
from docvault.storage.spool import SpoolFile

# Refusals of the bytes themselves last as long as the session. If what the document type accepts
# changes in the meantime, the client has to create a new session.
_LASTING: dict[str, type[DocvaultError]] = {
    error.code: error
    for error in (
        CorruptFile,
        DigestMismatch,
        MalwareDetected,
        PasswordProtected,
        UnsupportedMediaType,
        WrongExtension,
    )
}


@dataclass(frozen=True, slots=True)
class SessionUrls:
    """The URLs of the request that creates a session, as the client sees this service."""

    service_url: str
    collection_path: str


async def create_session(
    resources: Resources,
    context: RequestContext,
    target: SaveTarget,
    document: Document,
    data: UploadCreate,
    urls: SessionUrls,
) -> StoredResponse:
    """Create a session for a file; return the response, which holds the signed URL.

    `document` is one that the actor may write to. Raises what an upload raises before its bytes
    are inspected, and `TooManyUploads`.
    """
    filename = _check_declared(document, data, resources.settings)
    customer = target.customer
    reservation = new_reservation(customer.id, data.size_bytes, data.sha256)
    signed = await resources.store.presign_put(
        reservation.key, data.size_bytes, data.sha256, int(SESSION_LIFETIME.total_seconds())
    )
    async with resources.transaction(context) as uow:
        # Exclusively, so that the count is exact.
        await lock_customer(uow, customer.id, exclusively=True)
        if await uow.blobs.count_pending(customer.id) >= MAX_PENDING_UPLOADS:
            raise TooManyUploads
        await quotas.reserve(uow, [reservation], SESSION_LIFETIME + BYTES_MARGIN)
        session = await uow.upload_sessions.add(
            customer_id=customer.id,
            document_type_id=document.type.id,
            blob_id=reservation.id,
            filename=filename,
            field_values=data.field_values,
            appends=data.append,
            created_by=context.actor,
        )
        await uow.audit(AuditAction.UPLOAD_CREATE, customer=customer, document_type=target.key)
        request = signed or _direct_upload(context, session, urls.service_url)
        response = _created_response(target, session, request, urls)
        claim = target.claim
        await store_response(uow, claim.completion(response, customer.id) if claim else None)
    return response


def _created_response(
    target: SaveTarget, session: UploadSession, request: SignedRequest, urls: SessionUrls
) -> StoredResponse:
    return StoredResponse(
        target.claim.fingerprint if target.claim else b"",
        201,
        {"location": f"{urls.collection_path}/{session.id}"},
        render(present_created_upload(session, request.url, request.headers)),
    )


def _direct_upload(
    context: RequestContext, session: UploadSession, service_url: str
) -> SignedRequest:
    """Return the request that sends the bytes to this service (`api/direct_uploads.py`)."""
    url = f"{service_url}/uploads/{context.keyring.upload_token(session.id)}"
    return SignedRequest(url, {"Content-Length": str(session.size_bytes)})


async def read_session(uow: UnitOfWork, target: SaveTarget, session_id: UUID) -> UploadSession:
    """Return a session of the actor; raises `DocumentTypeNotFound` or `NotFound`."""
    await get_document(uow, target.customer, target.key)
    return await _find_session(uow, target, session_id)


async def _find_session(uow: UnitOfWork, target: SaveTarget, session_id: UUID) -> UploadSession:
    session = await uow.upload_sessions.find(target.customer.id, target.key, session_id)
    if session is None or not session.belongs_to(uow.context.actor):
        raise NotFound
    _require_not_infected(session)
    return session


def _require_not_infected(session: UploadSession) -> None:
    """Raise `NotFound` if infected bytes have ended the session."""
    if session.refusal is not None and session.refusal.code == MalwareDetected.code:
        raise NotFound


async def delete_session(uow: UnitOfWork, target: SaveTarget, session_id: UUID) -> None:
    """Cancel an upload; a document that was completed from it stays.

    The bytes are deleted when the reservation expires, not now: until then the signed URL could
    write them again.
    """
    session = await read_session(uow, target, session_id)
    await uow.upload_sessions.delete(session.id)
    await uow.audit(AuditAction.UPLOAD_DELETE, customer=target.customer, document_type=target.key)


async def complete_session(
    resources: Resources, context: RequestContext, target: SaveTarget, session_id: UUID
) -> SavedDocument:
    """Make the uploaded bytes the current version of the document.

    Completing again changes nothing and returns the current document. Raises `NotFound`,
    `UploadExpired`, `UploadNotComplete`, and what an upload raises; infected bytes end the
    session.
    """
    async with resources.transaction(context) as uow:
        # The document before the session: if that is still open, it is not in this document yet.
        document = await authorize_write(uow, target.customer, target.key)
        session = await _find_session(uow, target, session_id)
        if session.state is UploadSessionState.COMPLETED:
            document = await get_document(uow, target.customer, target.key)
            await release_claim(uow, target.claim)
            return saved_document(document, context, created=False)
    _require_open(session)
    # Cheap checks come before the bytes are read. They are repeated under locks.
    check_preconditions(target.preconditions, document, context)
    check_size(document.type, session.size_bytes, resources.settings, pointer=None)
    merge_values(document.type, document.field_values, session.field_values)
    file = await _checked_file(resources, context, target.customer.id, document.type, session)
    attachment = Attachment(
        target, [file], session.field_values, session_id=session.id, appends=session.appends
    )
    try:
        return await attach_files(resources, context, attachment)
    except SessionClosed:
        # The state is terminal now, so this recursion happens at most once.
        return await complete_session(resources, context, target, session_id)


async def expected_bytes(resources: Resources, token: str) -> UploadSession:
    """Return the session whose bytes the holder of an upload token may send.

    Raises `NotFound`, `UploadExpired`, and `PreconditionFailed` if they were sent already.
    """
    session_id = resources.keyring.session_of(token)
    if session_id is None:
        raise NotFound
    async with resources.transaction(resources.system_context()) as uow:
        session = await uow.upload_sessions.get(session_id)
    if session is None:
        raise NotFound
    _require_not_infected(session)
    if session.state is UploadSessionState.COMPLETED or session.refusal is not None:
        raise PreconditionFailed("The bytes were already uploaded.")
    _require_open(session)
    return session


async def store_expected(resources: Resources, token: str, spooled: SpoolFile) -> None:
    """Store the bytes of a session; raises `DigestMismatch` and as `expected_bytes`."""
    # Checked again: the session may have ended while the bytes arrived.
    session = await expected_bytes(resources, token)
    if spooled.size_bytes != session.size_bytes or spooled.sha256 != session.sha256:
        raise DigestMismatch
    try:
        await resources.store.put(session.blob_key, spooled.path)
    except BlobExists:
        raise PreconditionFailed("The bytes were already uploaded.") from None


def _check_declared(document: Document, data: UploadCreate, settings: Settings) -> str:
    """Raise now what completing would raise; return the name to store."""
    if data.size_bytes == 0:
        raise EmptyFile(pointer="/size_bytes")
    check_size(document.type, data.size_bytes, settings, pointer="/size_bytes")
    if data.append and document.version:
        check_number(document.type, len(document.version.files) + 1, pointer="/append")
    merge_values(document.type, document.field_values, data.field_values)
    return check_filename(data.filename, pointer="/filename")


def _require_open(session: UploadSession) -> None:
    if session.state is UploadSessionState.EXPIRED:
        raise UploadExpired


async def _checked_file(
    resources: Resources,
    context: RequestContext,
    customer_id: UUID,
    document_type: DocumentType,
    session: UploadSession,
) -> NewFile:
    """Return the file to attach; a refusal of its bytes is stored, or ends the session."""
    _require_not_refused(session)
    try:
        return await _check_bytes(resources, customer_id, document_type, session)
    except tuple(_LASTING.values()) as error:
        await _refuse(resources, context, session, error)
        raise


async def _refuse(
    resources: Resources, context: RequestContext, session: UploadSession, error: DocvaultError
) -> None:
    """Record the refusal, and queue the deletion of the bytes if no more can arrive.

    A presigned URL would accept them again, so they stay until it has certainly expired.
    """
    refusal = BytesRefusal(error.code, error.detail, error.members)
    async with resources.transaction(context) as uow:
        await uow.upload_sessions.refuse(session.id, refusal)
        if not resources.store.supports_presigned_urls:
            await uow.blobs.queue_refused(session.blob_id)
            await uow.jobs.defer(JobName.DELETE_BLOBS)


async def _check_bytes(
    resources: Resources,
    customer_id: UUID,
    document_type: DocumentType,
    session: UploadSession,
) -> NewFile:
    """Return the file to attach once its bytes match the declaration and are accepted."""
    reader = await _open(resources, session)
    try:
        _require_unencoded(reader)
        if reader.size_bytes != session.size_bytes or await digest_of(reader) != session.sha256:
            raise DigestMismatch
        inspection = inspect_stored(resources.inspectors, customer_id, reader, session.filename)
        content = await check_content(document_type, inspection, pointer=None)
        return _new_file(session, content, await scan_stored(resources, reader))
    finally:
        await reader.close()


def _require_not_refused(session: UploadSession) -> None:
    """Raise a stored refusal again: the bytes cannot have changed."""
    refusal = session.refusal
    if refusal is not None:
        raise _LASTING[refusal.code](refusal.detail, members=refusal.members)


def _require_unencoded(reader: BlobReader) -> None:
    """Raise for bytes that a client of the store would decode before using them."""
    if reader.content_encoding != IDENTITY:
        raise DigestMismatch("The bytes were sent with a Content-Encoding. Send them without one.")


async def _open(resources: Resources, session: UploadSession) -> BlobReader:
    try:
        return await resources.store.open(session.blob_key)
    except BlobMissing:
        raise UploadNotComplete from None


def _new_file(session: UploadSession, content: Content, scan: ScanVerdict) -> NewFile:
    return NewFile(
        blob_id=session.blob_id,
        number=1,
        filename=named_after_type(session.filename, content.media_type),
        media_type=content.media_type,
        size_bytes=session.size_bytes,
        sha256=session.sha256,
        has_active_content=content.has_active_content,
        has_attachments=content.has_attachments,
        needs_password=content.needs_password,
        pages=content.pages,
        scan=scan.state,
        scanned_with=scan.scanned_with,
    )
