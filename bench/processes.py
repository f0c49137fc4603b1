"""Servers as process trees: started, measured through the operating system, stopped."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import psutil

START_SECONDS = 120.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.02
MEBIBYTE = 1024 * 1024


class NotStarted(Exception):
    """A server did not start; the message has the end of its output."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A process and its descendants."""

    pid: int

    def processes(self) -> list[psutil.Process]:
        """Return the processes that are running."""
        try:
            root = psutil.Process(self.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def cpu_seconds(self) -> float:
        """Return the CPU time used so far, including children that have exited."""
        total = 0.0
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def reset_peak(self) -> None:
        """Reset `peak_bytes` (see proc(5), clear_refs)."""
        for process in self.processes():
            with suppress(OSError):
                Path(f"/proc/{process.pid}/clear_refs").write_text("5")

    def peak_bytes(self) -> int:
        """Return the sum of the peak resident sizes; shared pages count in each process."""
        return self._sum_status("VmHWM")

    def resident_bytes(self) -> int:
        """Return the sum of the resident sizes; shared pages count in each process."""
        return self._sum_status("VmRSS")

    def proportional_bytes(self) -> int:
        """Return the proportional size (PSS): shared pages are divided among their processes."""
        total = 0
        for process in self.processes():
            with suppress(psutil.Error):
                total += process.memory_full_info().pss
        return total

    def pause(self) -> None:
        """Suspend all processes, so that they do not use CPU."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Resume all processes."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def _sum_status(self, field: str) -> int:
        total = 0
        for process in self.processes():
            with suppress(OSError):
                for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
                    if line.startswith(f"{field}:"):
                        total += int(line.split()[1]) * 1024
        return total


@contextmanager
def running(
    command: Sequence[str | Path],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    ready: Callable[[], bool],
) -> Iterator[Tree]:
    """Run a server until the block ends; raise `NotStarted`.

    `environment` is added to the current one. Standard output and error are written to `log`.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, **(environment or {})},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _wait_until(ready, process, log)
        yield Tree(process.pid)
    finally:
        _stop(process)


def responses(port: int, path: str = "/") -> Callable[[], bool]:
    """Return a check for whether a server responds on a port with a status below 500."""

    def ready() -> bool:
        # Cheap, because it is polled while the start-up is measured.
        connection = HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", path)
            return connection.getresponse().status < 500
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    return ready


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            tail = log.read_text(errors="replace")[-2000:]
            raise NotStarted(f"{process.args!r} did not start:\n{tail}")
        time.sleep(POLL_SECONDS)


def _stop(process: subprocess.Popen[bytes]) -> None:
    tree = Tree(process.pid)
    tree.resume()
    left = tree.processes()
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in left:
        with suppress(psutil.NoSuchProcess):
            child.kill()
