"""SQL about documents, versions and files."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, delete, exists, func, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError

from docvault.db.tables import (
    DocumentFileRow,
    DocumentRow,
    DocumentTypeRow,
    DocumentVersionRow,
    PreviewRow,
    new_id,
)
from docvault.domain.documents import Document, DocumentVersion, StoredFile
from docvault.domain.scans import ScanState
from docvault.errors import DocumentTypeNotFound
from docvault.repositories.base import Repository
from docvault.repositories.document_types import to_document_type
from docvault.repositories.records import DocumentRecord, VersionRecord
from docvault.repositories.sql import load_statement


@dataclass
class _CustomerVersionRecord(VersionRecord):
    customer_id: UUID


_FIND = load_statement("find_document", DocumentRecord)
_LIST_VERSIONS = load_statement("list_versions", VersionRecord)
_FIND_VERSION = load_statement("find_version", _CustomerVersionRecord)


class DocumentRepository(Repository):
    """The documents of customers."""

    async def document(
        self, customer_id: UUID, key: str, *, with_archived: bool = False
    ) -> Document | None:
        """Return a document, uploaded or missing; None if there is no such type.

        An archived type is found only with `with_archived`, and only while it has a file.
        """
        rows = await self._rows(
            _FIND,
            {
                "customer_id": self._reachable_id(customer_id),
                "key": key,
                "with_archived": with_archived,
            },
        )
        return to_document(rows[0]) if rows else None

    async def lock(self, customer_id: UUID, document_type_id: UUID) -> UUID:
        """Insert the row of a document if needed and lock it until the transaction ends.

        Returns its id. Raises `DocumentTypeNotFound` if the type was deleted meanwhile.
        """
        statement = (
            postgresql.insert(DocumentRow)
            .values(id=new_id(), customer_id=customer_id, document_type_id=document_type_id)
            .on_conflict_do_update(
                index_elements=[DocumentRow.customer_id, DocumentRow.document_type_id],
                # An update that changes nothing locks the row, whether it existed or not.
                set_={"last_version": DocumentRow.last_version},
                where=self._reachable(DocumentRow.customer_id),
            )
            .returning(DocumentRow.id)
        )
        try:
            return (await self._session.execute(statement)).scalar_one()
        except IntegrityError as error:
            raise DocumentTypeNotFound from error

    async def save_values(self, document_id: UUID, field_values: dict[str, str]) -> None:
        """Replace the field values of a document; file, version and upload date stay."""
        await self._session.execute(
            update(DocumentRow)
            .where(DocumentRow.id == document_id, self._reachable(DocumentRow.customer_id))
            .values(field_values=field_values, updated_at=func.clock_timestamp())
        )

    async def value_bytes(self, customer_id: UUID) -> int:
        """Return the bytes of field values stored for a customer, copies included."""
        return await self._session.scalar(select(func.customer_value_bytes(customer_id))) or 0

    async def empty(self, document_id: UUID) -> None:
        """Make a document missing: no current version, no values. The numbering continues."""
        await self._session.execute(
            update(DocumentRow)
            .where(DocumentRow.id == document_id, self._reachable(DocumentRow.customer_id))
            .values(current_version_id=None, field_values={}, updated_at=func.clock_timestamp())
        )

    async def versions(
        self,
        customer_id: UUID,
        key: str,
        *,
        before: int | None = None,
        limit: int | None = None,
        number: int | None = None,
    ) -> list[DocumentVersion]:
        """Return the stored versions of a document, newest first."""
        rows = await self._rows(
            _LIST_VERSIONS,
            {
                "customer_id": self._reachable_id(customer_id),
                "key": key,
                "before": before,
                "number": number,
                "limit": limit,
            },
        )
        return [_to_version(row) for row in rows]

    async def count_versions(self, customer_id: UUID, key: str) -> int:
        """Return the number of stored versions of a document."""
        query = (
            select(func.count())
            .select_from(DocumentVersionRow)
            .join(DocumentRow, DocumentRow.id == DocumentVersionRow.document_id)
            .join(DocumentTypeRow, DocumentTypeRow.id == DocumentRow.document_type_id)
            .where(
                DocumentRow.customer_id == customer_id,
                DocumentTypeRow.key == key,
                self._reachable(DocumentRow.customer_id),
            )
        )
        return await self._session.scalar(query) or 0

    async def remove_versions(self, document_id: UUID, *, keep: int = 0) -> list[UUID]:
        """Remove all but the newest `keep` versions of each kind of uploader.

        Return the blobs of what was removed. Kinds are counted separately, so that
        replacements by a customer cannot displace versions of staff or an integration.
        """
        places = (
            select(
                DocumentVersionRow.id,
                func.row_number()
                .over(
                    partition_by=DocumentVersionRow.uploaded_by_kind,
                    order_by=DocumentVersionRow.number.desc(),
                )
                .label("place"),
            )
            .where(DocumentVersionRow.document_id == document_id)
            .subquery()
        )
        oldest = select(places.c.id).where(places.c.place > keep)
        blob_ids = await self._blobs_of(DocumentFileRow.version_id.in_(oldest))
        if blob_ids:
            await self._session.execute(
                delete(DocumentVersionRow)
                .where(DocumentVersionRow.id.in_(oldest))
                .execution_options(synchronize_session=False)
            )
        return blob_ids

    async def version(self, version_id: UUID) -> tuple[UUID, DocumentVersion] | None:
        """Return a version and the id of its customer."""
        rows = await self._rows(
            _FIND_VERSION, {"version_id": version_id, "reachable_id": self._access.customer_id}
        )
        return (rows[0].customer_id, _to_version(rows[0])) if rows else None

    async def version_exists(self, version_id: UUID) -> bool:
        """Return whether a version was committed (D4)."""
        found = await self._session.scalar(
            select(exists().where(DocumentVersionRow.id == version_id))
        )
        return bool(found)

    async def _blobs_of(self, condition: ColumnElement[bool]) -> list[UUID]:
        files = (
            await self._session.execute(
                select(DocumentFileRow.id, DocumentFileRow.blob_id).where(condition)
            )
        ).all()
        if not files:
            return []
        previews = await self._session.scalars(
            select(PreviewRow.blob_id).where(
                PreviewRow.file_id.in_([file_id for file_id, _ in files])
            )
        )
        return [blob_id for _, blob_id in files] + list(previews)


def to_document(record: DocumentRecord) -> Document:
    """Return the document of a record."""
    return Document(
        type=to_document_type(record),
        version=_to_version(record) if record.is_uploaded else None,
        field_values=record.document_values or {},
        last_version=record.last_version or 0,
    )


def _to_version(record: VersionRecord) -> DocumentVersion:
    return DocumentVersion(
        id=record.version_id,
        number=record.version_number,
        uploaded_at=record.uploaded_at,
        uploaded_by_kind=record.uploaded_by_kind,
        uploaded_by_id=record.uploaded_by_id,
        field_values=record.version_values,
        files=tuple(_to_file(file) for file in record.files or ()),
    )


def _to_file(file: Mapping[str, Any]) -> StoredFile:
    # Member by member: faster than passing a changed copy on as keywords.
    return StoredFile(
        UUID(file["id"]),
        file["number"],
        file["filename"],
        file["media_type"],
        file["size_bytes"],
        file["sha256"],
        file["has_active_content"],
        file["has_attachments"],
        file["needs_password"],
        file["pages"],
        ScanState(file["scan"]),
        file["preview_failed"],
        file["blob_key"],
    )
