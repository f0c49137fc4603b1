"""A circuit breaker for backends that keep failing (D31)."""

import math
import time

from docvault.errors import ServiceUnavailable

FAILURES = 5
# A backend that restarts is back within seconds; one that is down for long is tried less often.
FIRST_PAUSE_SECONDS = 1.0
OPEN_SECONDS = 5.0


class CircuitBreaker:
    """Opens after five consecutive failures of a backend, so that callers fail fast.

    While it is open, one caller may try after a second, and then after two, four and every five
    seconds; the first success closes it.
    """

    def __init__(self, error: type[ServiceUnavailable]) -> None:
        self._error = error
        self._failures = 0
        self._cause: str | None = None
        self._next_try_at = 0.0
        self._pause = FIRST_PAUSE_SECONDS

    def check(self) -> None:
        """Raise the backend's error if the breaker is open."""
        if self._failures < FAILURES:
            return
        now = time.monotonic()
        if now < self._next_try_at:
            wait = math.ceil(self._next_try_at - now)
            raise self._error(cause=self._cause, retry_after_seconds=wait)
        self._pause = min(2 * self._pause, OPEN_SECONDS)
        self._next_try_at = now + self._pause

    def record_failure(self, cause: str | None) -> None:
        """Count a failure; the fifth in a row opens the breaker."""
        self._failures += 1
        self._cause = cause
        self._next_try_at = time.monotonic() + min(self._pause, OPEN_SECONDS)

    def record_success(self) -> None:
        """Close the breaker."""
        self._failures = 0
        self._pause = FIRST_PAUSE_SECONDS
