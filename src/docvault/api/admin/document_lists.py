"""The documents of all customers, as staff see them."""

from fastapi import APIRouter, Response

from docvault.api.http.pagination import DEFAULT_LIMIT, CursorQuery, LimitQuery
from docvault.api.routing.operation import Read, operation
from docvault.api.routing.requests import ApiRequest
from docvault.api.routing.routes import AdminRoute
from docvault.api.shared.document_lists import (
    CustomerQuery,
    DocumentTypeQuery,
    StatusQuery,
    UploadedByQuery,
    UploadedSinceQuery,
    document_list_page,
)
from docvault.domain.audit import AuditAction
from docvault.errors import InvalidCursor, UnknownFilterType
from docvault.schemas.documents import AdminListedDocumentPage
from docvault.services.document_lists import DocumentQuery

router = APIRouter(route_class=AdminRoute, prefix="/v1/admin/documents")


@router.get(
    "", response_model=AdminListedDocumentPage, summary="List the documents of all customers"
)
@operation(
    Read(
        AuditAction.DOCUMENT_LIST,
        errors=(InvalidCursor, UnknownFilterType),
        conditions=("If-None-Match",),
    )
)
async def admin_list_all_documents(
    request: ApiRequest,
    document_type: DocumentTypeQuery = None,
    status: StatusQuery = None,
    uploaded_by: UploadedByQuery = None,
    uploaded_since: UploadedSinceQuery = None,
    customer: CustomerQuery = None,
    limit: LimitQuery = DEFAULT_LIMIT,
    cursor: CursorQuery = None,
) -> Response:
    """List the documents that have a file, newest upload first. Filters are combined with AND.

    Documents of archived types are included. A document that is replaced moves to the first page.
    """
    query = DocumentQuery(document_type, status, uploaded_by, uploaded_since, customer)
    return await document_list_page(request, query, limit=limit, cursor=cursor)
