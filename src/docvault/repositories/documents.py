"""SQL about documents: slots, versions and files."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    and_,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql
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
from docvault.repositories.base import Repository
from docvault.repositories.document_types import DocumentTypeRepository, type_facts
from docvault.rules.scans import ScanState
from docvault.rules.slots import FileFacts, Slot, TypePosition, VersionFacts


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to attach; its bytes are in a pending blob."""

    blob_id: UUID
    number: int
    filename: str
    media_type: str
    size_bytes: int
    sha256: str
    has_active_content: bool
    scan: ScanState
    scanned_with: str | None


@dataclass(frozen=True, slots=True)
class LockedDocument:
    """A slot's row, locked until the transaction ends."""

    id: UUID
    last_version: int
    current_version_id: UUID | None
    field_values: dict[str, str]


_SlotsQuery = Select[DocumentType, dict[str, str], DocumentVersion]


class DocumentRepository(Repository):
    """The slots of customers."""

    async def slots(
        self,
        customer_id: UUID,
        *,
        key: str | None = None,
        with_archived: bool = False,
        after: TypePosition | None = None,
        limit: int | None = None,
    ) -> list[Slot]:
        """Return the slots of a customer in the order of the types, empty ones included.

        Archived types show only with `with_archived`, and only while they hold a file.
        """
        query = self._slots_query(customer_id, with_archived=with_archived)
        if key is not None:
            query = query.where(DocumentType.key == key)
        if after is not None:
            place = tuple_(DocumentType.position, DocumentType.id)
            query = query.where(place > tuple_(after.position, after.id))
        rows = (await self._session.execute(query.limit(limit))).all()
        return await self._build_slots(rows)

    async def count_slots(self, customer_id: UUID, *, with_archived: bool) -> int:
        """Return how many slots `slots` would return."""
        query = self._slots_query(customer_id, with_archived=with_archived).order_by(None)
        return await self._session.scalar(select(func.count()).select_from(query.subquery())) or 0

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

    async def add_version(
        self,
        document: LockedDocument,
        *,
        version_id: UUID,
        uploaded_by_kind: str,
        uploaded_by_id: str,
        field_values: dict[str, str],
        files: Sequence[NewFile],
    ) -> int:
        """Add a version with its files, make it the current one, return its number."""
        number = document.last_version + 1
        await self._session.execute(
            insert(DocumentVersion).values(
                id=version_id,
                document_id=document.id,
                number=number,
                uploaded_by_kind=uploaded_by_kind,
                uploaded_by_id=uploaded_by_id,
                field_values=field_values,
            )
        )
        await self._session.execute(
            insert(DocumentFile),
            [
                {
                    "id": new_id(),
                    "version_id": version_id,
                    **{name: getattr(file, name) for name in NewFile.__dataclass_fields__},
                }
                for file in files
            ],
        )
        await self._session.execute(
            update(Document)
            .where(Document.id == document.id, self._reachable(Document.customer_id))
            .values(
                current_version_id=version_id,
                last_version=number,
                field_values=field_values,
                updated_at=func.clock_timestamp(),
            )
        )
        return number

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
        rows = (await self._session.scalars(query)).all()
        files = await self._files([row.id for row in rows])
        return [_version_facts(row, files[row.id]) for row in rows]

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
            select(Document.customer_id, DocumentVersion)
            .join(Document, Document.id == DocumentVersion.document_id)
            .where(DocumentVersion.id == version_id, self._reachable(Document.customer_id))
        )
        row = (await self._session.execute(query)).one_or_none()
        if row is None:
            return None
        files = await self._files([version_id])
        return row[0], _version_facts(row[1], files[version_id])

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

    def _slots_query(self, customer_id: UUID, *, with_archived: bool) -> _SlotsQuery:
        active = DocumentType.archived_at.is_(None)
        shown = or_(active, Document.current_version_id.is_not(None)) if with_archived else active
        return (
            select(DocumentType, Document.field_values, DocumentVersion)
            .outerjoin(
                Document,
                and_(
                    Document.document_type_id == DocumentType.id,
                    Document.customer_id == customer_id,
                    self._reachable(Document.customer_id),
                ),
            )
            .outerjoin(DocumentVersion, DocumentVersion.id == Document.current_version_id)
            .where(shown)
            .order_by(DocumentType.position, DocumentType.id)
            # A slot can have changed in this very transaction.
            .execution_options(populate_existing=True)
        )

    def _versions_query(self, customer_id: UUID, key: str) -> Select[DocumentVersion]:
        return (
            select(DocumentVersion)
            .join(Document, Document.id == DocumentVersion.document_id)
            .join(DocumentType, DocumentType.id == Document.document_type_id)
            .where(
                Document.customer_id == customer_id,
                DocumentType.key == key,
                self._reachable(Document.customer_id),
            )
        )

    async def _build_slots(
        self, rows: Sequence[Row[DocumentType, dict[str, str], DocumentVersion]]
    ) -> list[Slot]:
        types = DocumentTypeRepository(self._session, self._access)
        fields = await types.active_fields([row.id for row, _, _ in rows])
        files = await self._files([version.id for _, _, version in rows if version])
        return [
            Slot(
                type=type_facts(row, fields.get(row.id, ())),
                version=_version_facts(version, files[version.id]) if version else None,
                field_values=values or {},
            )
            for row, values, version in rows
        ]

    async def _files(self, version_ids: Sequence[UUID]) -> dict[UUID, tuple[FileFacts, ...]]:
        files: dict[UUID, tuple[FileFacts, ...]] = defaultdict(tuple)
        if not version_ids:
            return files
        query = (
            select(DocumentFile, Blob.key)
            .join(Blob, Blob.id == DocumentFile.blob_id)
            .where(DocumentFile.version_id.in_(version_ids))
            .order_by(DocumentFile.number)
            .execution_options(populate_existing=True)
        )
        for row, blob_key in await self._session.execute(query):
            files[row.version_id] += (_file_facts(row, blob_key),)
        return files


def _file_facts(row: DocumentFile, blob_key: str) -> FileFacts:
    return FileFacts(
        id=row.id,
        number=row.number,
        filename=row.filename,
        media_type=row.media_type,
        size_bytes=row.size_bytes,
        sha256=row.sha256,
        has_active_content=row.has_active_content,
        scan=ScanState(row.scan),
        preview_failed=row.preview_failed,
        blob_key=blob_key,
    )


def _version_facts(row: DocumentVersion, files: tuple[FileFacts, ...]) -> VersionFacts:
    return VersionFacts(
        id=row.id,
        number=row.number,
        uploaded_at=row.uploaded_at,
        uploaded_by_kind=row.uploaded_by_kind,
        uploaded_by_id=row.uploaded_by_id,
        field_values=row.field_values,
        files=files,
    )
