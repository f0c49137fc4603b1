"""The metrics of docvault.

Every label has a short list of values: no path, id, name or address of anyone (D27).
"""

import functools
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.core import Metric

from docvault.errors import InternalError, StorageUnavailable
from docvault.issuers import SIMPLE_NAME
from docvault.observability.backlog import READABLE, build_families

REGISTRY = CollectorRegistry()
# The `_created` series would double the number of series, and nothing here uses them.
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
    "Requests in progress.",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
PROBLEMS = Counter(
    "docvault_http_problems_total",
    "Problem responses by code, including those of single items of a batch.",
    ["code"],
    registry=REGISTRY,
)

UPLOAD_BYTES = Counter(
    "docvault_upload_bytes_total",
    "Bytes of files received, including refused files, but not uploads to presigned URLs.",
    registry=REGISTRY,
)
FILES_STORED = Counter(
    "docvault_files_stored_total", "Files committed to documents.", registry=REGISTRY
)
DOWNLOAD_BYTES = Counter(
    "docvault_download_bytes_total", "Bytes of files and previews sent.", registry=REGISTRY
)
UPLOADS_IN_FLIGHT = Gauge(
    "docvault_uploads_in_flight",
    "Uploads in progress.",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
LIMITS_REACHED = Counter(
    "docvault_limits_reached_total",
    "Requests refused because their caller or customer has reached a limit.",
    ["limit"],
    registry=REGISTRY,
)
AUDITED_REFUSALS = Counter(
    "docvault_denials_total",
    "Refusals of authenticated callers by action, whether or not each was audited.",
    ["action"],
    registry=REGISTRY,
)
UPLOADS_REFUSED = Counter(
    "docvault_uploads_refused_total",
    "Uploads refused because too many were in progress.",
    registry=REGISTRY,
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
    "Time to get a connection from the pool, or a new one.",
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
    "Operations of the blob store; failed: the store is unavailable.",
    ["operation", "result"],
    buckets=_FAST,
    registry=REGISTRY,
)
BLOBS_CORRUPT = Counter(
    "docvault_blobs_corrupt_total",
    "Reads that found stored bytes missing or changed.",
    registry=REGISTRY,
)

SCAN_SECONDS = Histogram(
    "docvault_scan_duration_seconds",
    "Malware scans of files; failed: no verdict.",
    ["result"],
    buckets=_SLOW,
    registry=REGISTRY,
)
SCANS = Counter(
    "docvault_scans_total",
    "Malware scans by kind (upload or rescan) and result (clean, infected, or failed: no verdict).",
    ["kind", "result"],
    registry=REGISTRY,
)

INSPECTION_SECONDS = Histogram(
    "docvault_inspection_duration_seconds",
    "Inspections of files; refused: the file is invalid; unavailable: internal error.",
    ["result"],
    buckets=_FAST,
    registry=REGISTRY,
)
INSPECTORS_REPLACED = Counter(
    "docvault_inspectors_replaced_total",
    "Inspector processes replaced, by reason: cpu or memory limit, crashed, nonsense (invalid"
    " reply), killed from outside, stalled.",
    ["reason"],
    registry=REGISTRY,
)

PREVIEW_SECONDS = Histogram(
    "docvault_preview_render_duration_seconds",
    "Renderings of previews; failed: the file cannot be rendered; unavailable: internal error.",
    ["result"],
    buckets=_SLOW,
    registry=REGISTRY,
)
KEY_FETCHES = Counter(
    "docvault_key_fetches_total",
    "Fetches of the keys of a trusted issuer, by its name in the settings and result.",
    ["issuer", "result"],
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
    "Failed jobs scheduled for a retry.",
    ["task"],
    registry=REGISTRY,
)
REAPED = Counter(
    "docvault_reaped_total",
    "What the reaper cleaned up: blobs of abandoned uploads, jobs of dead workers.",
    ["kind"],
    registry=REGISTRY,
)
REAPER_SUCCEEDED = Gauge(
    "docvault_reaper_last_success_timestamp_seconds",
    "When the reaper last finished.",
    registry=REGISTRY,
    multiprocess_mode="max",
)
WEBHOOK_DELIVERIES = Counter(
    "docvault_webhook_deliveries_total",
    "Attempts to deliver events to webhooks by outcome: delivered, retried (to be tried again),"
    " failed (it was the last attempt), dropped (the event was erased).",
    ["outcome"],
    registry=REGISTRY,
)
WEBHOOKS_DISABLED = Counter(
    "docvault_webhooks_disabled_total",
    "Webhooks that docvault has disabled, by reason: gone (410), failing (for five days).",
    ["reason"],
    registry=REGISTRY,
)

PROCESSES_REPLACED = Counter(
    "docvault_processes_replaced_total",
    "Processes restarted by a supervisor because they died or were stuck.",
    ["reason"],
    registry=REGISTRY,
)

# Prometheus does not see an increase from no series to 1. So the series of alerts exist from the
# start; those of store operations and tasks are created where these are defined.
PROBLEMS.labels(InternalError.code)
for _reason in ("pool_exhausted", "timed_out", "unavailable"):
    DATABASE_FAILURES.labels(_reason)
for _reason in ("died", "stuck"):
    PROCESSES_REPLACED.labels(_reason)
for _reason in ("cpu", "memory", "crashed", "nonsense", "killed", "stalled"):
    INSPECTORS_REPLACED.labels(_reason)
KEY_FETCHES.labels(SIMPLE_NAME, "failed")
for _reason in ("gone", "failing"):
    WEBHOOKS_DISABLED.labels(_reason)
for _kind in ("upload", "rescan"):
    for _reason in ("clean", "infected", "failed"):
        SCANS.labels(_kind, _reason)

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


@contextmanager
def observe_duration(
    histogram: Histogram,
    *labels: str,
    results: Iterable[tuple[type[BaseException], str]] = ((Exception, "failed"),),
) -> Iterator[None]:
    """Observe the duration of the block; the last label is `ok` or the result of its exception.

    The result of an exception that is not in `results` (a missing blob, a cancellation) is `other`.
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
    """Decorate a method of a blob store to observe its duration under its own name."""
    STORE_SECONDS.labels(function.__name__, "failed")

    @functools.wraps(function)
    async def timed(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        results = [(StorageUnavailable, "failed")]
        with observe_duration(STORE_SECONDS, function.__name__, results=results):
            return await function(*args, **kwargs)

    return timed


def observe_request(
    operation: str | None, method: str, status: int, seconds: float, problem: str | None
) -> None:
    """Observe a finished request; status 0: the client disconnected before the response."""
    REQUEST_SECONDS.labels(
        operation or "none",
        method,
        f"{status // 100}xx" if status else "none",
    ).observe(seconds)
    if problem is not None:
        PROBLEMS.labels(problem).inc()


def metric_names() -> set[str]:
    """Return the names of all series except those about the process itself."""
    described = [*REGISTRY.collect(), *build_families({})]
    own = [metric for metric in described if metric.name.startswith("docvault_")]
    return {READABLE} | {name for metric in own for name in _list_series(metric)}


def _list_series(metric: Metric) -> list[str]:
    endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
    return [metric.name + ending for ending in endings.get(metric.type, [""])]
