"""SQL about rate limits."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import case, delete, func
from sqlalchemy.dialects.postgresql import insert

from docvault.models import RateLimit
from docvault.repositories.base import Repository
from docvault.rules.rate_limits import WINDOW_SECONDS

_WINDOW = timedelta(seconds=WINDOW_SECONDS)
_IS_OVER = RateLimit.ends_at <= func.now()


@dataclass(frozen=True, slots=True)
class Counted:
    """A count, itself included, and for how many seconds its window goes on."""

    number: int
    seconds_left: float


class RateLimitRepository(Repository):
    """Counts that all processes share. The id says whose, so the access narrows nothing."""

    async def count(self, ids: Iterable[bytes]) -> list[Counted]:
        """Count once more under each id.

        One statement, exact however many do it at once: each waits for the others' rows, which
        are taken in the order of their ids so that nobody waits in a circle.
        """
        ends_at = func.now() + _WINDOW
        statement = insert(RateLimit).values(
            [{"id": id_, "number": 1, "ends_at": ends_at} for id_ in sorted(set(ids))]
        )
        fresh = statement.excluded
        counted = statement.on_conflict_do_update(
            index_elements=[RateLimit.id],
            set_={
                "number": case((_IS_OVER, fresh.number), else_=RateLimit.number + 1),
                "ends_at": case((_IS_OVER, fresh.ends_at), else_=RateLimit.ends_at),
            },
        ).returning(
            RateLimit.number, func.extract("epoch", RateLimit.ends_at - func.now()).label("left")
        )
        rows = await self._session.execute(counted)
        return [Counted(number, float(left)) for number, left in rows]

    async def delete_over(self) -> None:
        """Remove the counts whose window is over."""
        await self._session.execute(delete(RateLimit).where(_IS_OVER))
