"""SQL about erasures."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, select, tuple_, update

from docvault.models import Blob, Customer, Document, DocumentType, DocumentVersion, Erasure
from docvault.repositories.base import Repository
from docvault.rules.erasures import ErasureFacts, NewErasure

_PENDING = (
    select(func.count())
    .where(Blob.customer_id == Erasure.customer_id)
    .correlate(Erasure)
    .scalar_subquery()
)


class ErasureRepository(Repository):
    """Erasures; they never say who the customer was."""

    async def add(self, new: NewErasure, *, documents: int, versions: int, blobs: int) -> None:
        """Record an erasure and mark the customer with it."""
        erasure = Erasure(
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
            update(Customer)
            .where(Customer.id == new.customer_id)
            # The host's id stays until the end, to answer 409; name, e-mail and tags do not.
            .values(erasure_id=erasure.id, name=None, email=None, tags=[])
        )

    async def delete_documents(self, customer_id: UUID) -> tuple[int, int]:
        """Delete every document row of a customer; return how many documents and versions."""
        versions = await self._session.scalar(
            select(func.count())
            .select_from(DocumentVersion)
            .join(Document, Document.id == DocumentVersion.document_id)
            .where(Document.customer_id == customer_id)
        )
        documents = await self._session.scalar(
            select(func.count()).where(
                Document.customer_id == customer_id, Document.current_version_id.is_not(None)
            )
        )
        await self._remember_use(customer_id)
        await self._session.execute(delete(Document).where(Document.customer_id == customer_id))
        return documents or 0, versions or 0

    async def _remember_use(self, customer_id: UUID) -> None:
        """Keep in mind which types had files, for that is what decides whether one can go."""
        used = select(Document.document_type_id).where(
            Document.customer_id == customer_id, Document.last_version > 0
        )
        await self._session.execute(
            update(DocumentType)
            .where(DocumentType.id.in_(used), DocumentType.was_used.is_(False))
            .values(was_used=True)
            .execution_options(synchronize_session=False)
        )

    async def get(self, erasure_id: UUID) -> ErasureFacts | None:
        """Return an erasure by its id."""
        query = select(Erasure, _PENDING).where(Erasure.id == erasure_id)
        row = (await self._session.execute(query)).one_or_none()
        return None if row is None else _erasure_facts(*row)

    async def list_page(
        self, *, completed: bool | None, after: tuple[datetime, UUID] | None, limit: int
    ) -> list[ErasureFacts]:
        """Return up to `limit` erasures, oldest first."""
        query = (
            select(Erasure, _PENDING)
            .where(*_conditions(completed=completed))
            .order_by(Erasure.requested_at, Erasure.id)
            .limit(limit)
        )
        if after is not None:
            query = query.where(tuple_(Erasure.requested_at, Erasure.id) > tuple_(*after))
        rows: Sequence[tuple[Erasure, int]] = (await self._session.execute(query)).all()
        return [_erasure_facts(row, pending) for row, pending in rows]

    async def count(self, *, completed: bool | None) -> int:
        """Return how many erasures there are."""
        query = select(func.count()).select_from(Erasure).where(*_conditions(completed=completed))
        return await self._session.scalar(query) or 0

    async def pending_ids(self) -> list[UUID]:
        """Return the erasures that are not complete, oldest first."""
        query = select(Erasure.id).where(Erasure.completed_at.is_(None))
        return list(await self._session.scalars(query.order_by(Erasure.requested_at)))

    async def customers(self) -> tuple[set[UUID], set[UUID]]:
        """Return the internal ids of those whose erasure is pending, and of the erased."""
        query = select(Erasure.customer_id, Erasure.completed_at.is_not(None))
        rows = (await self._session.execute(query)).all()
        erased = {customer_id for customer_id, is_completed in rows if is_completed}
        return {customer_id for customer_id, _ in rows} - erased, erased

    async def reopen(self, customer_id: UUID) -> UUID | None:
        """Make a completed erasure pending again; return its id, None when there is none."""
        return await self._session.scalar(
            update(Erasure)
            .where(Erasure.customer_id == customer_id, Erasure.completed_at.is_not(None))
            .values(completed_at=None)
            .returning(Erasure.id)
        )

    async def waiting(self) -> tuple[int, float]:
        """Return how many erasures are not complete, and for how many seconds the oldest is not."""
        age = func.extract("epoch", func.now() - func.min(Erasure.requested_at))
        query = select(func.count(), func.coalesce(age, 0)).where(Erasure.completed_at.is_(None))
        number, seconds = (await self._session.execute(query)).one()
        return number, float(seconds)

    async def complete(self, erasure_id: UUID) -> None:
        """Remove the customer's row and close the erasure."""
        await self._session.execute(delete(Customer).where(Customer.erasure_id == erasure_id))
        await self._session.execute(
            update(Erasure)
            .where(Erasure.id == erasure_id)
            .values(completed_at=func.clock_timestamp())
        )


def _conditions(*, completed: bool | None) -> list[ColumnElement[bool]]:
    if completed is None:
        return []
    column = Erasure.completed_at
    return [column.is_not(None) if completed else column.is_(None)]


def _erasure_facts(row: Erasure, blobs_pending: int) -> ErasureFacts:
    return ErasureFacts(
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
