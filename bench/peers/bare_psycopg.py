"""A bare handler on psycopg over docvault's own rows, on two processes of uvicorn."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.processes import Tree, answers, free_port, running
from bench.setup import Setup


@dataclass(frozen=True, slots=True)
class BarePsycopg:
    """A running handler."""

    port: int
    server: Tree


@contextmanager
def bare_psycopg(setup: Setup, database_url: str) -> Iterator[BarePsycopg]:
    """Run the handler until the block ends."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "bench.peers.bare_psycopg_app:app"]
    command += ["--port", str(port), "--workers", "2", "--no-access-log"]
    environment = {"BENCH_DATABASE_URL": database_url}
    log = setup.folder("bare-psycopg") / "log"
    ready = answers(port, "/nobody")
    with running(command, log, environment=environment, ready=ready) as server:
        yield BarePsycopg(port, server)
