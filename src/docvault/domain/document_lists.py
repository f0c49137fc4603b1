"""Documents of many customers in one list, and its filters."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from docvault.domain.document_status import Status
from docvault.domain.documents import Document


@dataclass(frozen=True, slots=True)
class DocumentFilter:
    """Filters of a list of documents, combined with AND."""

    document_type_id: UUID | None = None
    # Not `missing`: only documents with a file are listed.
    status: Status | None = None
    uploaded_by: str | None = None
    uploaded_since: datetime | None = None
    customer: str | None = None
    with_archived: bool = False


@dataclass(frozen=True, slots=True)
class ListedDocument:
    """A document with a file, and the id of its customer."""

    customer_id: str
    document: Document
    # The position after which the next page starts.
    version_id: UUID
