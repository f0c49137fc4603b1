"""SQL about document types and their fields."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    ColumnElement,
    Select,
    delete,
    exists,
    func,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.exc import IntegrityError

from docvault.errors import DocumentTypeInUse, KeyConflict, NameConflict
from docvault.models import Document, DocumentType, DocumentTypeField
from docvault.models.base import columns
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
        return [type_facts(row) for row in await self._session.execute(query)]

    async def count(self, *, archived: bool) -> int:
        """Return how many types are active, or archived."""
        query = select(func.count()).select_from(_in_order(archived=archived).subquery())
        return await self._session.scalar(query) or 0

    async def get(self, key: str) -> TypeFacts | None:
        """Return a type by its key, archived or not."""
        return (await self.get_many([key])).get(key)

    async def get_many(self, keys: Sequence[str]) -> dict[str, TypeFacts]:
        """Return those of the types that exist, by key."""
        query = select(*TYPE_COLUMNS).where(DocumentType.key.in_(keys))
        found = [type_facts(row) for row in await self._session.execute(query)]
        return {facts.key: facts for facts in found}

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


_ORDER_LOCK = 0x646F6376_00000001  # "docv", 1


_types, _fields = columns(DocumentType), columns(DocumentTypeField)
_FIELDS = (
    select(
        func.json_agg(
            aggregate_order_by(
                func.json_build_array(_fields.key, _fields.label, _fields.required),
                _fields.position,
                _fields.id,
            ),
            type_=JSON,
        )
    )
    .where(
        _fields.document_type_id == _types.id,
        _fields.retired_at.is_(None),
    )
    .correlate(DocumentType.__table__)
    .scalar_subquery()
)
# What a select needs for `type_facts`, in the order of `TypeFacts`.
TYPE_COLUMNS: tuple[ColumnElement[Any], ...] = (
    _types.id,
    _types.key,
    _types.name,
    _types.upload_mode,
    _types.collects_fields,
    _FIELDS.label("fields"),
    _types.instructions,
    _types.accepted_media_types,
    _types.max_size_bytes,
    _types.max_files,
    _types.position,
    _types.archived_at.is_not(None).label("archived"),
    _types.created_at,
    _types.updated_at,
)


def type_facts(row: Sequence[Any]) -> TypeFacts:
    """Return the facts of a row of `TYPE_COLUMNS`."""
    type_id, key, name, mode, collects_fields, fields, instructions, accepted, *others = row
    return TypeFacts(
        type_id,
        key,
        name,
        UploadMode(mode),
        collects_fields,
        tuple(FieldFacts(*field) for field in fields or ()),
        instructions,
        None if accepted is None else tuple(accepted),
        *others,
    )


def _in_order(*, archived: bool) -> Select[*tuple[Any, ...]]:
    column = DocumentType.archived_at
    condition = column.is_not(None) if archived else column.is_(None)
    query = select(*TYPE_COLUMNS).where(condition)
    return query.order_by(DocumentType.position, DocumentType.id)


def _conflict(error: IntegrityError) -> Exception:
    constraint = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
    if constraint == "uq_document_types_active_name":
        return NameConflict(pointer="/name")
    if constraint == "uq_document_types_key":
        return KeyConflict(pointer="/key")
    return error
