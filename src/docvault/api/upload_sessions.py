"""Upload sessions: what every audience does with them; each shows the document in its own way."""

from uuid import UUID

from fastapi import Response

from docvault.api.calls import Call
from docvault.api.documents import UPDATE_ERRORS, View, check_slot, document_reply
from docvault.api.idempotency_keys import fingerprint_of, replayed, stored
from docvault.api.responses import json_response, no_content, resource_response
from docvault.errors import (
    CorruptFile,
    DigestMismatch,
    DocumentTypeUnknown,
    DocvaultError,
    EmptyFile,
    FileTooLarge,
    MalwareDetected,
    MediaTypeNotAllowed,
    NotFound,
    QuotaExceeded,
    ScannerUnavailable,
    StorageUnavailable,
    TooManyUploads,
    UploadExpired,
    UploadNotComplete,
)
from docvault.rules.upload_sessions import UploadSessionFacts
from docvault.schemas.upload_sessions import UploadCreate, UploadCreated, UploadRead
from docvault.services import upload_sessions
from docvault.services.upload_sessions import SlotPlace
from docvault.services.work import Work
from docvault.storage.base import SignedRequest

OPEN_ERRORS: tuple[type[DocvaultError], ...] = (
    *UPDATE_ERRORS,
    EmptyFile,
    FileTooLarge,
    TooManyUploads,
    QuotaExceeded,
    StorageUnavailable,
)
SESSION_ERRORS: tuple[type[DocvaultError], ...] = (DocumentTypeUnknown, NotFound)
COMPLETE_ERRORS: tuple[type[DocvaultError], ...] = (
    *UPDATE_ERRORS,
    NotFound,
    UploadNotComplete,
    UploadExpired,
    FileTooLarge,
    MediaTypeNotAllowed,
    CorruptFile,
    DigestMismatch,
    MalwareDetected,
    ScannerUnavailable,
    StorageUnavailable,
)


async def open_upload(call: Call, key: str, data: UploadCreate) -> Response:
    """Announce a file; the answer says where its bytes go."""

    async def respond(
        work: Work, session: UploadSessionFacts, signed: SignedRequest | None
    ) -> Response:
        request = signed or _own_request(call, session)
        created = UploadCreated(
            id=session.id,
            method="PUT",
            url=request.url,
            headers=request.headers,
            expires_at=session.expires_at,
        )
        location = f"{call.url.path}/{session.id}"
        # The URL is a credential.
        headers = {"Location": location, "Cache-Control": "no-store"}
        response = json_response(created, 201, headers)
        await call.complete(work, stored(call.fingerprint, response))
        return response

    return await upload_sessions.open_session(
        call.resources, call.asker, SlotPlace(call.customer, key), data, respond
    )


async def read_upload(call: Call, key: str, upload_id: UUID) -> Response:
    """Return where an upload stands."""
    place = SlotPlace(call.customer, key)
    session = await upload_sessions.read_session(call.work, place, upload_id)
    return resource_response(call, _view(session))


async def delete_upload(call: Call, key: str, upload_id: UUID) -> Response:
    """Give an upload up."""
    await upload_sessions.delete_session(call.work, SlotPlace(call.customer, key), upload_id)
    return no_content()


async def complete_upload(call: Call, key: str, upload_id: UUID, view: View) -> Response:
    """Make the bytes that came the document; 201 when the slot was empty, else 200."""
    call.fingerprint = fingerprint_of()
    replay = call.claim.replay(call.fingerprint) if call.claim else None
    if replay is not None:
        return replayed(replay)

    return await upload_sessions.complete_session(
        call.resources,
        call.asker,
        SlotPlace(call.customer, key),
        upload_id,
        precondition=lambda slot: check_slot(call, slot, view),
        respond=document_reply(call, view),
    )


def _own_request(call: Call, session: UploadSessionFacts) -> SignedRequest:
    """Return the request that brings the bytes to `api/signed_uploads.py`."""
    base = call.resources.settings.public_url or str(call.base_url).rstrip("/")
    token = upload_sessions.upload_token(call.resources.keyring, session)
    return SignedRequest(f"{base}/uploads/{token}", {"Content-Length": str(session.size_bytes)})


def _view(session: UploadSessionFacts) -> UploadRead:
    return UploadRead(
        id=session.id,
        state=session.state.value,
        filename=session.filename,
        size_bytes=session.size_bytes,
        sha256=session.sha256,
        expires_at=session.expires_at,
    )
