"""Upload sessions, in the same way for all three APIs."""

from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import BaseModel

from docvault.api.http.idempotency import fingerprint_of, replay_response
from docvault.api.http.parameters import DocumentTypeKey, UploadId
from docvault.api.http.responses import JsonResponse, no_content, resource_response
from docvault.api.http.uploads import concurrent_upload_limits, upload_permit
from docvault.api.routing.operation import JsonBody, NoBody, Read, operation
from docvault.api.routing.requests import CustomerRequest, DocumentRequest
from docvault.api.routing.route import GuardedRoute
from docvault.api.shared.documents import UPDATE_ERRORS, save_target, saved_response
from docvault.domain.audit import AuditAction
from docvault.domain.scopes import Scope
from docvault.errors import (
    CorruptFile,
    DigestMismatch,
    DocumentTypeNotFound,
    DocvaultError,
    EmptyFile,
    FileTooLarge,
    MalwareDetected,
    NotFound,
    Overloaded,
    PasswordProtected,
    ScannerUnavailable,
    StorageUnavailable,
    TooManyFiles,
    TooManyUploads,
    UnsupportedMediaType,
    UploadExpired,
    UploadNotComplete,
    WrongExtension,
)
from docvault.presenters.upload_sessions import present_upload
from docvault.schemas.upload_sessions import UploadCreate, UploadCreated, UploadRead
from docvault.services import upload_sessions
from docvault.services.saved_documents import SaveTarget
from docvault.services.upload_sessions import SessionUrls

OPEN_ERRORS: tuple[type[DocvaultError], ...] = (
    *UPDATE_ERRORS,
    EmptyFile,
    FileTooLarge,
    TooManyFiles,
    TooManyUploads,
    StorageUnavailable,
)
SESSION_ERRORS: tuple[type[DocvaultError], ...] = (DocumentTypeNotFound, NotFound)
COMPLETE_ERRORS: tuple[type[DocvaultError], ...] = (
    *UPDATE_ERRORS,
    NotFound,
    UploadNotComplete,
    UploadExpired,
    FileTooLarge,
    TooManyFiles,
    UnsupportedMediaType,
    WrongExtension,
    CorruptFile,
    PasswordProtected,
    DigestMismatch,
    MalwareDetected,
    ScannerUnavailable,
    Overloaded,
    StorageUnavailable,
)


async def open_upload(request: DocumentRequest, key: str, data: UploadCreate) -> Response:
    """Create an upload session; the response says where to send its bytes."""
    created = await upload_sessions.create_session(
        request.resources,
        request.context,
        save_target(request, key),
        request.document,
        data,
        SessionUrls(request.service_url, request.url.path),
    )
    # The signed URL is a credential.
    headers = {**created.headers, "Cache-Control": "no-store"}
    return JsonResponse(created.body, created.status, headers)


async def read_upload(request: CustomerRequest, key: str, upload_id: UUID) -> Response:
    """Return the state of an upload session."""
    target = SaveTarget(request.customer, key)
    session = await upload_sessions.read_session(request.uow, target, upload_id)
    return resource_response(request, present_upload(session))


async def delete_upload(request: CustomerRequest, key: str, upload_id: UUID) -> Response:
    """Cancel an upload session."""
    target = SaveTarget(request.customer, key)
    await upload_sessions.delete_session(request.uow, target, upload_id)
    return no_content()


async def complete_upload(request: DocumentRequest, key: str, upload_id: UUID) -> Response:
    """Make the uploaded bytes the current version of the document."""
    request.fingerprint = fingerprint_of()
    replay = request.claim.replay(request.fingerprint) if request.claim else None
    if replay is not None:
        return replay_response(replay)

    async with upload_permit(request.resources, *concurrent_upload_limits(request.context.actor)):
        return saved_response(
            await upload_sessions.complete_session(
                request.resources, request.context, save_target(request, key), upload_id
            )
        )


def upload_session_router(
    route_class: type[GuardedRoute],
    document_path: str,
    *,
    document_model: type[BaseModel],
    scope: Scope | None = None,
) -> APIRouter:
    """Return the upload session endpoints of one API, below the path of a document."""
    router = APIRouter(route_class=route_class, prefix=f"{document_path}/uploads")
    _add_create(router, route_class.api.name, scope)
    _add_read(router, route_class.api.name, scope)
    _add_delete(router, route_class.api.name, scope)
    _add_complete(router, route_class.api.name, scope, document_model)
    return router


def _add_create(router: APIRouter, api: str, scope: Scope | None) -> None:
    @router.post(
        "",
        response_model=UploadCreated,
        status_code=201,
        summary="Create an upload",
        operation_id=f"{api}_create_upload",
    )
    @operation(
        JsonBody(
            AuditAction.UPLOAD_CREATE,
            scope=scope,
            in_transaction=False,
            idempotent=True,
            returns_location=True,
            errors=OPEN_ERRORS,
        )
    )
    async def create(
        request: DocumentRequest, key: DocumentTypeKey, data: UploadCreate
    ) -> Response:
        """Create an upload session and return a signed URL.

        The URL accepts exactly the file that the request declares.
        """
        return await open_upload(request, key, data)


def _add_read(router: APIRouter, api: str, scope: Scope | None) -> None:
    @router.get(
        "/{upload_id}",
        response_model=UploadRead,
        summary="Get an upload",
        operation_id=f"{api}_read_upload",
    )
    @operation(
        Read(
            AuditAction.UPLOAD_READ,
            scope=scope,
            errors=SESSION_ERRORS,
            conditions=("If-None-Match",),
        )
    )
    async def read(request: CustomerRequest, key: DocumentTypeKey, upload_id: UploadId) -> Response:
        """Get the state of an upload session that you created."""
        return await read_upload(request, key, upload_id)


def _add_delete(router: APIRouter, api: str, scope: Scope | None) -> None:
    @router.delete(
        "/{upload_id}",
        status_code=204,
        summary="Cancel an upload",
        operation_id=f"{api}_delete_upload",
    )
    @operation(NoBody(AuditAction.UPLOAD_DELETE, scope=scope, errors=SESSION_ERRORS))
    async def delete(
        request: CustomerRequest, key: DocumentTypeKey, upload_id: UploadId
    ) -> Response:
        """Delete an upload session that you created; a document it completed is kept."""
        return await delete_upload(request, key, upload_id)


def _add_complete(
    router: APIRouter,
    api: str,
    scope: Scope | None,
    document_model: type[BaseModel],
) -> None:
    @router.post(
        "/{upload_id}/complete",
        response_model=document_model,
        status_code=201,
        summary="Complete an upload",
        operation_id=f"{api}_complete_upload",
        responses={
            200: {
                "model": document_model,
                "description": "The file replaced those that the document had before.",
            }
        },
    )
    @operation(
        NoBody(
            AuditAction.DOCUMENT_UPLOAD,
            scope=scope,
            in_transaction=False,
            idempotent=True,
            conditions=("If-Match", "If-None-Match"),
            errors=COMPLETE_ERRORS,
        )
    )
    async def complete(
        request: DocumentRequest, key: DocumentTypeKey, upload_id: UploadId
    ) -> Response:
        """Attach the uploaded bytes as the current version; idempotent."""
        return await complete_upload(request, key, upload_id)
