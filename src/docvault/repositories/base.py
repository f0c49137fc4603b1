"""What every repository is built from."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, true
from sqlalchemy.orm import InstrumentedAttribute

from docvault.auth.principals import Access
from docvault.database import Session, Statements
from docvault.prepared_statements import PreparedStatement


class Repository:
    """SQL about one noun, for rows the given access may reach. Flushes, never commits."""

    def __init__(self, work: Session | Statements, access: Access) -> None:
        self._work = work
        self._access = access

    @property
    def _session(self) -> Session:
        return self._work.orm

    async def _rows(
        self, statement: PreparedStatement, parameters: Mapping[str, Any]
    ) -> list[tuple[Any, ...]]:
        """Send one of the hot statements; see decision 0026."""
        return await self._work.rows(statement, parameters)

    def _reachable(self, customer_id: InstrumentedAttribute) -> ColumnElement[bool]:  # type: ignore[type-arg]
        """Return the condition every query about customers' rows starts from (D14)."""
        if self._access.customer_id is None:
            return true()
        return customer_id == self._access.customer_id

    def _reachable_id(self, customer_id: UUID) -> UUID | None:
        """Return the id for a prepared statement: null, which no row has, when out of reach."""
        reachable = self._access.customer_id in (None, customer_id)
        return customer_id if reachable else None
