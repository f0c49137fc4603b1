"""SQL about documents: slots, versions and files."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    ColumnElement,
    ScalarSelect,
    Select,
    Uuid,
    and_,
    bindparam,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.exc import IntegrityError

from docvault.errors import DocumentTypeUnknown
from docvault.models import (
    Blob,
    Document,
    DocumentFile,
    DocumentType,
    DocumentVersion,
    Preview,
    new_id,
)
from docvault.models.base import columns
from docvault.prepared_statements import PreparedStatement
from docvault.repositories.base import Repository
from docvault.repositories.document_types import TYPE_COLUMNS, type_facts
from docvault.rules.scans import ScanState
from docvault.rules.slots import FileFacts, Slot, VersionFacts


@dataclass(frozen=True, slots=True)
class LockedDocument:
    """A slot's row, locked until the transaction ends."""

    id: UUID
    last_version: int
    current_version_id: UUID | None
    field_values: dict[str, str]


_types, _documents = columns(DocumentType), columns(Document)
_versions, _files, _blobs = columns(DocumentVersion), columns(DocumentFile), columns(Blob)


def _files_of(version_id: ColumnElement[UUID]) -> ScalarSelect[Any]:
    """Return the files of a version as one JSON array, each in the order of `FileFacts`."""
    facts = func.json_build_array(
        _files.id,
        _files.number,
        _files.filename,
        _files.media_type,
        _files.size_bytes,
        _files.sha256,
        _files.has_active_content,
        _files.scan,
        _files.preview_failed,
        _blobs.key,
    )
    return (
        select(func.json_agg(aggregate_order_by(facts, _files.number), type_=JSON))
        .join(Blob.__table__, _blobs.id == _files.blob_id)
        .where(_files.version_id == version_id)
        .correlate(DocumentVersion.__table__)
        .scalar_subquery()
    )


# What a select needs for `_version_facts`, in the order of `VersionFacts`.
_VERSION_COLUMNS: tuple[ColumnElement[Any], ...] = (
    _versions.id,
    _versions.number,
    _versions.uploaded_at,
    _versions.uploaded_by_kind,
    _versions.uploaded_by_id,
    _versions.field_values,
    _files_of(_versions.id).label("files"),
)
# What a select needs for `slot_facts`.
SLOT_COLUMNS: tuple[ColumnElement[Any], ...] = (
    *TYPE_COLUMNS,
    _documents.field_values,
    _documents.last_version,
    *_VERSION_COLUMNS,
)


@cache
def _slot_statement(*, with_archived: bool) -> PreparedStatement:
    active = _types.archived_at.is_(None)
    shown = or_(active, _documents.current_version_id.is_not(None)) if with_archived else active
    mine = and_(
        _documents.document_type_id == _types.id,
        _documents.customer_id == bindparam("customer_id", type_=Uuid()),
    )
    return PreparedStatement(
        select(*SLOT_COLUMNS)
        .select_from(DocumentType.__table__)
        .outerjoin(Document.__table__, mine)
        .outerjoin(DocumentVersion.__table__, _versions.id == _documents.current_version_id)
        .where(shown, _types.key == bindparam("key"))
    )


class DocumentRepository(Repository):
    """The slots of customers."""

    async def slot(
        self, customer_id: UUID, key: str, *, with_archived: bool = False
    ) -> Slot | None:
        """Return a slot as it is now, empty or not; None when nothing of the kind is asked.

        An archived type shows only with `with_archived`, and only while it holds a file.
        """
        rows = await self._rows(
            _slot_statement(with_archived=with_archived),
            {"customer_id": self._reachable_id(customer_id), "key": key},
        )
        return slot_facts(rows[0]) if rows else None

    async def lock(self, customer_id: UUID, document_type_id: UUID) -> LockedDocument:
        """Return the slot's row, made when it is not there, for this transaction alone."""
        statement = (
            postgresql.insert(Document)
            .values(id=new_id(), customer_id=customer_id, document_type_id=document_type_id)
            .on_conflict_do_update(
                index_elements=[Document.customer_id, Document.document_type_id],
                # Writing the row to itself takes its lock whether it was there or not.
                set_={"last_version": Document.last_version},
                where=self._reachable(Document.customer_id),
            )
            .returning(
                Document.id,
                Document.last_version,
                Document.current_version_id,
                Document.field_values,
            )
        )
        try:
            return LockedDocument(*(await self._session.execute(statement)).one())
        except IntegrityError as error:
            # The type was deleted while the bytes arrived.
            raise DocumentTypeUnknown from error

    async def save_values(self, document_id: UUID, field_values: dict[str, str]) -> None:
        """Replace the field values of a slot; file, version and upload date stay (R-045)."""
        await self._session.execute(
            update(Document)
            .where(Document.id == document_id, self._reachable(Document.customer_id))
            .values(field_values=field_values, updated_at=func.clock_timestamp())
        )

    async def empty(self, document_id: UUID) -> None:
        """Make a slot missing: no current version, no values; the numbering goes on."""
        await self._session.execute(
            update(Document)
            .where(Document.id == document_id, self._reachable(Document.customer_id))
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
    ) -> list[VersionFacts]:
        """Return the stored versions of a slot, newest first."""
        query = self._versions_query(customer_id, key)
        if before is not None:
            query = query.where(DocumentVersion.number < before)
        if number is not None:
            query = query.where(DocumentVersion.number == number)
        query = query.order_by(DocumentVersion.number.desc()).limit(limit)
        return [_version_facts(row) for row in await self._session.execute(query)]

    async def count_versions(self, customer_id: UUID, key: str) -> int:
        """Return how many versions of a slot are stored."""
        query = select(func.count()).select_from(self._versions_query(customer_id, key).subquery())
        return await self._session.scalar(query) or 0

    async def remove_versions(self, document_id: UUID, *, keep: int = 0) -> list[UUID]:
        """Remove all but the newest `keep` versions; return the blobs nobody needs any more."""
        oldest = (
            select(DocumentVersion.id)
            .where(DocumentVersion.document_id == document_id)
            .order_by(DocumentVersion.number.desc())
            .offset(keep)
        )
        blob_ids = await self._blobs_of(DocumentFile.version_id.in_(oldest))
        if blob_ids:
            await self._session.execute(
                delete(DocumentVersion)
                .where(DocumentVersion.id.in_(oldest))
                .execution_options(synchronize_session=False)
            )
        return blob_ids

    async def version(self, version_id: UUID) -> tuple[UUID, VersionFacts] | None:
        """Return a version and whose it is, None when it is gone."""
        query = (
            select(Document.customer_id, *_VERSION_COLUMNS)
            .join(Document, Document.id == DocumentVersion.document_id)
            .where(DocumentVersion.id == version_id, self._reachable(Document.customer_id))
        )
        row = (await self._session.execute(query)).one_or_none()
        return None if row is None else (row[0], _version_facts(row[1:]))

    async def version_exists(self, version_id: UUID) -> bool:
        """Return whether a version was committed (D4)."""
        found = await self._session.scalar(select(exists().where(DocumentVersion.id == version_id)))
        return bool(found)

    async def _blobs_of(self, condition: ColumnElement[bool]) -> list[UUID]:
        files = (
            await self._session.execute(
                select(DocumentFile.id, DocumentFile.blob_id).where(condition)
            )
        ).all()
        if not files:
            return []
        previews = await self._session.scalars(
            select(Preview.blob_id).where(Preview.file_id.in_([file_id for file_id, _ in files]))
        )
        return [blob_id for _, blob_id in files] + list(previews)

    def _versions_query(self, customer_id: UUID, key: str) -> Select[*tuple[Any, ...]]:
        return (
            select(*_VERSION_COLUMNS)
            .join(Document, Document.id == DocumentVersion.document_id)
            .join(DocumentType, DocumentType.id == Document.document_type_id)
            .where(
                Document.customer_id == customer_id,
                DocumentType.key == key,
                self._reachable(Document.customer_id),
            )
        )


def slot_facts(row: Sequence[Any]) -> Slot:
    """Return the slot of a row of `SLOT_COLUMNS`."""
    types = len(TYPE_COLUMNS)
    field_values, last_version = row[types : types + 2]
    version = row[types + 2 :]
    return Slot(
        type=type_facts(row[:types]),
        version=None if version[0] is None else _version_facts(version),
        field_values=field_values or {},
        last_version=last_version or 0,
    )


def _version_facts(row: Sequence[Any]) -> VersionFacts:
    version_id, number, uploaded_at, kind, uploader, field_values, files = row
    facts = tuple(_file_facts(file) for file in files or ())
    return VersionFacts(version_id, number, uploaded_at, kind, uploader, field_values, facts)


def _file_facts(file: Sequence[Any]) -> FileFacts:
    file_id, number, name, media_type, size, sha256, active, scan, failed, key = file
    verdict = ScanState(scan)
    return FileFacts(
        UUID(file_id), number, name, media_type, size, sha256, active, verdict, failed, key
    )
