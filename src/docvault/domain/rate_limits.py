"""Limits on requests per minute and on concurrent transfers, and counters (D18)."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

WINDOW_SECONDS = 60
# Beyond this number the oldest window is dropped; takes 10 MiB at most.
MAX_WINDOWS = 50_000


# Denials of one actor and action that one process audits individually; it counts the rest.
RECORDED_DENIALS_PER_MINUTE = 20


class Limit(StrEnum):
    """What is limited; the values are labels of metrics."""

    CUSTOMER_UPLOADS = "customer_uploads"
    CUSTOMER_REQUESTS = "customer_requests"
    CUSTOMER_VALUE_CHANGES = "customer_value_changes"
    API_KEY_REQUESTS = "api_key_requests"
    FAILED_CREDENTIALS = "failed_credentials"
    CUSTOMER_CONCURRENT_UPLOADS = "customer_concurrent_uploads"
    CREATOR_CONCURRENT_UPLOADS = "creator_concurrent_uploads"
    SESSION_CONCURRENT_UPLOADS = "session_concurrent_uploads"
    IDEMPOTENCY_KEYS = "idempotency_keys"
    CUSTOMER_CONCURRENT_DOWNLOADS = "customer_concurrent_downloads"
    API_KEY_CONCURRENT_DOWNLOADS = "api_key_concurrent_downloads"


@dataclass(frozen=True, slots=True)
class Counted:
    """A counter after counting, and the seconds until its window ends."""

    number: int
    seconds_left: float


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a caller may still do before a limit is reached."""

    limit: Limit
    quota: int
    remaining: int
    seconds_left: float

    def headers(self) -> dict[str, str]:
        """Return the headers of draft-ietf-httpapi-ratelimit-headers-10."""
        seconds = math.ceil(self.seconds_left)
        return {
            "RateLimit-Policy": f'"{self.limit}";q={self.quota};w={WINDOW_SECONDS}',
            "RateLimit": f'"{self.limit}";r={self.remaining};t={seconds}',
        }


class FixedWindowCounter:
    """Counts hits by id in windows of a minute that begin with their first hit."""

    def __init__(
        self, *, max_windows: int = MAX_WINDOWS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_windows = max_windows
        self._clock = clock
        # In the order in which they began, so that the first is the oldest.
        self._windows: dict[bytes, tuple[float, int]] = {}

    def __len__(self) -> int:
        return len(self._windows)

    def hit(self, id_: bytes, limit: int) -> float:
        """Count a hit; return 0, or the seconds until the window ends if the limit is reached."""
        now = self._clock()
        ends_at, number = self._windows.get(id_, (now, 0))
        if ends_at <= now:
            self._windows.pop(id_, None)
            if len(self._windows) >= self._max_windows:
                del self._windows[next(iter(self._windows))]
            ends_at, number = now + WINDOW_SECONDS, 0
        if number >= limit:
            return ends_at - now
        self._windows[id_] = ends_at, number + 1
        return 0

    def counted(self, id_: bytes) -> Counted:
        """Return the hits of the open window."""
        ends_at, number = self._windows[id_]
        return Counted(number, ends_at - self._clock())

    def has_hits(self, id_: bytes) -> bool:
        """Return whether a window with hits is open."""
        ends_at, _ = self._windows.get(id_, (self._clock(), 0))
        return ends_at > self._clock()
