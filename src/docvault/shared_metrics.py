"""The metrics of several processes under one supervisor, which share a folder.

Each writes its counters there (the client's multiprocess mode), and whichever is asked answers
for all of them.
"""

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from prometheus_client import ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from docvault.locked_folders import LockedFolder

# The client reads it when it is imported; the supervisor sets it for its children.
SHARED_DIR = "PROMETHEUS_MULTIPROC_DIR"

# Of what is told about a process, that which has a sum.
_SUMMED = (
    "process_cpu_seconds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
)


@contextmanager
def shared_folder() -> Iterator[Path]:
    """Give a folder for as long as the block runs; those that a kill left behind are removed."""
    folder = LockedFolder(Path(tempfile.gettempdir()), "docvault-metrics-")
    folder.remove_leftovers()
    try:
        yield folder.path
    finally:
        folder.close()


class SharedCounters(Collector):
    """The sums of the processes that share a folder; gauges are those of living ones."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._merged = MultiProcessCollector(None, str(folder))  # type: ignore[no-untyped-call]

    def describe(self) -> Iterable[Metric]:
        """Nothing to compare with: there is no other collector of these."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Add up."""
        for file in self._folder.glob("gauge_live*_*.db"):
            if not _lives(_pid_of(file)):
                file.unlink(missing_ok=True)
        merged: Iterable[Metric] = self._merged.collect()  # type: ignore[no-untyped-call]
        return merged


class SharedProcesses(Collector):
    """CPU time, memory and descriptors of the living processes that share a folder, added up."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def describe(self) -> Iterable[Metric]:
        """Nothing to compare with, as above."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Ask the operating system about each."""
        sums: dict[str, Metric] = {}
        for pid in sorted({_pid_of(file) for file in self._folder.glob("*.db")}):
            for metric in ProcessCollector(pid=partial(str, pid), registry=None).collect():
                if metric.name in _SUMMED:
                    _add(sums.setdefault(metric.name, metric), metric)
        return sums.values()


def _add(total: Metric, metric: Metric) -> None:
    if metric is not total:
        (one,), (other,) = total.samples, metric.samples
        total.samples = [one._replace(value=one.value + other.value)]


def _pid_of(file: Path) -> int:
    return int(file.stem.rpartition("_")[2])


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
