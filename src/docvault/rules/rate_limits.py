"""Limits on what one caller may do in a minute or at once (D18), and counting in a process."""

import time
from collections.abc import Callable
from enum import StrEnum

WINDOW_SECONDS = 60
# Beyond so many the one that was counted first is forgotten: some 10 MiB at most.
MAX_WINDOWS = 50_000


class Limit(StrEnum):
    """What is limited; the words stand in the metrics."""

    CUSTOMER_UPLOADS = "customer_uploads"
    CUSTOMER_REQUESTS = "customer_requests"
    API_KEY_REQUESTS = "api_key_requests"
    FAILED_CREDENTIALS = "failed_credentials"
    CUSTOMER_PARALLEL_UPLOADS = "customer_parallel_uploads"


class Windows:
    """Counts under ids in windows of a minute, each of which begins with its first count."""

    def __init__(
        self, *, max_windows: int = MAX_WINDOWS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_windows = max_windows
        self._clock = clock
        # In the order in which they began, so that the first is the one to forget.
        self._windows: dict[bytes, tuple[float, int]] = {}

    def __len__(self) -> int:
        return len(self._windows)

    def take(self, id_: bytes, limit: int) -> float:
        """Count once more; return 0, or the seconds until the window ends when it is full."""
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
