"""Rate limits, counted in this process and across all processes (D18)."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from docvault.auth.keyring import Keyring
from docvault.domain.actors import Actor, ApiKeyActor, CustomerActor
from docvault.domain.rate_limits import (
    RECORDED_DENIALS_PER_MINUTE,
    Allowance,
    Counted,
    FixedWindowCounter,
    Limit,
)
from docvault.errors import RateLimited
from docvault.observability import metrics
from docvault.repositories.unit_of_work import UnitOfWork
from docvault.settings import Settings

_DESCRIPTIONS = {
    Limit.CUSTOMER_UPLOADS: "uploads a minute",
    Limit.CUSTOMER_REQUESTS: "requests a minute",
    Limit.CUSTOMER_VALUE_CHANGES: "changes of field values a minute",
    Limit.API_KEY_REQUESTS: "requests a minute",
    Limit.FAILED_CREDENTIALS: "invalid credentials a minute",
    Limit.CUSTOMER_CONCURRENT_UPLOADS: "uploads at once",
    Limit.CREATOR_CONCURRENT_UPLOADS: "uploads at once through the URLs of one caller",
    Limit.SESSION_CONCURRENT_UPLOADS: "upload at once to this URL",
    Limit.CUSTOMER_CONCURRENT_DOWNLOADS: "downloads at once",
    Limit.API_KEY_CONCURRENT_DOWNLOADS: "downloads at once",
}
# Responses say what is left of these. That of failed credentials would help to guess them, and
# concurrent transfers have no window.
_ANNOUNCED = frozenset(
    {
        Limit.CUSTOMER_UPLOADS,
        Limit.CUSTOMER_REQUESTS,
        Limit.CUSTOMER_VALUE_CHANGES,
        Limit.API_KEY_REQUESTS,
    }
)
# Retry-After for limits on concurrent transfers.
TRANSFER_RETRY_SECONDS = 2
_DOWNLOAD_LIMITS = {
    CustomerActor.kind: Limit.CUSTOMER_CONCURRENT_DOWNLOADS,
    ApiKeyActor.kind: Limit.API_KEY_CONCURRENT_DOWNLOADS,
}
# Export every series from the start, so that alerts can refer to it.
for _limit in Limit:
    metrics.LIMITS_REACHED.labels(_limit)


class RateLimits:
    """The limits in force, and the counts of this process.

    Requests are counted in this process first, so that a caller over the limit causes no database
    load. Limits that hold across processes are then counted in the database too.
    """

    def __init__(self, settings: Settings, keyring: Keyring) -> None:
        self._keyring = keyring
        self._limits = {
            Limit.CUSTOMER_UPLOADS: settings.customer_uploads_per_minute,
            Limit.CUSTOMER_REQUESTS: settings.customer_requests_per_minute,
            Limit.CUSTOMER_VALUE_CHANGES: settings.customer_value_changes_per_minute,
            Limit.API_KEY_REQUESTS: settings.api_key_requests_per_minute,
            Limit.FAILED_CREDENTIALS: settings.failed_credentials_per_minute,
            Limit.CUSTOMER_CONCURRENT_UPLOADS: settings.customer_max_concurrent_uploads,
            # Half of the permits of the process, so that other creators can always upload.
            Limit.CREATOR_CONCURRENT_UPLOADS: max(1, settings.max_concurrent_uploads // 2),
            Limit.SESSION_CONCURRENT_UPLOADS: 1,
            Limit.CUSTOMER_CONCURRENT_DOWNLOADS: settings.customer_max_concurrent_downloads,
            Limit.API_KEY_CONCURRENT_DOWNLOADS: settings.api_key_max_concurrent_downloads,
        }
        self._requests = FixedWindowCounter()
        # Separate, so that made-up credentials cannot evict the counts of valid callers.
        self._failures = FixedWindowCounter()
        self._denials = FixedWindowCounter()
        self._unused = FixedWindowCounter()
        self._transfers: Counter[tuple[Limit, str]] = Counter()

    def hit_local(self, limit: Limit, *identity: str) -> Allowance | None:
        """Count a request in this process; return what is left. Raises `RateLimited`."""
        most = self._limits[limit]
        if not most:
            return None
        windows = self._failures if limit is Limit.FAILED_CREDENTIALS else self._requests
        id_ = self._id(limit, identity)
        if seconds := windows.hit(id_, most):
            self._refuse(limit, seconds)
        return self._allowance(limit, windows.counted(id_))

    async def hit_shared(
        self, uow: UnitOfWork, limit: Limit, *identities: Sequence[str], requests: int = 1
    ) -> Allowance | None:
        """Count `requests` of each identity across processes; return what is left.

        The count takes effect with the commit. Raises `RateLimited`.
        """
        most = self._limits[limit]
        if not most:
            return None
        counted = await uow.rate_limits.count(
            (self._id(limit, identity) for identity in identities), requests
        )
        return self.check_counted(limit, counted)

    def shared_counter(self, limit: Limit, *identity: str) -> tuple[int, bytes | None]:
        """Return a limit across processes and the id of its counter, None if it is off."""
        most = self._limits[limit]
        return most, self._id(limit, identity) if most else None

    def check_counted(self, limit: Limit, counted: Sequence[Counted]) -> Allowance:
        """Return what is left; raises `RateLimited` if any counter is over the limit."""
        waits = [one.seconds_left for one in counted if one.number > self._limits[limit]]
        if waits:
            self._refuse(limit, max(waits))
        return self._allowance(limit, max(counted, key=lambda one: one.number))

    def _allowance(self, limit: Limit, counted: Counted) -> Allowance:
        most = self._limits[limit]
        return Allowance(limit, most, max(0, most - counted.number), counted.seconds_left)

    def records_denial(self, *identity: str) -> bool:
        """Count a denial; return whether it is to be audited individually."""
        id_ = self._keyring.rate_limit_id("denials", *identity)
        return not self._denials.hit(id_, RECORDED_DENIALS_PER_MINUTE)

    def note_unused_reservation(self, actor_kind: str, actor_id: str) -> None:
        """Remember for a minute that an upload did not use what was reserved for it."""
        self._unused.hit(self._keyring.rate_limit_id("unused", actor_kind, actor_id), 1)

    def may_reserve_early(self, actor_kind: str, actor_id: str) -> bool:
        """Return whether all recent uploads used what was reserved for them.

        Reserving and releasing costs a flush of the disk, which bad input must not cause at will.
        """
        id_ = self._keyring.rate_limit_id("unused", actor_kind, actor_id)
        return not self._unused.has_hits(id_)

    @contextmanager
    def concurrent_transfer(self, limit: Limit, identity: str) -> Iterator[None]:
        """Hold one of the concurrent transfers that the limit allows; raises `RateLimited`."""
        most, key = self._limits[limit], (limit, identity)
        if most and self._transfers[key] >= most:
            self._refuse(limit, TRANSFER_RETRY_SECONDS)
        self._transfers[key] += 1
        try:
            yield
        finally:
            self._transfers[key] -= 1
            if not self._transfers[key]:
                del self._transfers[key]

    @contextmanager
    def concurrent_download(self, actor: Actor) -> Iterator[None]:
        """Hold one of the actor's downloads in this process; raises `RateLimited`.

        Staff are not limited.
        """
        limit = _DOWNLOAD_LIMITS.get(actor.kind)
        if limit is None:
            yield
            return
        with self.concurrent_transfer(limit, actor.id):
            yield

    def _id(self, limit: Limit, identity: Sequence[str]) -> bytes:
        return self._keyring.rate_limit_id(limit, *identity)

    def _refuse(self, limit: Limit, seconds: float) -> NoReturn:
        metrics.LIMITS_REACHED.labels(limit).inc()
        most = self._limits[limit]
        error = RateLimited(f"At most {most} {_DESCRIPTIONS[limit]}.", retry_after_seconds=seconds)
        if limit in _ANNOUNCED:
            error.headers.update(Allowance(limit, most, 0, seconds).headers())
        raise error
