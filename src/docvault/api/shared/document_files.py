"""Adding a file to a document and removing one, in the same way for all three APIs."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel

from docvault.api.http.parameters import DocumentTypeKey
from docvault.api.http.uploads import receive_submission
from docvault.api.routing.operation import NoBody, Upload, operation
from docvault.api.routing.requests import DocumentRequest
from docvault.api.routing.route import GuardedRoute
from docvault.api.shared.documents import (
    UPLOAD_ERRORS,
    save_target,
    save_upload,
    saved_response,
)
from docvault.domain.audit import AuditAction
from docvault.domain.scopes import Scope
from docvault.errors import FileNotFound, FileRequired, QuotaExceeded
from docvault.schemas.document_types import MAX_FILES
from docvault.services.document_files import remove_file

FILE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {"$ref": "#/components/schemas/FileUpload"},
                "encoding": {"field_values": {"contentType": "application/json"}},
            }
        },
    }
}
FileNumber = Annotated[int, Path(ge=1, le=MAX_FILES, description="The number of the file, from 1.")]


def document_files_router(
    route_class: type[GuardedRoute],
    document_path: str,
    *,
    document_model: type[BaseModel],
    scope: Scope | None = None,
) -> APIRouter:
    """Return the operations on single files of one API, below the path of a document."""
    router = APIRouter(route_class=route_class, prefix=f"{document_path}/files")
    _add_add(router, route_class.api.name, scope, document_model)
    _add_remove(router, route_class.api.name, scope, document_model)
    return router


def _add_add(
    router: APIRouter, api: str, scope: Scope | None, document_model: type[BaseModel]
) -> None:
    @router.post(
        "",
        response_model=document_model,
        status_code=201,
        summary="Add a file to a document",
        operation_id=f"{api}_add_file",
        openapi_extra=FILE_BODY,
    )
    @operation(
        Upload(
            AuditAction.DOCUMENT_UPLOAD,
            scope=scope,
            idempotent=True,
            conditions=("If-Match",),
            errors=UPLOAD_ERRORS,
        )
    )
    async def add(request: DocumentRequest) -> Response:
        """Add one file after the present ones, as a new version, up to `max_files`.

        The present files need not be sent again. With `PUT`, the files sent replace them all.
        """
        async with receive_submission(request, appends=True) as submission:
            return await save_upload(request, submission)


def _add_remove(
    router: APIRouter, api: str, scope: Scope | None, document_model: type[BaseModel]
) -> None:
    @router.delete(
        "/{number}",
        response_model=document_model,
        summary="Remove a file from a document",
        operation_id=f"{api}_remove_file",
    )
    @operation(
        NoBody(
            AuditAction.DOCUMENT_REMOVE_FILE,
            scope=scope,
            in_transaction=False,
            conditions=("If-Match",),
            errors=(FileNotFound, FileRequired, QuotaExceeded),
        )
    )
    async def remove(
        request: DocumentRequest, key: DocumentTypeKey, number: FileNumber
    ) -> Response:
        """Remove one of several files, as a new version; the files after it move up.

        Send `If-Match`, because the numbers change. The only file cannot be removed.
        """
        target = save_target(request, key)
        return saved_response(await remove_file(request.resources, request.context, target, number))
