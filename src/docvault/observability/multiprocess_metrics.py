"""The metrics of several processes under one supervisor, which share a folder.

Each process writes its counters there (the client's multiprocess mode), and each can report for
all of them.
"""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from prometheus_client import ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from docvault.process_directory import ProcessDirectory

# The client reads this variable when it is imported; the supervisor sets it for its children.
DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

# The metrics of processes that can be added up.
_SUMMED = (
    "process_cpu_seconds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
)


@contextmanager
def metrics_directory() -> Iterator[Path]:
    """Create a folder for the duration of the block; remove those of killed supervisors."""
    folder = ProcessDirectory(Path(tempfile.gettempdir()), "docvault-metrics-")
    folder.remove_leftovers()
    try:
        yield folder.path
    finally:
        folder.close()


class SharedCounters(Collector):
    """The sums over the processes that share a folder.

    The supervisor removes the gauges of a process that has died (`mark_process_dead`).
    """

    def __init__(self, folder: Path) -> None:
        self._merged = MultiProcessCollector(None, str(folder))  # type: ignore[no-untyped-call]

    def describe(self) -> Iterable[Metric]:
        """Return nothing: names are only needed to find duplicates; see `Collector`."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Add the files of all processes up; see `Collector`."""
        merged: Iterable[Metric] = self._merged.collect()  # type: ignore[no-untyped-call]
        return merged


class SharedProcesses(Collector):
    """The sums of CPU time, memory and descriptors over the live processes that share a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def describe(self) -> Iterable[Metric]:
        """Return nothing; see `SharedCounters`."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Query the operating system about each process; see `Collector`."""
        sums: dict[str, Metric] = {}
        for pid in sorted({_parse_pid(file) for file in self._folder.glob("*.db")}):
            for metric in ProcessCollector(pid=partial(str, pid), registry=None).collect():
                if metric.name in _SUMMED:
                    _add(sums.setdefault(metric.name, metric), metric)
        return sums.values()


def _add(total: Metric, metric: Metric) -> None:
    if metric is not total:
        (one,), (other,) = total.samples, metric.samples
        total.samples = [one._replace(value=one.value + other.value)]


def _parse_pid(file: Path) -> int:
    return int(file.stem.rpartition("_")[2])
