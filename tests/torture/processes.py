"""docvault processes that start quickly and can be killed at any moment."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60
POLL_SECONDS = 0.005
DYING_SECONDS = 2
_ADDRESS = re.compile(rb"docvault listens on (http://\S+)")


class ForkServer:
    """The process that forks docvault processes; see `zygote.py`."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.torture.zygote"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def start(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        failpoint: Mapping[str, Any] | None = None,
    ) -> "DocvaultProcess":
        """Start a docvault command."""
        reply = self._ask(
            arguments=list(arguments),
            environment=dict(environment),
            log=str(log),
            folder=str(log.parent),
            failpoint=failpoint,
        )
        return DocvaultProcess(self, reply["pid"], log)

    def wait(self, pid: int) -> int:
        """Return the exit status of a process; raise if it does not exit in time."""
        status: int | None = self._ask(wait=pid)["status"]
        if status is None:
            raise AssertionError(f"process {pid} did not exit")
        return status

    def _ask(self, **order: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError("the zygote ended")
        reply: dict[str, Any] = json.loads(line)
        return reply


@dataclass(slots=True)
class DocvaultProcess:
    """A running docvault command with its own log."""

    fork_server: ForkServer
    pid: int
    log: Path
    status: int | None = None

    def address(self) -> str:
        """Wait until the startup banner names the address."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with suppress(FileNotFoundError):
                if found := _ADDRESS.search(self.log.read_bytes()):
                    return found.group(1).decode()
            if self.has_ended():
                break
            time.sleep(POLL_SECONDS)
        raise AssertionError(f"docvault did not start:\n{self.log.read_text()[-3000:]}")

    def has_ended(self) -> bool:
        """Whether it has exited; it may not have been reaped yet."""
        if self.status is not None:
            return True
        with suppress(OSError):
            return "\nState:\tZ" in Path(f"/proc/{self.pid}/status").read_text()
        return True

    def was_killed(self) -> bool:
        """Whether it has been killed or is dying; does not affect a running process."""
        deadline = time.monotonic() + DYING_SECONDS
        while not self.has_ended() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return self.has_ended() and self.wait() == -signal.SIGKILL

    def kill(self) -> None:
        """Kill it and wait until it has exited."""
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def stop(self) -> int:
        """Stop it gracefully."""
        os.kill(self.pid, signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Wait until it exits by itself; return its exit status."""
        if self.status is None:
            self.status = self.fork_server.wait(self.pid)
        return self.status
