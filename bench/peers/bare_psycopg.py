"""A bare psycopg handler on docvault's own rows, in two uvicorn processes."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.processes import Tree, free_port, responses, running
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
    ready = responses(port, "/nobody")
    with running(command, log, environment=environment, ready=ready) as server:
        yield BarePsycopg(port, server)
