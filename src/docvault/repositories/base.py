"""The base class of repositories."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, true
from sqlalchemy.orm import InstrumentedAttribute

from docvault.db.engine import AutocommitConnection, Session
from docvault.db.prepared_statements import PreparedStatement, Record
from docvault.domain.actors import Access


class Repository:
    """Statements about one noun, limited to the rows that the access allows. Never commits."""

    def __init__(self, work: Session | AutocommitConnection, access: Access) -> None:
        self._work = work
        self._access = access

    @property
    def _session(self) -> Session:
        return self._work.orm

    async def _rows(
        self, statement: PreparedStatement[Record], parameters: Mapping[str, Any]
    ) -> list[Record]:
        return await self._work.rows(statement, parameters)

    def _reachable(self, customer_id: InstrumentedAttribute) -> ColumnElement[bool]:  # type: ignore[type-arg]
        """Return the condition that limits a query about customers' rows to the access (D14)."""
        if self._access.customer_id is None:
            return true()
        return customer_id == self._access.customer_id

    def _reachable_id(self, customer_id: UUID) -> UUID | None:
        """Return the id for a prepared statement: null, which matches no row, if out of reach."""
        reachable = self._access.customer_id in (None, customer_id)
        return customer_id if reachable else None
