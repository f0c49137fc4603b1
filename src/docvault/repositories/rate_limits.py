"""SQL about rate limits."""

from collections.abc import Iterable
from datetime import timedelta

from sqlalchemy import delete, func

from docvault.db.tables import RateLimitRow
from docvault.domain.rate_limits import WINDOW_SECONDS, Counted
from docvault.repositories.base import Repository
from docvault.repositories.sql import load_statement

WINDOW = timedelta(seconds=WINDOW_SECONDS)


_COUNT = load_statement("count_rate_limits", Counted)


class RateLimitRepository(Repository):
    """Counters shared by all processes; the access does not limit them."""

    async def count(self, ids: Iterable[bytes], amount: int = 1) -> list[Counted]:
        """Add to the counter of each id.

        Exact under concurrency. Rows are locked in the order of their ids to avoid deadlocks.
        """
        parameters = {"ids": sorted(set(ids)), "amount": amount, "window": WINDOW}
        return await self._rows(_COUNT, parameters)

    async def delete_over(self) -> None:
        """Delete the counters whose window has ended."""
        await self._session.execute(delete(RateLimitRow).where(RateLimitRow.ends_at <= func.now()))
