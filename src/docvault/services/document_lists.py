"""The list of documents across customers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from docvault.domain.actors import Staff
from docvault.domain.document_lists import DocumentFilter, ListedDocument
from docvault.domain.document_status import Status
from docvault.errors import ErrorDetail, UnknownFilterType
from docvault.repositories.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class DocumentQuery:
    """The filters of a list of documents; the document type is named by its key."""

    document_type: str | None = None
    status: Status | None = None
    uploaded_by: str | None = None
    uploaded_since: datetime | None = None
    customer: str | None = None


async def list_documents(
    uow: UnitOfWork, query: DocumentQuery, *, before: UUID | None, limit: int
) -> Sequence[ListedDocument]:
    """Return up to `limit` documents with a file, newest first; raises `UnknownFilterType`."""
    filter_ = DocumentFilter(
        document_type_id=await _find_type(uow, query.document_type),
        status=query.status,
        uploaded_by=query.uploaded_by,
        uploaded_since=query.uploaded_since,
        customer=query.customer,
        # As in the lists of one customer's documents.
        with_archived=isinstance(uow.context.actor, Staff),
    )
    return await uow.document_lists.list_page(filter_, before=before, limit=limit)


async def _find_type(uow: UnitOfWork, key: str | None) -> UUID | None:
    if key is None:
        return None
    found = await uow.document_types.get(key)
    if found is None:
        raise UnknownFilterType(
            errors=[
                ErrorDetail(
                    UnknownFilterType.code, "Unknown document type.", parameter="document_type"
                )
            ]
        )
    return found.id
