"""SeaweedFS, the S3 store that docvault uses and that peers write to directly."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.fixtures import seaweedfs as wheel

from bench.processes import Tree
from bench.setup import Missing, Setup


@contextmanager
def seaweedfs(setup: Setup) -> Iterator[wheel.S3Server]:
    """Run the server on the directory for stored files until the block ends; raise `Missing`."""
    if not wheel.WEED.exists():
        raise Missing("SeaweedFS is not installed (make install)")
    with wheel.seaweedfs(setup.store_folder("seaweedfs")) as server:
        yield server


def store_settings(setup: Setup, server: wheel.S3Server) -> dict[str, str]:
    """Return the settings with which docvault uses this store."""
    return {
        "DOCVAULT_STORAGE_URL": f"s3://{wheel.BUCKET}/docvault",
        "DOCVAULT_SPOOL_DIR": str(setup.store_folder("spool")),
        **server.environment(),
    }


def processes(server: wheel.S3Server) -> Tree:
    """Return the processes of the server."""
    return Tree(server.pid)
