"""Several processes as one: started together, restarted when one dies, stopped together."""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from types import FrameType

log = logging.getLogger(__name__)

STOP_SECONDS = 30
# How long a load balancer has to notice that a process is no longer ready: requests are taken for
# so long after SIGTERM, and then connections are refused.
DRAIN_SECONDS = 2
CHECK_SECONDS = 0.2
# A process that dies at once is not started again faster than this.
RESTART_SECONDS = 1.0
# How often a process looks whether its supervisor still lives.
WATCH_SECONDS = 1.0


class Supervisor:
    """Runs one command line of docvault for each entry; arguments as after `docvault`.

    Those that serve inherit the listener, and no others: with a copy of theirs the kernel would go
    on taking connections that nobody answers.
    """

    def __init__(
        self,
        serving: Sequence[Sequence[str]],
        others: Sequence[Sequence[str]],
        environment: Mapping[str, str],
        listener: socket.socket,
    ) -> None:
        self._serving = len(serving)
        self._commands = [
            [sys.executable, "-m", "docvault", *command] for command in (*serving, *others)
        ]
        self._environment = {**os.environ, **environment}
        self._listener = listener
        self._processes: list[subprocess.Popen[bytes]] = []
        self._started_at: list[float] = []
        self._signals = 0

    def run(self) -> None:
        """Run until SIGINT or SIGTERM; the second one ends everything at once."""
        previous = {
            number: signal.signal(number, self._on_signal)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            for index in range(len(self._commands)):
                self._processes.append(self._start(index))
                self._started_at.append(time.monotonic())
            while not self._signals:
                self._restart_the_dead()
                time.sleep(CHECK_SECONDS)
        finally:
            self._stop()
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._signals += 1

    def _start(self, index: int) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C at the terminal comes to us alone, and we stop the
        # others in order.
        return subprocess.Popen(  # noqa: S603 - our own command line
            self._commands[index],
            env=self._environment,
            pass_fds=[self._listener.fileno()] if index < self._serving else [],
            start_new_session=True,
        )

    def _restart_the_dead(self) -> None:
        for index, process in enumerate(self._processes):
            young = time.monotonic() - self._started_at[index] < RESTART_SECONDS
            if process.poll() is None or young:
                continue
            log.error("process died, starting another", extra={"status": process.returncode})
            self._processes[index] = self._start(index)
            self._started_at[index] = time.monotonic()

    def _stop(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        deadline = began + STOP_SECONDS
        while any(process.poll() is None for process in self._processes):
            if time.monotonic() > began + DRAIN_SECONDS:
                # While anybody has it open the kernel takes connections that nobody answers.
                self._listener.close()
            if self._signals > 1 or time.monotonic() > deadline:
                for process in self._processes:
                    process.kill()
            time.sleep(CHECK_SECONDS / 4)


def end_with(supervisor: int) -> None:
    """Stop this process in order when its supervisor is gone, which a kill can make of it.

    Nobody would restart or stop it any more, and it would keep the address from the next one.
    """

    def watch() -> None:
        while os.getppid() == supervisor:
            time.sleep(WATCH_SECONDS)
        log.error("the supervisor is gone")
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
