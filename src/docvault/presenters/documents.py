"""Documents, as their reader may see them."""

from collections.abc import Sequence
from typing import Any, cast

from docvault.context import RequestContext
from docvault.domain.actors import Staff
from docvault.domain.document_lists import ListedDocument
from docvault.domain.document_status import status, upload_state
from docvault.domain.documents import Document, DocumentVersion, StoredFile
from docvault.domain.permissions import may_delete, may_edit_fields, may_write
from docvault.domain.previews import can_preview
from docvault.presenters.document_types import present_requested_type
from docvault.presenters.representation import represent
from docvault.schemas.documents import (
    AdminDocumentItem,
    AdminDocumentPage,
    AdminDocumentRead,
    AdminListedDocumentPage,
    AdminListedDocumentRead,
    AdminUploader,
    DocumentItem,
    DocumentPage,
    DocumentRead,
    DocumentVersionRead,
    FileRead,
    ListedDocumentPage,
    ListedDocumentRead,
    Uploader,
    UploaderKind,
)


def present_document(
    document: Document, context: RequestContext
) -> DocumentRead | AdminDocumentRead:
    """Present a document for the actor; only staff see which person uploaded it."""
    if isinstance(context.actor, Staff):
        return _present_for_staff(document, context)
    return present_public_document(document, context)


def present_public_document(document: Document, context: RequestContext) -> DocumentRead:
    """Present a document for customers and integrations."""
    version = document.version
    uploader = Uploader(kind=_kind(version)) if version else None
    return DocumentRead(**_common_members(document, context), uploaded_by=uploader)


def present_document_page(
    documents: Sequence[Document], context: RequestContext, next_cursor: str | None
) -> DocumentPage | AdminDocumentPage:
    """Present one page of a customer's documents for the actor."""
    if isinstance(context.actor, Staff):
        for_staff = [
            AdminDocumentItem(**_item_members(_present_for_staff(document, context)))
            for document in documents
        ]
        return AdminDocumentPage(items=for_staff, next_cursor=next_cursor)
    items = [
        DocumentItem(**_item_members(present_public_document(document, context)))
        for document in documents
    ]
    return DocumentPage(items=items, next_cursor=next_cursor)


def present_listed_documents(
    listed: Sequence[ListedDocument], context: RequestContext, next_cursor: str | None
) -> ListedDocumentPage | AdminListedDocumentPage:
    """Present one page of the documents of all customers for the actor."""
    if isinstance(context.actor, Staff):
        for_staff = [
            AdminListedDocumentRead(
                **_item_members(_present_for_staff(one.document, context)),
                customer_id=one.customer_id,
            )
            for one in listed
        ]
        return AdminListedDocumentPage(items=for_staff, next_cursor=next_cursor)
    items = [
        ListedDocumentRead(
            **_item_members(present_public_document(one.document, context)),
            customer_id=one.customer_id,
        )
        for one in listed
    ]
    return ListedDocumentPage(items=items, next_cursor=next_cursor)


def present_version(version: DocumentVersion, current: int) -> DocumentVersionRead:
    """Present a version for staff; `current` is the number of the current one."""
    return DocumentVersionRead(
        version=version.number,
        uploaded_at=version.uploaded_at,
        uploaded_by=_admin_uploader(version),
        files=[_present_file(file) for file in version.files],
        field_values=dict(version.field_values),
        is_current=version.number == current,
    )


def _present_for_staff(document: Document, context: RequestContext) -> AdminDocumentRead:
    uploader = _admin_uploader(document.version) if document.version else None
    return AdminDocumentRead(**_common_members(document, context), uploaded_by=uploader)


def _item_members(document: DocumentRead | AdminDocumentRead) -> dict[str, Any]:
    """Return the members of a document in a list, with the entity tag that it has alone."""
    return {**dict(document), "etag": represent(document).etag}


def _common_members(document: Document, context: RequestContext) -> dict[str, Any]:
    version = document.version
    return {
        "type": present_requested_type(document.type, context.settings),
        "upload_state": upload_state(document),
        "status": status(document),
        "version": version.number if version else 0,
        "uploaded_at": version.uploaded_at if version else None,
        "files": [_present_file(file) for file in version.files] if version else [],
        "field_values": document.shown_values,
        "can_upload": may_write(context.actor, document.type),
        "can_edit_fields": may_edit_fields(context.actor, document),
        "can_delete": may_delete(
            context.actor, document, customer_may_delete=context.customer_may_delete
        ),
    }


def _present_file(file: StoredFile) -> FileRead:
    return FileRead(
        number=file.number,
        filename=file.filename,
        media_type=file.media_type,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        has_preview=can_preview(file),
        has_active_content=file.has_active_content,
        has_attachments=file.has_attachments,
        needs_password=file.needs_password,
        pages=file.pages,
        scan=file.scan,
    )


def _kind(version: DocumentVersion) -> UploaderKind:
    return cast("UploaderKind", version.uploaded_by_kind)


def _admin_uploader(version: DocumentVersion) -> AdminUploader:
    return AdminUploader(kind=_kind(version), id=version.uploaded_by_id)
