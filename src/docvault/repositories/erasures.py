"""SQL about erasures."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, select, tuple_, update

from docvault.db.tables import (
    BlobRow,
    CustomerRow,
    DocumentRow,
    DocumentTypeRow,
    DocumentVersionRow,
    ErasureRow,
)
from docvault.domain.erasures import Erasure, NewErasure
from docvault.repositories.base import Repository

_PENDING = (
    select(func.count())
    .where(BlobRow.customer_id == ErasureRow.customer_id)
    .correlate(ErasureRow)
    .scalar_subquery()
)


class ErasureRepository(Repository):
    """Erasures; they do not identify the customer."""

    async def add(self, new: NewErasure, *, documents: int, versions: int, blobs: int) -> None:
        """Record an erasure and mark the customer with it."""
        erasure = ErasureRow(
            id=new.id,
            customer_id=new.customer_id,
            customer_pseudonym=new.customer_pseudonym,
            documents=documents,
            versions=versions,
            blobs=blobs,
            requested_at=new.requested_at or func.now(),
        )
        self._session.add(erasure)
        await self._session.flush()
        await self._session.execute(
            update(CustomerRow)
            .where(CustomerRow.id == new.customer_id)
            # `external_id` stays until the end, to respond with 409; other data does not.
            .values(erasure_id=erasure.id, name=None, email=None, tags=[])
        )

    async def delete_documents(self, customer_id: UUID) -> tuple[int, int]:
        """Delete every document row of a customer; return how many documents and versions."""
        versions = await self._session.scalar(
            select(func.count())
            .select_from(DocumentVersionRow)
            .join(DocumentRow, DocumentRow.id == DocumentVersionRow.document_id)
            .where(DocumentRow.customer_id == customer_id)
        )
        documents = await self._session.scalar(
            select(func.count()).where(
                DocumentRow.customer_id == customer_id, DocumentRow.current_version_id.is_not(None)
            )
        )
        await self._remember_use(customer_id)
        await self._session.execute(
            delete(DocumentRow).where(DocumentRow.customer_id == customer_id)
        )
        return documents or 0, versions or 0

    async def _remember_use(self, customer_id: UUID) -> None:
        """Mark the types that had files: they cannot be deleted."""
        used = select(DocumentRow.document_type_id).where(
            DocumentRow.customer_id == customer_id, DocumentRow.last_version > 0
        )
        await self._session.execute(
            update(DocumentTypeRow)
            .where(DocumentTypeRow.id.in_(used), DocumentTypeRow.was_used.is_(False))
            .values(was_used=True)
            .execution_options(synchronize_session=False)
        )

    async def get(self, erasure_id: UUID) -> Erasure | None:
        """Return an erasure by its id."""
        query = select(ErasureRow, _PENDING).where(ErasureRow.id == erasure_id)
        row = (await self._session.execute(query)).one_or_none()
        return None if row is None else _to_erasure(*row)

    async def list_page(
        self, *, completed: bool | None, after: tuple[datetime, UUID] | None, limit: int
    ) -> list[Erasure]:
        """Return up to `limit` erasures, oldest first."""
        query = (
            select(ErasureRow, _PENDING)
            .where(*_conditions(completed=completed))
            .order_by(ErasureRow.requested_at, ErasureRow.id)
            .limit(limit)
        )
        if after is not None:
            query = query.where(tuple_(ErasureRow.requested_at, ErasureRow.id) > tuple_(*after))
        rows: Sequence[tuple[ErasureRow, int]] = (await self._session.execute(query)).all()
        return [_to_erasure(row, pending) for row, pending in rows]

    async def count(self, *, completed: bool | None) -> int:
        """Return how many erasures there are."""
        query = (
            select(func.count()).select_from(ErasureRow).where(*_conditions(completed=completed))
        )
        return await self._session.scalar(query) or 0

    async def pending_ids(self) -> list[UUID]:
        """Return the ids of pending erasures, oldest first."""
        query = select(ErasureRow.id).where(ErasureRow.completed_at.is_(None))
        return list(await self._session.scalars(query.order_by(ErasureRow.requested_at)))

    async def customers(self) -> tuple[set[UUID], set[UUID]]:
        """Return the internal ids of customers being erased, and of erased customers."""
        query = select(ErasureRow.customer_id, ErasureRow.completed_at.is_not(None))
        rows = (await self._session.execute(query)).all()
        erased = {customer_id for customer_id, is_completed in rows if is_completed}
        return {customer_id for customer_id, _ in rows} - erased, erased

    async def reopen(self, customer_id: UUID) -> UUID | None:
        """Make a completed erasure pending again; return its id, or None if there is none."""
        return await self._session.scalar(
            update(ErasureRow)
            .where(ErasureRow.customer_id == customer_id, ErasureRow.completed_at.is_not(None))
            .values(completed_at=None)
            .returning(ErasureRow.id)
        )

    async def waiting(self) -> tuple[int, float]:
        """Return the number of pending erasures and the age of the oldest in seconds."""
        age = func.extract("epoch", func.now() - func.min(ErasureRow.requested_at))
        query = select(func.count(), func.coalesce(age, 0)).where(ErasureRow.completed_at.is_(None))
        number, seconds = (await self._session.execute(query)).one()
        return number, float(seconds)

    async def complete(self, erasure_id: UUID) -> None:
        """Delete the customer's row and complete the erasure."""
        await self._session.execute(delete(CustomerRow).where(CustomerRow.erasure_id == erasure_id))
        await self._session.execute(
            update(ErasureRow)
            .where(ErasureRow.id == erasure_id)
            .values(completed_at=func.clock_timestamp())
        )


def _conditions(*, completed: bool | None) -> list[ColumnElement[bool]]:
    if completed is None:
        return []
    column = ErasureRow.completed_at
    return [column.is_not(None) if completed else column.is_(None)]


def _to_erasure(row: ErasureRow, blobs_pending: int) -> Erasure:
    return Erasure(
        id=row.id,
        customer_id=row.customer_id,
        customer_pseudonym=row.customer_pseudonym,
        requested_at=row.requested_at,
        completed_at=row.completed_at,
        documents=row.documents,
        versions=row.versions,
        blobs=row.blobs,
        blobs_pending=blobs_pending,
    )
