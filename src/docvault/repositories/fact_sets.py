"""SQL about fact sets."""

from sqlalchemy import delete, exists, not_, select

from docvault.db.tables import CustomerRow, FactSetRow
from docvault.repositories.base import Repository

# The empty set, the default of new customers; kept even if unused.
EMPTY_ID = 0

_UNUSED = not_(exists().where(CustomerRow.fact_set_id == FactSetRow.id))


class FactSetRepository(Repository):
    """Fact sets; triggers insert them, see migrations/sql/0001_functions.sql."""

    async def delete_unused(self) -> None:
        """Delete the fact sets that no customer refers to."""
        unused = select(FactSetRow.id).where(FactSetRow.id != EMPTY_ID, _UNUSED)
        # Rows that another transaction is about to reference are locked; skip them.
        locked = (await self._session.scalars(unused.with_for_update(skip_locked=True))).all()
        # Check again under the lock: one may have been referenced since the first query.
        await self._session.execute(delete(FactSetRow).where(FactSetRow.id.in_(locked), _UNUSED))
