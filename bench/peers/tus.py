"""@tus/server: an upload server without a database, without authentication, without fsync."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import requests
from bench.peers.npm import installed
from bench.processes import Tree, free_port, responses, running
from bench.setup import Missing, Setup

FOLDER = Path(__file__).with_name("tus_server")


@dataclass(frozen=True, slots=True)
class Tus:
    """A running server; one process, as in its documentation."""

    port: int
    server: Tree

    def upload(self, content: bytes) -> bytes:
        """Return the request that creates an upload including its bytes."""
        return self.upload_head(len(content)) + content

    def upload_head(self, size_bytes: int) -> bytes:
        """Return the head of that request."""
        return requests.raw_head(
            "POST",
            "/files",
            size_bytes,
            {
                "Tus-Resumable": "1.0.0",
                "Upload-Length": str(size_bytes),
                "Content-Type": "application/offset+octet-stream",
            },
        )


@contextmanager
def tus(setup: Setup) -> Iterator[Tus]:
    """Run the server until the block ends; raise `Missing`."""
    installed(FOLDER)
    node = shutil.which("node")
    if node is None:
        raise Missing("node is not installed (Debian: apt-get install nodejs)")
    port = free_port()
    command: list[str | Path] = [node, "server.mjs", setup.store_folder("tus"), str(port)]
    environment = {"NODE_ENV": "production"}
    log = setup.folder("tus") / "log"
    ready = responses(port, "/files")
    with running(command, log, environment=environment, folder=FOLDER, ready=ready) as server:
        yield Tus(port, server)
