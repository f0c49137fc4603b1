"""What docvault counts and measures, and the address where Prometheus reads it.

Every label takes its values from a short list: no path, id, name or address of anyone (D27).
Several processes under one supervisor share a folder of counters (the client's multiprocess
mode), listen on one address, and whichever is asked answers for all.
"""

import asyncio
import functools
import logging
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import AF_INET, AF_INET6, SO_REUSEPORT, SOL_SOCKET, socket
from socketserver import ThreadingTCPServer
from typing import Any, ParamSpec, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    MetricsHandler,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from docvault.errors import DocvaultError, StorageUnavailable
from docvault.shared_metrics import SHARED_DIR, SharedCounters, SharedProcesses

log = logging.getLogger(__name__)

# How long a scrape may ask the database, and how long a scraper may be silent.
READ_SECONDS = 3
SCRAPER_SECONDS = 5

REGISTRY = CollectorRegistry()
# A second series for each one, which says when it began; nothing here asks.
disable_created_metrics()  # type: ignore[no-untyped-call]

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SLOW = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

REQUEST_SECONDS = Histogram(
    "docvault_http_request_duration_seconds",
    "Requests by operation id, method and class of status, from headers to last byte.",
    ["operation", "method", "status"],
    buckets=_SLOW,
    registry=REGISTRY,
)
REQUESTS_IN_FLIGHT = Gauge(
    "docvault_http_requests_in_flight",
    "Requests that are being answered.",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
PROBLEMS = Counter(
    "docvault_http_problems_total",
    "Problem answers by code, those to single items of a batch included.",
    ["code"],
    registry=REGISTRY,
)

UPLOAD_BYTES = Counter(
    "docvault_upload_bytes_total",
    "Bytes of files received here, refused ones too; not those that clients gave to the store.",
    registry=REGISTRY,
)
FILES_STORED = Counter(
    "docvault_files_stored_total", "Files committed to documents.", registry=REGISTRY
)
DOWNLOAD_BYTES = Counter(
    "docvault_download_bytes_total", "Bytes of files and previews sent.", registry=REGISTRY
)
UPLOADS_IN_FLIGHT = Gauge(
    "docvault_upload_slots_in_use",
    "Uploads that are being received.",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
LIMITS_REACHED = Counter(
    "docvault_limits_reached_total",
    "Requests refused because their caller or customer has reached a limit.",
    ["limit"],
    registry=REGISTRY,
)
UPLOADS_REFUSED = Counter(
    "docvault_uploads_refused_total", "Uploads refused: no free slot.", registry=REGISTRY
)

POOL_SIZE = Gauge(
    "docvault_database_pool_size",
    "Connections the pools may hold.",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
POOL_IN_USE = Gauge(
    "docvault_database_pool_in_use",
    "Connections in use.",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
POOL_WAIT_SECONDS = Histogram(
    "docvault_database_pool_wait_seconds",
    "Time to get a connection, a new one made or not.",
    buckets=_FAST,
    registry=REGISTRY,
)
STATEMENT_SECONDS = Histogram(
    "docvault_database_statement_duration_seconds",
    "Time of SQL statements.",
    buckets=_FAST,
    registry=REGISTRY,
)
DATABASE_FAILURES = Counter(
    "docvault_database_failures_total",
    "Transactions that failed: pool_exhausted, timed_out or unavailable.",
    ["reason"],
    registry=REGISTRY,
)

STORE_SECONDS = Histogram(
    "docvault_store_operation_duration_seconds",
    "Operations of the blob store; result failed: the store does not answer.",
    ["operation", "result"],
    buckets=_FAST,
    registry=REGISTRY,
)
BLOBS_DAMAGED = Counter(
    "docvault_blobs_damaged_total",
    "Reads that found stored bytes missing or not those that were stored.",
    registry=REGISTRY,
)

SCAN_SECONDS = Histogram(
    "docvault_scan_duration_seconds",
    "Scans of files for malware; failed: no verdict.",
    ["result"],
    buckets=_SLOW,
    registry=REGISTRY,
)
SCANS = Counter(
    "docvault_scans_total",
    "Scans by what for (upload or rescan) and result: clean, infected, or failed for no verdict.",
    ["kind", "result"],
    registry=REGISTRY,
)

PREVIEW_SECONDS = Histogram(
    "docvault_preview_render_duration_seconds",
    "Renderings of previews; failed: the file is to blame; unavailable: we are.",
    ["result"],
    buckets=_SLOW,
    registry=REGISTRY,
)
JOB_SECONDS = Histogram(
    "docvault_job_duration_seconds",
    "Runs of jobs by task and result.",
    ["task", "result"],
    buckets=_SLOW,
    registry=REGISTRY,
)
JOB_RETRIES = Counter(
    "docvault_job_retries_total",
    "Failed jobs put back to be tried again.",
    ["task"],
    registry=REGISTRY,
)
REAPED = Counter(
    "docvault_reaped_total",
    "What the reaper found left behind: blobs whose upload never ended, jobs of dead workers.",
    ["kind"],
    registry=REGISTRY,
)
REAPER_SUCCEEDED = Gauge(
    "docvault_reaper_last_success_timestamp_seconds",
    "When the reaper last came to its end.",
    registry=REGISTRY,
    multiprocess_mode="max",
)

# Series that alerts watch are there from the start, here and where operations of the store and
# tasks are defined: Prometheus does not see a rise from nothing to one.
PROBLEMS.labels(DocvaultError.code)
for _reason in ("pool_exhausted", "timed_out", "unavailable"):
    DATABASE_FAILURES.labels(_reason)
for _kind in ("upload", "rescan"):
    for _reason in ("clean", "infected", "failed"):
        SCANS.labels(_kind, _reason)

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


@contextmanager
def measured(
    histogram: Histogram,
    *labels: str,
    results: Iterable[tuple[type[BaseException], str]] = ((Exception, "failed"),),
) -> Iterator[None]:
    """Observe how long the block takes; the last label is `ok` or what its exception stands for.

    An exception that stands for nothing (a missing blob, a cancellation) is `other`.
    """
    result, started = "ok", time.perf_counter()
    try:
        yield
    except BaseException as error:
        result = next((name for kind, name in results if isinstance(error, kind)), "other")
        raise
    finally:
        histogram.labels(*labels, result).observe(time.perf_counter() - started)


def store_operation(
    function: Callable[_Parameters, Awaitable[_Result]],
) -> Callable[_Parameters, Coroutine[Any, Any, _Result]]:
    """Measure a method of a blob store under its own name."""
    STORE_SECONDS.labels(function.__name__, "failed")

    @functools.wraps(function)
    async def timed(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        results = [(StorageUnavailable, "failed")]
        with measured(STORE_SECONDS, function.__name__, results=results):
            return await function(*args, **kwargs)

    return timed


def observe_request(
    operation: str | None, method: str, status: int, seconds: float, problem: str | None
) -> None:
    """Count an answered request; status 0: the client left before there was an answer."""
    REQUEST_SECONDS.labels(
        operation or "none",
        method,
        f"{status // 100}xx" if status else "none",
    ).observe(seconds)
    if problem is not None:
        PROBLEMS.labels(problem).inc()


# What waits in the database: by noun, (label, how many, age of the oldest in seconds).
Waiting = Mapping[str, Sequence[tuple[str, int, float | None]]]

_BACKLOGS = {
    "jobs": ("task", "Jobs that are not done, those to be tried again later included"),
    "blobs": ("state", "Blobs that are not attached (pending) or to be deleted (delete_queued)"),
    "erasures": ("state", "Erasures of customers"),
}


class Backlog(Collector):
    """What waits in the database, read when Prometheus asks and never for long."""

    def __init__(
        self, read: Callable[[], Coroutine[Any, Any, Waiting]], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._read = read
        self._loop = loop

    def describe(self) -> Iterable[Metric]:
        """Name the metrics without asking the database."""
        return _backlog_families({})

    def collect(self) -> Iterable[Metric]:
        """Ask from the scraper's thread; what cannot be read is left out."""
        waiting = self._ask()
        yield from _backlog_families(waiting or {})
        readable = GaugeMetricFamily("docvault_backlog_readable", _READABLE)
        readable.add_metric([], waiting is not None)
        yield readable

    def _ask(self) -> Waiting | None:
        future = asyncio.run_coroutine_threadsafe(self._bounded(), self._loop)
        try:
            # The second bound is for a loop that hangs.
            return future.result(READ_SECONDS + 1)
        except (TimeoutError, DocvaultError):
            future.cancel()
            return None

    async def _bounded(self) -> Waiting:
        async with asyncio.timeout(READ_SECONDS):
            return await self._read()


_READABLE = "Whether the database told in time what waits."


def _backlog_families(waiting: Waiting) -> Iterator[Metric]:
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


def metric_names() -> set[str]:
    """Return the name of every series there is, but for those about the process itself."""
    described = [*REGISTRY.collect(), *_backlog_families({})]
    own = [metric for metric in described if metric.name.startswith("docvault_")]
    return {"docvault_backlog_readable"} | {name for metric in own for name in _series(metric)}


def _series(metric: Metric) -> list[str]:
    endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
    return [metric.name + ending for ending in endings.get(metric.type, [""])]


@contextmanager
def served(bind: str, *collectors: Collector) -> Iterator[None]:
    """Serve the metrics in a thread, so that a busy event loop is still seen.

    An address that cannot be had is a warning: documents matter more than their metrics.
    """
    host, _, port = bind.rpartition(":")
    try:
        server = _Server((host.strip("[]"), int(port)), _handler(collectors))
    except (OSError, OverflowError) as error:
        log.warning("metrics are not served: %s", type(error).__name__)
        yield
        return
    with server:
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


class _Server(ThreadingTCPServer):
    """Not `HTTPServer`, which asks the name service for its own name before it starts."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], handler: type[MetricsHandler]) -> None:
        self.address_family = AF_INET6 if ":" in address[0] else AF_INET
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Share the address with the other processes of a supervisor, and with nobody else."""
        if SHARED_DIR in os.environ:
            self.socket.setsockopt(SOL_SOCKET, SO_REUSEPORT, 1)
        super().server_bind()

    def handle_error(self, request: socket | tuple[bytes, socket], client_address: object) -> None:
        """Log a line instead of a traceback on standard error."""
        del request, client_address
        log.warning("a scrape of the metrics failed: %s", sys.exc_info()[0])


def _handler(collectors: Sequence[Collector]) -> type[MetricsHandler]:
    registry = CollectorRegistry()
    for collector in (*_counters(), *collectors):
        registry.register(collector)
    handler: type[MetricsHandler] = MetricsHandler.factory(registry)
    handler.timeout = SCRAPER_SECONDS
    return handler


def _counters() -> list[Collector]:
    folder = os.environ.get(SHARED_DIR)
    if folder is not None:
        return [SharedCounters(Path(folder)), SharedProcesses(Path(folder))]
    with suppress(ValueError):  # more than one server in a process of the tests
        ProcessCollector(registry=REGISTRY)
    return [REGISTRY]
