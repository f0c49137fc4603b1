"""What every repository is built from."""

from uuid import UUID

from sqlalchemy import ColumnElement, true
from sqlalchemy.orm import InstrumentedAttribute

from docvault.auth.principals import Access
from docvault.database import Session


class Repository:
    """SQL about one noun, for rows the given access may reach. Flushes, never commits."""

    def __init__(self, session: Session, access: Access) -> None:
        self._session = session
        self._access = access

    def _reachable(self, customer_id: InstrumentedAttribute) -> ColumnElement[bool]:  # type: ignore[type-arg]
        """Return the condition every query about customers' rows starts from (D14)."""
        if self._access.customer_id is None:
            return true()
        return customer_id == self._access.customer_id

    def _reachable_id(self, customer_id: UUID) -> UUID | None:
        """Return the id for a prepared statement: null, which no row has, when out of reach."""
        reachable = self._access.customer_id in (None, customer_id)
        return customer_id if reachable else None
