"""Start-up: a process that is started again is soon there."""

import time
from collections.abc import Callable
from pathlib import Path

from bench.measure import Check, Contestant, Result, Sample, interleave
from bench.peers.docvault import PROGRAM, WORKERS, Docvault, docvault
from bench.processes import answers, free_port, running
from bench.setup import Setup

TITLE = "Start on a database that is ready, until /readyz says so"
TARGET = "below 2 s"


def measure(setup: Setup) -> Result:
    """Start processes beside a docvault that stands still."""
    result = Result("startup", TITLE, TARGET, "seconds")
    with docvault(setup) as ours:
        ours.server.pause()
        ours.worker.pause()
        contestants = [
            Contestant("one process", _start(setup, ours, 1)),
            Contestant(f"{WORKERS} processes", _start(setup, ours, WORKERS)),
        ]
        interleave(result, contestants, setup.rounds)
    seconds = result.median("one process", "seconds")
    result.checks.append(Check("start of one process", seconds, 2, "lower", unit=" s"))
    return result


def _start(setup: Setup, ours: Docvault, workers: int) -> Callable[[], Sample]:
    def turn() -> Sample:
        port, log = free_port(), setup.folder("starting") / "log"
        command: list[str | Path] = [
            PROGRAM,
            "serve",
            "--port",
            str(port),
            "--workers",
            str(workers),
        ]
        ready = answers(port, "/readyz")
        started = time.perf_counter()
        with running(command, log, environment=ours.environment, ready=ready) as server:
            seconds = time.perf_counter() - started
            return {"seconds": seconds, "cpu_seconds": server.cpu_seconds()}

    return turn
