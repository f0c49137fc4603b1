"""SQL about events; `AuditEventRepository` and `AttachmentRepository` add them."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, update

from docvault.db.tables import EventRow
from docvault.repositories.base import Repository
from docvault.repositories.sql import load_statement


@dataclass(slots=True)
class _Sequenced:
    given: int


@dataclass(slots=True)
class _Compared:
    compared: int | None


_SEQUENCE = load_statement("sequence_events", _Sequenced)
_COMPARE_GATES = load_statement("compare_gates", _Compared)


class EventRepository(Repository):
    """Events of all customers; only staff and third parties follow them."""

    async def redact(self, customer_id: UUID, pseudonym: str) -> None:
        """Leave of the events about a customer only type, time, position and the pseudonym."""
        await self._session.execute(
            update(EventRow)
            .where(EventRow.customer_id == customer_id)
            .values(
                customer_id=None, data=None, pseudonym=pseudonym, redacted_at=func.clock_timestamp()
            )
        )

    async def sequence(self, batch: int) -> int:
        """Give positions to up to `batch` committed events; return how many."""
        return (await self._rows(_SEQUENCE, {"batch": batch}))[0].given

    async def compare_gates(self, batch: int) -> int | None:
        """Add the events of up to `batch` gates that a change of the requirements has changed.

        Returns how many, None if all gates are as the feed says.
        """
        return (await self._rows(_COMPARE_GATES, {"batch": batch}))[0].compared
