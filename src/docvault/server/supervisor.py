"""A supervisor of several processes: starts, restarts and stops them."""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType

from docvault.server.heartbeat import Pulse

log = logging.getLogger(__name__)

STOP_SECONDS = 30
# How long requests are still accepted after SIGTERM, so that a load balancer notices that the
# process is not ready; then connections are refused.
DRAIN_SECONDS = 2
CHECK_SECONDS = 0.2
# The minimum time between two starts of a process that dies immediately.
RESTART_SECONDS = 1.0
# How often a process checks whether its supervisor is alive.
WATCH_SECONDS = 1.0


@dataclass(slots=True)
class _Process:
    """A running process and the pipe of its heartbeats."""

    popen: subprocess.Popen[bytes]
    pulse: Pulse
    started_at: float
    is_stuck: bool = False

    def check_pulse(self, seconds: float) -> None:
        """Kill the process if its event loop has been silent for too long."""
        if self.is_stuck or self.popen.poll() is not None or not self.pulse.is_lost(seconds):
            return
        log.error(
            "process %d is stuck, starting another: its event loop did not run for %d s",
            self.popen.pid,
            self.pulse.silent_seconds,
        )
        self.is_stuck = True
        # SIGTERM would be handled by the event loop, which does not run.
        self.popen.kill()


class Supervisor:
    """Runs a process for each command line of docvault; restarts those that die or hang.

    Only serving processes inherit the listening socket; any other holder would keep it open and
    strand connections. `on_listen` is called once the first of them listens, `on_exit` with the
    process id of each process that has died.
    """

    def __init__(
        self,
        serving: Sequence[Sequence[str]],
        others: Sequence[Sequence[str]],
        environment: Mapping[str, str],
        listener: socket.socket | None,
        *,
        on_listen: Callable[[], None] | None = None,
        on_exit: Callable[[int], None] | None = None,
    ) -> None:
        self._serving = len(serving)
        self._commands = [
            [sys.executable, "-m", "docvault", *command] for command in (*serving, *others)
        ]
        self._environment = {**os.environ, **environment}
        self._listener = listener
        self._on_listen = on_listen
        self._on_exit = on_exit
        self._processes: list[_Process] = []
        self._signals = 0

    def run(self) -> None:
        """Run until SIGINT or SIGTERM; a second signal kills the processes."""
        previous = {
            number: signal.signal(number, self._on_signal)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            for index in range(len(self._commands)):
                self._processes.append(self._start(index))
            checked_at = time.monotonic()
            while not self._signals:
                self._report_listening()
                now = time.monotonic()
                self._kill_stuck_processes(now - checked_at)
                checked_at = now
                self._restart_dead_processes()
                time.sleep(CHECK_SECONDS)
        finally:
            self._stop()
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._signals += 1

    def _start(self, index: int, *options: str) -> _Process:
        pulse = Pulse()
        inherited = [pulse.write_end]
        if self._listener is not None and index < self._serving:
            inherited.append(self._listener.fileno())
        # A session of its own: Ctrl-C at the terminal only reaches the supervisor, which stops
        # the processes in order.
        popen = subprocess.Popen(  # noqa: S603 - our own command line
            [*self._commands[index], "--heartbeat", str(pulse.write_end), *options],
            env=self._environment,
            pass_fds=inherited,
            start_new_session=True,
        )
        os.close(pulse.write_end)
        return _Process(popen, pulse, time.monotonic())

    def _report_listening(self) -> None:
        if self._listener is None or self._on_listen is None:
            return
        if self._listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            self._on_listen()
            self._on_listen = None

    def _kill_stuck_processes(self, seconds: float) -> None:
        for process in self._processes:
            process.check_pulse(seconds)

    def _restart_dead_processes(self) -> None:
        for index, process in enumerate(self._processes):
            is_young = time.monotonic() - process.started_at < RESTART_SECONDS
            if process.popen.poll() is None or is_young:
                continue
            if self._on_exit is not None:
                self._on_exit(process.popen.pid)
            if not process.is_stuck:
                status = process.popen.returncode
                log.error("process died, starting another", extra={"status": status})
            process.pulse.close()
            reason = "stuck" if process.is_stuck else "died"
            self._processes[index] = self._start(index, "--replaces", reason)

    def _stop(self) -> None:
        popens = [process.popen for process in self._processes]
        for popen in popens:
            if popen.poll() is None:
                popen.send_signal(signal.SIGTERM)
        began = time.monotonic()
        deadline = began + STOP_SECONDS
        while any(popen.poll() is None for popen in popens):
            if self._listener is not None and time.monotonic() > began + DRAIN_SECONDS:
                # Otherwise the kernel would accept connections that no process serves.
                self._listener.close()
            if self._signals > 1 or time.monotonic() > deadline:
                for popen in popens:
                    popen.kill()
            time.sleep(CHECK_SECONDS / 4)
        for process in self._processes:
            process.pulse.close()


def exit_when_parent_dies(supervisor: int) -> None:
    """Shut this process down if the supervisor was killed.

    Nothing would restart or stop it, and the next supervisor could not listen on the address.
    """

    def watch() -> None:
        while os.getppid() == supervisor:
            time.sleep(WATCH_SECONDS)
        log.error("the supervisor has died")
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
