"""The worker without its database: it recovers soon, and it stops on request."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from secrets import token_hex

import httpx
import pytest
from sqlalchemy import text
from tests.factories import files
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.faultproxy import Faults, PostgresProxy

from docvault.jobs import worker
from docvault.jobs.worker import worker_inside
from docvault.services.resources import Resources

PATH = "/v1/admin/customers/c-1/documents/contract"
LISTENING = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
LISTENERS = 1
BLOBS = "SELECT count(*) FROM blobs"
# A pool that doubles its delay reconnects after 1, 3, 7 and 15 seconds.
OUTAGE_SECONDS = 7.5


async def becomes(resources: Resources, statement: str, expected: int, seconds: float) -> bool:
    """Poll until the query returns the value or the time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        async with resources.database.transaction() as session:
            if (await session.execute(text(statement))).scalar_one() == expected:
                return True
        await asyncio.sleep(0.05)
    return False


def disconnect(proxy: PostgresProxy) -> None:
    proxy.faults = Faults(refuse=True)
    proxy.reset_all()


class TestWorker:
    """`docvault worker` as a separate process."""

    async def test_worker_stops_while_database_is_silent(
        self, database_url: str, resources: Resources, tmp_path: Path
    ) -> None:
        with PostgresProxy(database_url) as proxy:
            process = start_worker(proxy.url, tmp_path)
            try:
                assert await becomes(resources, LISTENING, LISTENERS, seconds=60)
                proxy.faults = Faults(blackhole=True)
                process.terminate()
                _, log = await asyncio.to_thread(process.communicate, timeout=20)
            finally:
                process.kill()
        assert process.returncode == 0
        assert "the database does not respond, exiting without it" in log


def start_worker(database_url: str, folder: Path) -> subprocess.Popen[str]:
    """Start a worker that allows half a second for its jobs and a second for its own exit."""
    program = (
        "from docvault.jobs import worker\n"
        "worker.SHUTDOWN_SECONDS, worker.LEAVE_SECONDS = 0.5, 1\n"
        "from docvault.cli.main import main; main()"
    )
    settings = {
        "DOCVAULT_DATABASE_URL": database_url,
        "DOCVAULT_DATA_DIR": str(folder),
        "DOCVAULT_SECRET_KEY": token_hex(32),
    }
    return subprocess.Popen(
        [sys.executable, "-c", program, "worker"],
        env={**os.environ, **settings},
        stderr=subprocess.PIPE,
        text=True,
    )


class TestEmbeddedWorker:
    """The worker inside the API process."""

    async def test_jobs_run_soon_after_long_outage(
        self, admin: httpx.AsyncClient, database_url: str, resources: Resources
    ) -> None:
        await make_type(admin, "Contract")
        await make_customer(admin, "c-1")
        await admin.put(PATH, **upload_of(files.text(), "a.txt"))
        with PostgresProxy(database_url) as proxy:
            async with worker_inside(proxy.url, resources):
                assert await becomes(resources, LISTENING, LISTENERS, seconds=20)
                disconnect(proxy)
                await asyncio.sleep(OUTAGE_SECONDS)
                proxy.faults = Faults()
                assert (await admin.delete(PATH)).status_code == 204
                assert await becomes(resources, BLOBS, 0, seconds=6)
                assert await becomes(resources, LISTENING, LISTENERS, seconds=20)

    async def test_worker_stops_without_database(
        self, database_url: str, resources: Resources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(worker, "SHUTDOWN_INSIDE_SECONDS", 0.5)
        with PostgresProxy(database_url) as proxy:
            async with worker_inside(proxy.url, resources):
                assert await becomes(resources, LISTENING, LISTENERS, seconds=20)
                disconnect(proxy)
                began = time.monotonic()
            assert time.monotonic() - began < 25
