"""Rate limits of callers (D18): what is counted in this process, and what in all of them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from docvault import metrics
from docvault.auth.keyring import Keyring
from docvault.errors import RateLimited
from docvault.repositories.unit import Unit
from docvault.rules.rate_limits import Limit, Windows
from docvault.settings import Settings

_WHAT = {
    Limit.CUSTOMER_UPLOADS: "uploads a minute",
    Limit.CUSTOMER_REQUESTS: "requests a minute",
    Limit.API_KEY_REQUESTS: "requests a minute",
    Limit.FAILED_CREDENTIALS: "credentials a minute that are not valid",
    Limit.CUSTOMER_PARALLEL_UPLOADS: "uploads at once",
}
# How soon one of several uploads may be done.
PARALLEL_RETRY_SECONDS = 2
# Series that can be watched are there from the start.
for _limit in Limit:
    metrics.LIMITS_REACHED.labels(_limit)


class RateLimits:
    """The limits in force, and the counts of this process.

    Every count is taken here first, so that a caller who goes on and on costs no database. What
    all processes have to agree about is then counted there too.
    """

    def __init__(self, settings: Settings, keyring: Keyring) -> None:
        self._keyring = keyring
        self._limits = {
            Limit.CUSTOMER_UPLOADS: settings.customer_uploads_per_minute,
            Limit.CUSTOMER_REQUESTS: settings.customer_requests_per_minute,
            Limit.API_KEY_REQUESTS: settings.api_key_requests_per_minute,
            Limit.FAILED_CREDENTIALS: settings.failed_credentials_per_minute,
            Limit.CUSTOMER_PARALLEL_UPLOADS: settings.customer_max_parallel_uploads,
        }
        self._requests = Windows()
        # Apart: whoever makes up credentials must not push the counts of callers out.
        self._failures = Windows()
        self._uploads: Counter[str] = Counter()

    def count_here(self, limit: Limit, *who: str) -> None:
        """Count once more in this process; raises `RateLimited`."""
        most = self._limits[limit]
        windows = self._failures if limit is Limit.FAILED_CREDENTIALS else self._requests
        if most and (seconds := windows.take(self._id(limit, who), most)):
            self._refuse(limit, seconds)

    async def count_everywhere(self, unit: Unit, limit: Limit, *whos: Sequence[str]) -> None:
        """Count once more under each of the names in all processes; raises `RateLimited`.

        The count holds from the commit on.
        """
        most = self._limits[limit]
        if not most:
            return
        counted = await unit.rate_limits.count(self._id(limit, who) for who in whos)
        waits = [one.seconds_left for one in counted if one.number > most]
        if waits:
            self._refuse(limit, max(waits))

    @contextmanager
    def one_upload(self, customer: str | None) -> Iterator[None]:
        """Hold one of a customer's places in this process; raises `RateLimited`.

        Others than customers (None) share only the places of the process.
        """
        limit = Limit.CUSTOMER_PARALLEL_UPLOADS
        most = self._limits[limit]
        if customer is None or not most:
            yield
            return
        if self._uploads[customer] >= most:
            self._refuse(limit, PARALLEL_RETRY_SECONDS)
        self._uploads[customer] += 1
        try:
            yield
        finally:
            self._uploads[customer] -= 1
            if not self._uploads[customer]:
                del self._uploads[customer]

    def _id(self, limit: Limit, who: Sequence[str]) -> bytes:
        return self._keyring.rate_limit_id(limit, *who)

    def _refuse(self, limit: Limit, seconds: float) -> NoReturn:
        metrics.LIMITS_REACHED.labels(limit).inc()
        detail = f"At most {self._limits[limit]} {_WHAT[limit]}."
        raise RateLimited(detail, retry_after_seconds=seconds)
