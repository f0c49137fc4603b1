"""The list of documents across customers, which staff and third parties share."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import Query, Response

from docvault.api.http.pagination import Cursors, cut_page
from docvault.api.http.responses import list_response
from docvault.api.routing.requests import ApiRequest
from docvault.domain.document_status import Status
from docvault.presenters.documents import present_listed_documents
from docvault.schemas.base import InputTime
from docvault.schemas.documents import UploaderKind
from docvault.services.document_lists import DocumentQuery, list_documents

DocumentTypeQuery = Annotated[
    str | None, Query(description="Only documents of the document type with this key.")
]
StatusQuery = Annotated[
    Literal[Status.INCOMPLETE, Status.ACCEPTED] | None,
    Query(description="Only documents with this status."),
]
UploadedByQuery = Annotated[
    UploaderKind | None,
    Query(description="Only documents whose current version this kind of caller uploaded."),
]
UploadedSinceQuery = Annotated[
    InputTime | None,
    Query(description="Only documents whose current version was uploaded at or after this time."),
]
CustomerQuery = Annotated[
    str | None,
    Query(min_length=1, max_length=128, description="Only documents of the customer with this id."),
]


async def document_list_page(
    request: ApiRequest, query: DocumentQuery, *, limit: int, cursor: str | None
) -> Response:
    """Return one page of the documents that match all filters."""
    cursors = Cursors.of(request, request.context.keyring)
    rows = await list_documents(
        request.uow,
        query,
        before=None if cursor is None else UUID(cursors.decode(cursor)[0]),
        # One more than requested shows whether another page follows.
        limit=limit + 1,
    )
    items, next_cursor = cut_page(rows, limit, cursors, lambda listed: [str(listed.version_id)])
    return list_response(request, present_listed_documents(items, request.context, next_cursor))
