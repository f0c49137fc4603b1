"""A typical FastAPI application, in two uvicorn processes."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import Tree, free_port, responses, running
from bench.setup import Setup


@dataclass(frozen=True, slots=True)
class PlainFastAPI:
    """A running application."""

    port: int
    server: Tree
    store: Path


@contextmanager
def plain_fastapi(setup: Setup) -> Iterator[PlainFastAPI]:
    """Run the application until the block ends."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "bench.peers.plain_fastapi_app:app"]
    command += ["--port", str(port), "--workers", "2", "--no-access-log"]
    store = setup.store_folder("plain-fastapi")
    environment = {"BENCH_STORE": str(store)}
    log = setup.folder("plain-fastapi") / "log"
    ready = responses(port, "/openapi.json")
    with running(command, log, environment=environment, ready=ready) as server:
        yield PlainFastAPI(port, server, store)
