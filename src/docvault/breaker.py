"""Not waiting for a backend that has just failed several times in a row (D31)."""

import math
import time

from docvault.errors import Unavailable

FAILURES = 5
OPEN_SECONDS = 5.0


class Breaker:
    """Counts the failures of a backend; after five in a row nobody is sent there for a while.

    Then one caller at a time tries for all the others: its success lets everybody in again.
    """

    def __init__(self, error: type[Unavailable]) -> None:
        self._error = error
        self._failures = 0
        self._next_try_at = 0.0

    def admit(self) -> None:
        """Raise the error of the backend when it is not worth trying now."""
        if self._failures < FAILURES:
            return
        now = time.monotonic()
        if now < self._next_try_at:
            wait = math.ceil(self._next_try_at - now)
            raise self._error(retry_after_seconds=wait)
        self._next_try_at = now + OPEN_SECONDS

    def failed(self) -> None:
        """Note that the backend has failed."""
        self._failures += 1
        self._next_try_at = time.monotonic() + OPEN_SECONDS

    def succeeded(self) -> None:
        """Note that the backend has answered."""
        self._failures = 0
