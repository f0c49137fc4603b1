"""Upload sessions: announce a file, send its bytes by a signed URL, complete (D1 to D6).

The bytes go to the store itself, or where it has no clients of its own to our own address.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from docvault.auth.keyring import Keyring
from docvault.auth.principals import Access
from docvault.errors import (
    DigestMismatch,
    EmptyFile,
    MalwareDetected,
    NotFound,
    PreconditionFailed,
    TooManyUploads,
    UploadExpired,
    UploadNotComplete,
)
from docvault.repositories.attachments import NewFile
from docvault.rules.content import Content
from docvault.rules.customers import CustomerFacts
from docvault.rules.field_values import merge_values
from docvault.rules.permissions import require_write
from docvault.rules.scans import ScanVerdict
from docvault.rules.slots import Slot, TypeFacts
from docvault.rules.upload_sessions import (
    BYTES_MARGIN,
    MAX_PENDING_UPLOADS,
    SESSION_LIFETIME,
    UploadSessionFacts,
    UploadSessionState,
)
from docvault.schemas.audit_events import AuditAction
from docvault.schemas.upload_sessions import UploadCreate
from docvault.services import quotas
from docvault.services.accepted_files import check_size
from docvault.services.attachments import (
    Attachment,
    Precondition,
    Respond,
    SessionSettled,
    attach_files,
    settle,
)
from docvault.services.blobs import new_intent
from docvault.services.customers import lock_customer
from docvault.services.documents import authorise_write, get_slot
from docvault.services.resources import Resources
from docvault.services.scans import scan_arrived
from docvault.services.stored_content import digest_of, inspect_stored
from docvault.services.uploads import check_content, check_filename
from docvault.services.work import Asker, Work
from docvault.settings import Settings
from docvault.storage.base import BlobExists, BlobMissing, BlobReader, SignedRequest
from docvault.storage.spool import SpoolFile

_Answer = TypeVar("_Answer")
RespondOpened = Callable[[Work, UploadSessionFacts, SignedRequest | None], Awaitable[_Answer]]


@dataclass(frozen=True, slots=True)
class SlotPlace:
    """The slot a session fills: whose, and of which type."""

    customer: CustomerFacts
    key: str


async def open_session(
    resources: Resources,
    asker: Asker,
    place: SlotPlace,
    data: UploadCreate,
    respond: RespondOpened[_Answer],
) -> _Answer:
    """Announce a file; return what `respond` makes of the session inside the transaction.

    `respond` gets the store's own signed request; without one the bytes come to us. Raises what
    an upload to the slot raises before its bytes are looked at, and `TooManyUploads`.
    """
    async with resources.unit(asker.access) as unit:
        slot = await authorise_write(asker.work(unit), place.customer, place.key)
    filename = _check_announced(slot, data, resources.settings)
    intent = new_intent(place.customer.id, data.size_bytes, data.sha256)
    signed = await resources.store.presign_put(
        intent.key, data.size_bytes, data.sha256, int(SESSION_LIFETIME.total_seconds())
    )
    async with resources.unit(asker.access) as unit:
        work = asker.work(unit)
        # Alone, so that the count is exact.
        await lock_customer(unit, place.customer.id, exclusively=True)
        if await unit.blobs.count_pending(place.customer.id) >= MAX_PENDING_UPLOADS:
            raise TooManyUploads
        lifetime = SESSION_LIFETIME + BYTES_MARGIN
        await quotas.announce(unit, resources.settings, [intent], lifetime)
        session = await unit.upload_sessions.add(
            customer_id=place.customer.id,
            document_type_id=slot.type.id,
            blob_id=intent.id,
            filename=filename,
            field_values=data.field_values,
            created_by=work.caller,
        )
        await work.record(
            AuditAction.UPLOAD_CREATE, customer=place.customer, document_type=place.key
        )
        return await respond(work, session, signed)


async def read_session(work: Work, place: SlotPlace, session_id: UUID) -> UploadSessionFacts:
    """Return a session of the caller's own; raises `DocumentTypeUnknown` or `NotFound`."""
    await get_slot(work, place.customer, place.key)
    session = await work.unit.upload_sessions.find(place.customer.id, place.key, session_id)
    if session is None or not session.belongs_to(work.caller):
        raise NotFound
    return session


async def delete_session(work: Work, place: SlotPlace, session_id: UUID) -> None:
    """Give a session up; a document it became stays.

    The bytes go when the blob expires, not now: until then a signed URL could write them anew.
    """
    session = await read_session(work, place, session_id)
    await work.unit.upload_sessions.delete(session.id)
    await work.record(AuditAction.UPLOAD_DELETE, customer=place.customer, document_type=place.key)


async def complete_session(
    resources: Resources,
    asker: Asker,
    place: SlotPlace,
    session_id: UUID,
    *,
    precondition: Precondition,
    respond: Respond[_Answer],
) -> _Answer:
    """Make the bytes that came a version of the document; see `uploads.store_submission`.

    Completing again changes nothing and answers with the document as it is. Raises `NotFound`,
    `UploadExpired`, `UploadNotComplete`, and what an upload raises; infected bytes end the session.
    """
    async with resources.unit(asker.access) as unit:
        work = asker.work(unit)
        session = await read_session(work, place, session_id)
        slot = await get_slot(work, place.customer, place.key)
        require_write(work.caller, slot.type)
        if session.state is UploadSessionState.COMPLETED:
            return await settle(work, respond(slot, False))
    _require_open(session)
    try:
        file = await _check_arrived(resources, slot.type, session)
    except MalwareDetected:
        # Nobody may try it again; the bytes go when their blob expires.
        async with resources.unit(asker.access) as unit:
            await unit.upload_sessions.delete(session.id)
        raise
    attachment = Attachment(
        place.customer,
        place.key,
        [file],
        session.field_values,
        precondition,
        session_id=session.id,
    )
    try:
        return await attach_files(resources, asker, attachment, respond)
    except SessionSettled:
        # It is completed, deleted or expired now, and stays so: this does not come back here.
        return await complete_session(
            resources, asker, place, session_id, precondition=precondition, respond=respond
        )


async def expected_bytes(resources: Resources, token: str) -> UploadSessionFacts:
    """Return the session whose bytes the holder of an upload token may send.

    Raises `NotFound`, `UploadExpired`, and `PreconditionFailed` when the bytes are here.
    """
    session_id = resources.keyring.session_of(token)
    if session_id is None:
        raise NotFound
    async with resources.unit(Access.everyone()) as unit:
        session = await unit.upload_sessions.get(session_id)
    if session is None:
        raise NotFound
    if session.state is UploadSessionState.COMPLETED:
        raise PreconditionFailed("The bytes are here already.")
    _require_open(session)
    return session


async def store_expected(resources: Resources, token: str, spooled: SpoolFile) -> None:
    """Store the bytes of a session; raises `DigestMismatch` and as `expected_bytes`."""
    # Again, for the session may have ended while the bytes arrived.
    session = await expected_bytes(resources, token)
    if spooled.size_bytes != session.size_bytes or spooled.sha256 != session.sha256:
        raise DigestMismatch
    try:
        await resources.store.put(session.blob_key, spooled.path)
    except BlobExists:
        raise PreconditionFailed("The bytes are here already.") from None


def upload_token(keyring: Keyring, session: UploadSessionFacts) -> str:
    """Return the last segment of our own signed URL."""
    return keyring.upload_token(session.id)


def _check_announced(slot: Slot, data: UploadCreate, settings: Settings) -> str:
    """Refuse now what completing would refuse; return the name to store."""
    if data.size_bytes == 0:
        raise EmptyFile(pointer="/size_bytes")
    check_size(slot.type, data.size_bytes, settings, pointer="/size_bytes")
    merge_values(slot.type, slot.field_values, data.field_values)
    return check_filename(data.filename, pointer="/filename")


def _require_open(session: UploadSessionFacts) -> None:
    if session.state is UploadSessionState.EXPIRED:
        raise UploadExpired


async def _check_arrived(
    resources: Resources, document_type: TypeFacts, session: UploadSessionFacts
) -> NewFile:
    """Return the file to attach, once its bytes are known to be those announced, and good."""
    check_size(document_type, session.size_bytes, resources.settings, pointer=None)
    reader = await _open(resources, session)
    try:
        if reader.size_bytes != session.size_bytes or await digest_of(reader) != session.sha256:
            raise DigestMismatch
        inspection = inspect_stored(reader, session.filename)
        content = await check_content(document_type, inspection, pointer=None)
        return _new_file(session, content, await scan_arrived(resources, reader))
    finally:
        await reader.close()


async def _open(resources: Resources, session: UploadSessionFacts) -> BlobReader:
    try:
        return await resources.store.open(session.blob_key)
    except BlobMissing:
        raise UploadNotComplete from None


def _new_file(session: UploadSessionFacts, content: Content, scan: ScanVerdict) -> NewFile:
    return NewFile(
        blob_id=session.blob_id,
        number=1,
        filename=session.filename,
        media_type=content.media_type,
        size_bytes=session.size_bytes,
        sha256=session.sha256,
        has_active_content=content.has_active_content,
        scan=scan.state,
        scanned_with=scan.scanned_with,
    )
