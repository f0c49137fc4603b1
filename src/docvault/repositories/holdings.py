"""SQL about holdings."""

from sqlalchemy import delete, exists, not_, select

from docvault.models import Customer, Holding
from docvault.repositories.base import Repository

# New customers have it, whether there are any or not.
EMPTY_ID = 0

_UNUSED = not_(exists().where(Customer.holding_id == Holding.id))


class HoldingRepository(Repository):
    """Holdings; triggers add them, see the migration."""

    async def delete_unused(self) -> None:
        """Delete the holdings that no customer has any more."""
        unused = select(Holding.id).where(Holding.id != EMPTY_ID, _UNUSED)
        # Those that somebody is about to take are locked and skipped.
        locked = (await self._session.scalars(unused.with_for_update(skip_locked=True))).all()
        # Looked at again under the lock: one may have been taken between look and lock.
        await self._session.execute(delete(Holding).where(Holding.id.in_(locked), _UNUSED))
