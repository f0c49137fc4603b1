"""SQL about rate limits."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ARRAY, Interval, LargeBinary, bindparam, delete, func, text

from docvault.models import RateLimit
from docvault.prepared_statements import PreparedStatement
from docvault.repositories.base import Repository
from docvault.rules.rate_limits import WINDOW_SECONDS

_WINDOW = timedelta(seconds=WINDOW_SECONDS)
_COUNT = PreparedStatement(
    text("""
    INSERT INTO rate_limits AS counted (id, number, ends_at)
    SELECT id, 1, now() + :window FROM unnest(:ids) AS id
    ON CONFLICT (id) DO UPDATE SET
        number = CASE WHEN counted.ends_at <= now() THEN 1 ELSE counted.number + 1 END,
        ends_at = CASE WHEN counted.ends_at <= now() THEN excluded.ends_at ELSE counted.ends_at END
    RETURNING number, extract(epoch FROM ends_at - now())
    """).bindparams(
        bindparam("ids", type_=ARRAY(LargeBinary())), bindparam("window", type_=Interval())
    )
)


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
        rows = await self._rows(_COUNT, {"ids": sorted(set(ids)), "window": _WINDOW})
        return [Counted(number, float(left)) for number, left in rows]

    async def delete_over(self) -> None:
        """Remove the counts whose window is over."""
        await self._session.execute(delete(RateLimit).where(RateLimit.ends_at <= func.now()))
