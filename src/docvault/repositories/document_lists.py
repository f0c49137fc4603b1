"""The list of documents across customers; see decision 0073.

Documents are listed in the order of their current versions, whose ids are ordered by time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final
from uuid import UUID

from docvault.db.prepared_statements import PreparedStatement
from docvault.domain.document_lists import DocumentFilter, ListedDocument
from docvault.domain.document_status import Status
from docvault.repositories.base import Repository
from docvault.repositories.documents import to_document
from docvault.repositories.records import DocumentRecord
from docvault.repositories.sql import load_statement, read_sql

# Documents with the same type, kind of uploader and filled fields are a group. Up to this many
# groups are searched, which takes a few milliseconds; beyond, documents are read in order until
# the page is full.
MAX_GROUPS: Final = 1000
# Limits that the planner knows. With a parameter it would plan for a tenth of all documents.
_PAGE_SIZES: Final = (26, 101)
_LAST_ID: Final = UUID(int=2**128 - 1)
# More than passes between the creation of a version's id and the time of its upload.
_LATEST: Final = timedelta(minutes=5)


@dataclass
class _ListedDocumentRecord(DocumentRecord):
    external_id: str


class DocumentListRepository(Repository):
    """Documents with a file, across customers."""

    async def list_page(
        self, filter_: DocumentFilter, *, before: UUID | None, limit: int
    ) -> Sequence[ListedDocument]:
        """Return up to `limit` documents, at most 101, newest first."""
        parameters = page_parameters(filter_, before, limit)
        parameters["reachable_id"] = self._access.customer_id
        rows = await self._rows(page_statement(filter_, limit), parameters)
        return [ListedDocument(row.external_id, to_document(row), row.version_id) for row in rows]


def page_statement(filter_: DocumentFilter, limit: int) -> PreparedStatement[_ListedDocumentRecord]:
    """Return the statement for the first documents of a filter, at most `limit`."""
    page_size = next(size for size in _PAGE_SIZES if limit <= size)
    has_start = filter_.uploaded_since is not None
    return _statement(_conditions(filter_), _plan(filter_), page_size, has_start)


def page_parameters(filter_: DocumentFilter, before: UUID | None, limit: int) -> dict[str, Any]:
    """Return the parameters of `page_statement`, except for the access."""
    return {
        "document_type_id": filter_.document_type_id,
        "is_incomplete": filter_.status is Status.INCOMPLETE,
        "uploaded_by": filter_.uploaded_by,
        "uploaded_since": filter_.uploaded_since,
        "first_id": _first_id(filter_.uploaded_since),
        "customer": filter_.customer,
        "before": before or _LAST_ID,
        "limit": limit,
    }


def _plan(filter_: DocumentFilter) -> str:
    """Return where the documents of a page are looked for: a file of `sql/candidates`."""
    is_one_customer = filter_.customer is not None
    is_everything = filter_.with_archived and not _conditions(filter_)
    return "documents_in_order" if is_one_customer or is_everything else "documents_by_group"


def _conditions(filter_: DocumentFilter) -> tuple[str, ...]:
    """Return the conditions of a filter that hold for all documents of a group or for none.

    And the customer, which is only combined with documents in order.
    """
    conditions = {
        "of_type": filter_.document_type_id is not None,
        "of_uploader": filter_.uploaded_by is not None,
        "of_status": filter_.status is not None,
        "of_active_type": not filter_.with_archived,
        "of_customer": filter_.customer is not None,
    }
    return tuple(name for name, is_needed in conditions.items() if is_needed)


@cache
def _statement(
    conditions: tuple[str, ...], plan: str, page_size: int, has_start: bool
) -> PreparedStatement[_ListedDocumentRecord]:
    parts = {
        "conditions": " AND ".join(_CONDITIONS[name] for name in conditions) or "true",
        "of_type": _CONDITIONS["of_type"] if "of_type" in conditions else "true",
        "is_next_group": _NEXT_OF_TYPE if "of_type" in conditions else _NEXT_GROUP,
        "is_since": _IS_SINCE if has_start else "true",
        "page_size": str(page_size),
        "max_groups": str(MAX_GROUPS),
    }
    groups = read_sql("fragments/document_groups", **parts)
    return load_statement(
        "list_documents",
        _ListedDocumentRecord,
        before_candidates=groups if plan == "documents_by_group" else "",
        candidates=read_sql(f"candidates/{plan}", **parts),
        **parts,
    )


# With a condition for the type beside it, the comparison of all three would not limit the scan of
# the index: it would read all documents of the type.
_NEXT_OF_TYPE = """documents.document_type_id = %(document_type_id)s::uuid
    AND (uploaded_by_kind, filled_fields(field_values)) > (groups.uploaded_by_kind, groups.filled)
"""
_NEXT_GROUP = """(document_type_id, uploaded_by_kind, filled_fields(field_values))
    > (groups.document_type_id, groups.uploaded_by_kind, groups.filled)
"""
# Sub-selects: a join could be planned to read whole tables.
_IS_SINCE = """(
    SELECT uploaded_at >= %(uploaded_since)s::timestamptz FROM document_versions
    WHERE document_versions.id = documents.current_version_id
)"""
_CONDITIONS = {
    "of_type": "documents.document_type_id = %(document_type_id)s::uuid",
    "of_uploader": "documents.uploaded_by_kind = %(uploaded_by)s::text",
    "of_status": f"({read_sql('fragments/lacks_values')}) = %(is_incomplete)s::boolean",
    "of_active_type": """(
        SELECT archived_at IS NULL FROM document_types
        WHERE document_types.id = documents.document_type_id
    )""",
    "of_customer": """documents.customer_id = (
        SELECT id FROM customers WHERE external_id = %(customer)s::text
    )""",
}


def _first_id(since: datetime | None) -> UUID:
    """Return an id below those of all versions that were uploaded since then."""
    if since is None:
        return UUID(int=0)
    seconds = (since - datetime(1970, 1, 1, tzinfo=UTC) - _LATEST).total_seconds()
    # The first 48 bits of a UUIDv7 are milliseconds since 1970.
    return UUID(int=max(0, int(seconds * 1000)) << 80)
