"""Start-up: a restarted process is ready quickly, and so is a command (P15)."""

import os
import resource
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from bench.measure import Check, Contestant, Result, Sample, interleave
from bench.peers.docvault import PROGRAM, WORKERS, Docvault, docvault
from bench.processes import free_port, responses, running
from bench.setup import Setup

TITLE = "Start on a migrated database, until /readyz is 200"
TARGET = "below 2 s; `docvault token` at most 0.4 s of CPU"


def measure(setup: Setup) -> Result:
    """Start processes next to an idle docvault."""
    result = Result("startup", TITLE, TARGET, "seconds")
    with docvault(setup) as ours:
        ours.server.pause()
        ours.worker.pause()
        contestants = [
            Contestant("one process", _start(setup, ours, 1)),
            Contestant(f"{WORKERS} processes", _start(setup, ours, WORKERS)),
            Contestant("docvault token", lambda: _run_token(ours)),
        ]
        interleave(result, contestants, setup.rounds)
    seconds = result.median("one process", "seconds")
    token = result.median("docvault token", "cpu_seconds")
    result.checks += [
        Check("start of one process", seconds, 2, "lower", unit=" s"),
        Check("CPU time of docvault token", token, 0.4, "lower", unit=" s"),
    ]
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
        ready = responses(port, "/readyz")
        started = time.perf_counter()
        with running(command, log, environment=ours.environment, ready=ready) as server:
            seconds = time.perf_counter() - started
            return {"seconds": seconds, "cpu_seconds": server.cpu_seconds()}

    return turn


def _run_token(ours: Docvault) -> Sample:
    started, before = time.perf_counter(), _children_cpu_seconds()
    subprocess.run(
        [PROGRAM, "token", "customer", "c-1"],
        env={**os.environ, **ours.environment},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": _children_cpu_seconds() - before,
    }


def _children_cpu_seconds() -> float:
    """Return the CPU time of the children that have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime
