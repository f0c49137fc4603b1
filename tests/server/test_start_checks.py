"""The checks of `docvault doctor` at the start: what is fatal, and what is logged."""

import asyncio
import dataclasses
import logging
import subprocess
from pathlib import Path
from typing import cast

import pytest
from tests.fixtures.compose import becomes_true
from tests.fixtures.server import DOCVAULT, running_server

from docvault.db.engine import Database
from docvault.db.sessions import UnsuitableDatabase
from docvault.embedded.postgres import EmbeddedPostgres
from docvault.errors import StorageUnavailable
from docvault.server.start_checks import require_database, surroundings_checked
from docvault.services.resources import Resources
from docvault.storage.base import BlobStore

pytestmark = pytest.mark.req("B-226")

SECRET = "0123456789abcdefghijklmnopqrstuvwxyz"


class DownStore:
    """A store that does not respond."""

    write_memory_bytes = 0

    async def check(self) -> None:
        raise StorageUnavailable(cause="nothing listens at its address")


async def test_unmigrated_database_stops_start(
    resources: Resources, postgres: EmbeddedPostgres
) -> None:
    database = Database(postgres.create_database("start_unmigrated"))
    with pytest.raises(UnsuitableDatabase, match="run `docvault migrate`"):
        await require_database(dataclasses.replace(resources, database=database))
    await database.close()


async def test_sound_database_does_not_stop_start(resources: Resources) -> None:
    await require_database(resources)


async def test_store_that_is_down_is_logged_once(
    resources: Resources, caplog: pytest.LogCaptureFixture
) -> None:
    down = dataclasses.replace(resources, store=cast("BlobStore", DownStore()))
    async with surroundings_checked(down, processes=1):
        async with asyncio.timeout(20):
            while "store: " not in caplog.text:  # noqa: ASYNC110 - a log has no event
                await asyncio.sleep(0.02)
    (record,) = [one for one in caplog.records if "store: " in one.getMessage()]
    assert record.getMessage() == "store: nothing listens at its address"
    assert record.levelno == logging.WARNING


async def test_end_of_process_does_not_wait_for_checks(resources: Resources) -> None:
    class SilentStore(DownStore):
        async def check(self) -> None:
            await asyncio.Event().wait()

    silent = dataclasses.replace(resources, store=cast("BlobStore", SilentStore()))
    async with asyncio.timeout(5):
        async with surroundings_checked(silent, processes=1):
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    "arguments", [["worker"], ["worker", "--supervised"]], ids=lambda words: words[-1]
)
def test_worker_without_migrations_says_so_in_one_line(
    postgres: EmbeddedPostgres, tmp_path: Path, arguments: list[str]
) -> None:
    name = f"start_{len(arguments)}"
    done = subprocess.run(
        [DOCVAULT, *arguments],
        env={
            "PATH": "/usr/bin:/bin",
            "DOCVAULT_DATA_DIR": str(tmp_path),
            "DOCVAULT_DATABASE_URL": postgres.create_database(name),
            "DOCVAULT_SECRET_KEY": SECRET,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "docvault: database: it is not at this version; run `docvault migrate`\n"
    )


@pytest.mark.parametrize("workers", ["1", "2"])
def test_server_logs_unsuitable_store_once(database_url: str, data_dir: Path, workers: str) -> None:
    settings = {
        "DOCVAULT_DATABASE_URL": database_url,
        "DOCVAULT_SECRET_KEY": SECRET,
        "DOCVAULT_STORAGE_URL": "s3://nowhere",
        "DOCVAULT_S3_ENDPOINT_URL": "http://127.0.0.1:9",
        "DOCVAULT_WORKER": "external",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_REGION": "us-east-1",
    }
    log = data_dir.with_suffix(".log")
    with running_server(data_dir, "--workers", workers, **settings):
        assert becomes_true(lambda: "store: nothing listens at its address" in log.read_text())
    assert log.read_text().count("store: nothing listens at its address") == 1
