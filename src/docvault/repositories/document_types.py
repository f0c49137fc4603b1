"""SQL about document types and their fields."""

from collections.abc import Sequence
from dataclasses import fields
from functools import lru_cache
from operator import attrgetter
from typing import Any
from uuid import UUID

from pydantic_core import from_json
from sqlalchemy import delete, exists, func, or_, select, update
from sqlalchemy.exc import IntegrityError

from docvault.db.tables import DocumentRow, DocumentTypeFieldRow, DocumentTypeRow
from docvault.domain.document_types import (
    DocumentField,
    DocumentType,
    DocumentTypeCursor,
    PasswordPolicy,
    UploadMode,
)
from docvault.errors import DocumentTypeInUse, KeyConflict, NameConflict
from docvault.repositories.base import Repository
from docvault.repositories.records import DocumentTypeRecord
from docvault.repositories.sql import load_statement

_ORDER_LOCK = 0x646F6376_00000001  # "docv", 1

_LIST = load_statement("list_document_types", DocumentTypeRecord)
_FIND = load_statement("find_document_types", DocumentTypeRecord)


class DocumentTypeRepository(Repository):
    """Document types; they belong to no customer, so the access does not limit them."""

    async def list_page(
        self, *, archived: bool, after: DocumentTypeCursor | None, limit: int
    ) -> list[DocumentType]:
        """Return up to `limit` types in display order."""
        parameters = {
            "archived": archived,
            "after_position": None if after is None else after.position,
            "after_id": None if after is None else after.id,
            "limit": limit,
        }
        return [to_document_type(row) for row in await self._rows(_LIST, parameters)]

    async def count(self, *, archived: bool) -> int:
        """Return how many types are active, or archived."""
        is_archived = DocumentTypeRow.archived_at.is_not(None)
        query = select(func.count()).select_from(DocumentTypeRow).where(is_archived.is_(archived))
        return await self._session.scalar(query) or 0

    async def get(self, key: str) -> DocumentType | None:
        """Return a type by its key, archived or not."""
        return (await self.get_many([key])).get(key)

    async def get_many(self, keys: Sequence[str]) -> dict[str, DocumentType]:
        """Return the existing types by key."""
        rows = await self._rows(_FIND, {"keys": list(keys)})
        return {row.type_key: to_document_type(row) for row in rows}

    async def lock_row(self, key: str) -> DocumentTypeRow | None:
        """Return the row to change it, locked until the transaction ends."""
        query = select(DocumentTypeRow).where(DocumentTypeRow.key == key).with_for_update()
        return await self._session.scalar(query.execution_options(populate_existing=True))

    async def lock_order(self) -> None:
        """Lock the assignment of keys and positions until the transaction ends."""
        await self._session.execute(select(func.pg_advisory_xact_lock(_ORDER_LOCK)))

    async def all_keys(self) -> set[str]:
        """Return every key in use, archived types included."""
        return set(await self._session.scalars(select(DocumentTypeRow.key)))

    async def last_position(self) -> int:
        """Return the highest position, -1 if there are no types."""
        highest = await self._session.scalar(select(func.max(DocumentTypeRow.position)))
        return -1 if highest is None else highest

    async def shift_positions_from(self, position: int) -> None:
        """Increment the positions from this one on if it is occupied."""
        occupied = select(DocumentTypeRow.id).where(DocumentTypeRow.position == position).limit(1)
        if await self._session.scalar(occupied) is None:
            return
        await self._session.execute(
            update(DocumentTypeRow)
            .where(DocumentTypeRow.position >= position)
            .values(position=DocumentTypeRow.position + 1)
            .execution_options(synchronize_session=False)
        )

    async def field_rows(self, document_type_id: UUID) -> list[DocumentTypeFieldRow]:
        """Return every field of a type, retired ones included."""
        query = (
            select(DocumentTypeFieldRow)
            .where(DocumentTypeFieldRow.document_type_id == document_type_id)
            .order_by(DocumentTypeFieldRow.position, DocumentTypeFieldRow.id)
        )
        return list(await self._session.scalars(query))

    async def save(self, *rows: DocumentTypeRow | DocumentTypeFieldRow) -> None:
        """Write new or changed rows; raises `KeyConflict` or `NameConflict`."""
        self._session.add_all(rows)
        try:
            await self._session.flush()
        except IntegrityError as error:
            raise _conflict(error) from error

    async def touch(self, document_type_id: UUID) -> None:
        """Set the time of the last change of a type or its fields."""
        await self._session.execute(
            update(DocumentTypeRow)
            .where(DocumentTypeRow.id == document_type_id)
            .values(updated_at=func.clock_timestamp())
        )

    async def active_keys(self) -> set[str]:
        """Return the keys of all active types."""
        query = select(DocumentTypeRow.key).where(DocumentTypeRow.archived_at.is_(None))
        return set(await self._session.scalars(query))

    async def reorder(self, keys: Sequence[str]) -> None:
        """Number the positions of the types 0, 1, 2 … in this order."""
        order = func.array_position(list(keys), DocumentTypeRow.key) - 1
        await self._session.execute(
            update(DocumentTypeRow)
            .where(DocumentTypeRow.key.in_(keys))
            .values(position=order)
            .execution_options(synchronize_session=False)
        )

    async def delete(self, document_type_id: UUID) -> None:
        """Delete a type for which no file was ever stored; raises `DocumentTypeInUse`."""
        filled = exists().where(
            DocumentRow.document_type_id == document_type_id, DocumentRow.last_version > 0
        )
        query = select(or_(DocumentTypeRow.was_used, filled)).where(
            DocumentTypeRow.id == document_type_id
        )
        if await self._session.scalar(query):
            raise DocumentTypeInUse
        # The remaining documents have values only.
        await self._session.execute(
            delete(DocumentRow).where(
                DocumentRow.document_type_id == document_type_id, DocumentRow.last_version == 0
            )
        )
        try:
            await self._session.execute(
                delete(DocumentTypeRow).where(DocumentTypeRow.id == document_type_id)
            )
        except IntegrityError as error:
            raise DocumentTypeInUse from error


def to_document_type(record: DocumentTypeRecord) -> DocumentType:
    """Return the document type of a record.

    Equal records share one: a deployment has a few dozen types, and each list reads all of them
    (of the CPU of a list, this and the presenter's cache save 10 %).
    """
    return _make_document_type(_type_columns(record))


_type_columns = attrgetter(*(field.name for field in fields(DocumentTypeRecord)))


@lru_cache(maxsize=1024)
def _make_document_type(columns: tuple[Any, ...]) -> DocumentType:
    record = DocumentTypeRecord(*columns)
    accepted = record.accepted_media_types
    return DocumentType(
        id=record.type_id,
        key=record.type_key,
        name=record.type_name,
        upload_mode=UploadMode(record.upload_mode),
        collects_fields=record.collects_fields,
        fields=tuple(DocumentField(**field) for field in from_json(record.fields or "[]")),
        instructions=record.instructions,
        accepted_media_types=None if accepted is None else tuple(from_json(accepted)),
        max_size_bytes=record.max_size_bytes,
        max_files=record.max_files,
        password_protected=PasswordPolicy(record.password_protected),
        position=record.position,
        archived=record.archived,
        created_at=record.type_created_at,
        updated_at=record.type_updated_at,
    )


def _conflict(error: IntegrityError) -> Exception:
    constraint = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
    if constraint == "uq_document_types_active_name":
        return NameConflict(pointer="/name")
    if constraint == "uq_document_types_key":
        return KeyConflict(pointer="/key")
    return error
