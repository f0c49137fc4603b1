"""SQL about document types and their fields."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Select, delete, exists, func, or_, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from docvault.errors import DocumentTypeInUse, KeyConflict, NameConflict
from docvault.models import Document, DocumentType, DocumentTypeField
from docvault.repositories.base import Repository
from docvault.rules.slots import FieldFacts, TypeFacts, TypePosition, UploadMode


class DocumentTypeRepository(Repository):
    """Document types are the same for everyone; the access narrows nothing here."""

    async def list_page(
        self, *, archived: bool, after: TypePosition | None, limit: int
    ) -> list[TypeFacts]:
        """Return up to `limit` types in their order."""
        query = _in_order(archived=archived).limit(limit)
        if after is not None:
            place = tuple_(DocumentType.position, DocumentType.id)
            query = query.where(place > tuple_(after.position, after.id))
        rows = (await self._session.scalars(query)).all()
        return await self._with_fields(rows)

    async def count(self, *, archived: bool) -> int:
        """Return how many types are active, or archived."""
        query = select(func.count()).select_from(_in_order(archived=archived).subquery())
        return await self._session.scalar(query) or 0

    async def get(self, key: str) -> TypeFacts | None:
        """Return a type by its key, archived or not."""
        row = await self._session.scalar(select(DocumentType).where(DocumentType.key == key))
        return None if row is None else (await self._with_fields([row]))[0]

    async def get_many(self, keys: Sequence[str]) -> dict[str, TypeFacts]:
        """Return those of the types that exist, by key."""
        rows = (
            await self._session.scalars(select(DocumentType).where(DocumentType.key.in_(keys)))
        ).all()
        return {facts.key: facts for facts in await self._with_fields(rows)}

    async def lock_row(self, key: str) -> DocumentType | None:
        """Return the row itself, locked until the transaction ends, to change it."""
        query = select(DocumentType).where(DocumentType.key == key).with_for_update()
        return await self._session.scalar(query.execution_options(populate_existing=True))

    async def lock_order(self) -> None:
        """Let one transaction at a time give out keys and positions."""
        await self._session.execute(select(func.pg_advisory_xact_lock(_ORDER_LOCK)))

    async def all_keys(self) -> set[str]:
        """Return every key that was ever given out and not deleted."""
        return set(await self._session.scalars(select(DocumentType.key)))

    async def last_position(self) -> int:
        """Return the highest position of any type, -1 when there is none."""
        highest = await self._session.scalar(select(func.max(DocumentType.position)))
        return -1 if highest is None else highest

    async def make_room(self, position: int) -> None:
        """Move the types at this position and behind it back by one, when one is at it."""
        taken = select(DocumentType.id).where(DocumentType.position == position).limit(1)
        if await self._session.scalar(taken) is None:
            return
        await self._session.execute(
            update(DocumentType)
            .where(DocumentType.position >= position)
            .values(position=DocumentType.position + 1)
            .execution_options(synchronize_session=False)
        )

    async def field_rows(self, document_type_id: UUID) -> list[DocumentTypeField]:
        """Return every field of a type, retired ones included."""
        query = (
            select(DocumentTypeField)
            .where(DocumentTypeField.document_type_id == document_type_id)
            .order_by(DocumentTypeField.position, DocumentTypeField.id)
        )
        return list(await self._session.scalars(query))

    async def save(self, *rows: DocumentType | DocumentTypeField) -> None:
        """Write new or changed rows; raises `KeyConflict` or `NameConflict`."""
        self._session.add_all(rows)
        try:
            await self._session.flush()
        except IntegrityError as error:
            raise _conflict(error) from error

    async def touch(self, document_type_id: UUID) -> None:
        """Record that a type or its fields changed now."""
        await self._session.execute(
            update(DocumentType)
            .where(DocumentType.id == document_type_id)
            .values(updated_at=func.clock_timestamp())
        )

    async def active_keys(self) -> set[str]:
        """Return the keys of all active types."""
        query = select(DocumentType.key).where(DocumentType.archived_at.is_(None))
        return set(await self._session.scalars(query))

    async def reorder(self, keys: Sequence[str]) -> None:
        """Give the types the positions 0, 1, 2 … in this order."""
        order = func.array_position(list(keys), DocumentType.key) - 1
        await self._session.execute(
            update(DocumentType)
            .where(DocumentType.key.in_(keys))
            .values(position=order)
            .execution_options(synchronize_session=False)
        )

    async def delete(self, document_type_id: UUID) -> None:
        """Delete a type for which no file was ever stored; raises `DocumentTypeInUse` (R-023)."""
        filled = exists().where(
            Document.document_type_id == document_type_id, Document.last_version > 0
        )
        query = select(or_(DocumentType.was_used, filled)).where(
            DocumentType.id == document_type_id
        )
        if await self._session.scalar(query):
            raise DocumentTypeInUse
        # What is left are slots that hold values only.
        await self._session.execute(
            delete(Document).where(
                Document.document_type_id == document_type_id, Document.last_version == 0
            )
        )
        try:
            await self._session.execute(
                delete(DocumentType).where(DocumentType.id == document_type_id)
            )
        except IntegrityError as error:
            raise DocumentTypeInUse from error

    async def _with_fields(self, rows: Sequence[DocumentType]) -> list[TypeFacts]:
        fields = await self.active_fields([row.id for row in rows])
        return [type_facts(row, fields.get(row.id, ())) for row in rows]

    async def active_fields(
        self, document_type_ids: Sequence[UUID]
    ) -> dict[UUID, tuple[FieldFacts, ...]]:
        """Return the fields that are not retired, by type, in their order."""
        if not document_type_ids:
            return {}
        query = (
            select(
                DocumentTypeField.document_type_id,
                DocumentTypeField.key,
                DocumentTypeField.label,
                DocumentTypeField.required,
            )
            .where(
                DocumentTypeField.document_type_id.in_(document_type_ids),
                DocumentTypeField.retired_at.is_(None),
            )
            .order_by(DocumentTypeField.position, DocumentTypeField.id)
        )
        fields: dict[UUID, tuple[FieldFacts, ...]] = {}
        for type_id, key, label, required in await self._session.execute(query):
            fields[type_id] = (*fields.get(type_id, ()), FieldFacts(key, label, required))
        return fields


_ORDER_LOCK = 0x646F6376_00000001  # "docv", 1


def type_facts(row: DocumentType, fields: tuple[FieldFacts, ...]) -> TypeFacts:
    """Return the facts of a row."""
    accepted = row.accepted_media_types
    return TypeFacts(
        id=row.id,
        key=row.key,
        name=row.name,
        upload_mode=UploadMode(row.upload_mode),
        collects_fields=row.collects_fields,
        fields=fields,
        instructions=row.instructions,
        accepted_media_types=None if accepted is None else tuple(accepted),
        max_size_bytes=row.max_size_bytes,
        max_files=row.max_files,
        position=row.position,
        archived=row.archived_at is not None,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _in_order(*, archived: bool) -> Select[DocumentType]:
    column = DocumentType.archived_at
    condition = column.is_not(None) if archived else column.is_(None)
    return select(DocumentType).where(condition).order_by(DocumentType.position, DocumentType.id)


def _conflict(error: IntegrityError) -> Exception:
    constraint = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
    if constraint == "uq_document_types_active_name":
        return NameConflict(pointer="/name")
    if constraint == "uq_document_types_key":
        return KeyConflict(pointer="/key")
    return error
