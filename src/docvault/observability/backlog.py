"""Pending work in the database, as metrics that are read at each scrape."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from docvault.errors import DocvaultError

# How long a scrape may wait for the database.
READ_SECONDS = 3

READABLE = "docvault_backlog_readable"

# By noun: (label, number, age of the oldest in seconds).
Waiting = Mapping[str, Sequence[tuple[str, int, float | None]]]

_BACKLOGS = {
    "jobs": ("task", "Jobs that are not finished, including those to be retried"),
    "blobs": ("state", "Blobs that are not attached (pending) or to be deleted (delete_queued)"),
    "erasures": ("state", "Erasures of customers"),
    "events": ("state", "Events that have no position yet"),
    "deliveries": (
        "state",
        "Deliveries to webhooks (pending), and those due to webhooks that do not fail (late)",
    ),
    "webhooks": ("state", "Webhooks whose last attempt has failed"),
}


class Backlog(Collector):
    """Reads the backlog at each scrape, within a time limit."""

    def __init__(
        self, read: Callable[[], Coroutine[Any, Any, Waiting]], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._read = read
        self._loop = loop

    def describe(self) -> Iterable[Metric]:
        """Return the metrics without reading the database; see `Collector`."""
        return build_families({})

    def collect(self) -> Iterable[Metric]:
        """Read the database from the scraper's thread; without a result, emit no backlog."""
        waiting = self._read_from_thread()
        yield from build_families(waiting or {})
        readable = GaugeMetricFamily(READABLE, "Whether the database could be read in time.")
        readable.add_metric([], waiting is not None)
        yield readable

    def _read_from_thread(self) -> Waiting | None:
        future = asyncio.run_coroutine_threadsafe(self._read_in_time(), self._loop)
        try:
            # The second limit is for an event loop that hangs.
            return future.result(READ_SECONDS + 1)
        except (TimeoutError, DocvaultError):
            future.cancel()
            return None

    async def _read_in_time(self) -> Waiting:
        async with asyncio.timeout(READ_SECONDS):
            return await self._read()


def build_families(waiting: Waiting) -> Iterator[Metric]:
    """Yield the metrics of a backlog."""
    for noun, (label, text) in _BACKLOGS.items():
        number = GaugeMetricFamily(f"docvault_backlog_{noun}", f"{text}.", labels=[label])
        age = GaugeMetricFamily(
            f"docvault_backlog_{noun}_oldest_age_seconds",
            f"{text}: age of the oldest.",
            labels=[label],
        )
        for name, count, oldest in waiting.get(noun, ()):
            number.add_metric([name], count)
            if oldest is not None:
                age.add_metric([name], oldest)
        yield number
        yield age
