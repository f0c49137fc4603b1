"""The queue: what fails is tried again for ever, and nothing is lost with a worker."""

import asyncio
import dataclasses
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from procrastinate import App
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job
from sqlalchemy import text
from tests.factories import files
from tests.factories.blobs import leave_bytes
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.clamd import FakeClamd

from docvault.embedded.postgres import EmbeddedPostgres
from docvault.errors import StorageUnavailable
from docvault.jobs.tasks import MAX_WAIT_SECONDS, ForEver, queue_app, retry_stalled_jobs
from docvault.jobs.worker import settle_leftovers, worker_inside
from docvault.metrics import REGISTRY
from docvault.repositories.jobs import JobName
from docvault.services import scans
from docvault.services.blobs import reap
from docvault.services.resources import Resources
from docvault.settings import Settings
from docvault.storage.base import BlobStore

PATH = "/v1/admin/customers/c-1/documents/contract"


async def sql(resources: Resources, statement: str) -> list[tuple[Any, ...]]:
    async with resources.database.transaction() as session:
        result = await session.execute(text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []


async def keys(resources: Resources) -> set[str]:
    return {blob.key async for blob in resources.store.list_blobs()}


async def becomes_empty(resources: Resources) -> bool:
    """Whether the worker deletes all bytes within twenty seconds."""
    for _ in range(400):
        if not await keys(resources):
            return True
        await asyncio.sleep(0.05)
    return False


async def work_off(app: App) -> None:
    """Do what is due, and stop."""
    await app.run_worker_async(
        wait=False, delete_jobs="always", install_signal_handlers=False, listen_notify=False
    )


@pytest.fixture
async def queue(database_url: str, resources: Resources) -> AsyncIterator[App]:
    async with queue_app(database_url, resources).open_async() as app:
        yield app


@pytest.fixture
async def uploaded(admin: httpx.AsyncClient) -> None:
    await make_type(admin, "Contract")
    await make_customer(admin, "c-1")
    assert (await admin.put(PATH, **upload_of(files.png(), "a.png"))).status_code == 201


class BrokenStore:
    """A store that deletes nothing until it is repaired."""

    def __init__(self, inner: BlobStore) -> None:
        self._inner = inner
        self.is_broken = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def delete(self, key: str) -> None:
        if self.is_broken:
            raise StorageUnavailable
        await self._inner.delete(key)


def failures(name: JobName) -> float:
    """How often a task has failed in this process."""
    labels = {"task": name, "result": "failed"}
    return REGISTRY.get_sample_value("docvault_job_duration_seconds_count", labels) or 0


def job(attempts: int) -> Job:
    return Job(
        id=1,
        queue="default",
        lock=None,
        queueing_lock=None,
        task_name="delete_blobs",
        attempts=attempts,
    )


@pytest.mark.req("R-103")
class TestForEver:
    """ForEver."""

    @pytest.mark.parametrize("attempts", [0, 1, 5, 9, 30, 1000, 100_000])
    def test_there_is_always_another_try_within_five_minutes(self, attempts: int) -> None:
        decision = ForEver().get_retry_decision(exception=ValueError("x"), job=job(attempts))
        assert decision.retry_at is not None

    def test_waiting_doubles_up_to_five_minutes(self) -> None:
        from datetime import UTC, datetime

        waits = [
            (
                ForEver().get_retry_decision(exception=ValueError("x"), job=job(n)).retry_at
                - datetime.now(UTC)
            ).total_seconds()
            for n in range(12)
        ]
        expected = [min(2**n, MAX_WAIT_SECONDS) for n in range(12)]
        assert waits == pytest.approx(expected, abs=2)

    def test_the_log_line_says_which_job_but_not_what_was_wrong(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        from docvault.logs import JsonFormatter

        ForEver().get_retry_decision(exception=ValueError("canary"), job=job(3))
        line = JsonFormatter().format(caplog.records[-1])
        assert '"job": "delete_blobs"' in line
        assert "canary" not in line


@pytest.mark.usefixtures("uploaded")
class TestTasks:
    """What the worker does with the jobs of real requests."""

    async def test_an_upload_is_rendered(self, queue: App, resources: Resources) -> None:
        await work_off(queue)
        assert await sql(resources, "SELECT size FROM previews") == [("medium",)]
        assert await sql(resources, "SELECT count(*) FROM procrastinate_jobs") == [(0,)]

    async def test_a_deleted_document_loses_its_bytes(
        self, queue: App, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await admin.delete(PATH)
        await work_off(queue)
        assert await keys(resources) == set()
        assert await sql(resources, "SELECT count(*) FROM blobs") == [(0,)]

    @pytest.mark.req("R-100", "R-101")
    async def test_an_erasure_is_completed(
        self, queue: App, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        location = (await admin.delete("/v1/admin/customers/c-1")).headers["location"]
        await work_off(queue)
        erasure = (await admin.get(location)).json()
        assert erasure["state"] == "completed"
        assert erasure["counts"]["blobs_pending"] == 0
        assert await keys(resources) == set()

    @pytest.mark.req("R-103")
    async def test_a_failing_store_is_tried_again(
        self, database_url: str, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        store = BrokenStore(resources.store)
        await admin.delete(PATH)
        async with queue_app(
            database_url, dataclasses.replace(resources, store=store)
        ).open_async() as app:
            await work_off(app)
            jobs = await sql(
                resources,
                "SELECT status::text, attempts, scheduled_at > now() FROM procrastinate_jobs"
                " WHERE task_name = 'delete_blobs'",
            )
            assert jobs == [("todo", 1, True)]
            store.is_broken = False
            await sql(resources, "UPDATE procrastinate_jobs SET scheduled_at = now()")
            await work_off(app)
        assert await keys(resources) == set()

    @pytest.mark.req("R-103")
    async def test_an_erasure_waits_for_a_failing_store_and_shows_it(
        self, database_url: str, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        broken = dataclasses.replace(resources, store=BrokenStore(resources.store))
        location = (await admin.delete("/v1/admin/customers/c-1")).headers["location"]
        async with queue_app(database_url, broken).open_async() as app:
            await work_off(app)
        erasure = (await admin.get(location)).json()
        assert (erasure["state"], erasure["counts"]["blobs_pending"]) == ("pending", 1)

    @pytest.mark.req("R-103")
    async def test_an_erasure_that_waits_for_an_upload_is_no_failure(
        self,
        queue: App,
        admin: httpx.AsyncClient,
        resources: Resources,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        body = {"filename": "a.png", "size_bytes": 1, "sha256": "0" * 64}
        assert (await admin.post(f"{PATH}/uploads", json=body)).status_code == 201
        location = (await admin.delete("/v1/admin/customers/c-1")).headers["location"]
        failed = failures(JobName.ERASE_CUSTOMER)
        for _ in range(2):
            await work_off(queue)
            await sql(resources, "UPDATE procrastinate_jobs SET scheduled_at = now()")
        await work_off(queue)
        waits = "SELECT args ->> 'waits', scheduled_at > now() FROM procrastinate_jobs"
        assert await sql(resources, waits) == [("3", True)]
        assert failures(JobName.ERASE_CUSTOMER) == failed
        assert [record for record in caplog.records if record.levelname != "INFO"] == []
        assert (await admin.get(location)).json()["state"] == "pending"
        await sql(resources, "UPDATE blobs SET expires_at = now()")
        await sql(resources, "UPDATE procrastinate_jobs SET scheduled_at = now()")
        await reap(resources)
        await work_off(queue)
        assert (await admin.get(location)).json()["state"] == "completed"
        assert await sql(resources, "SELECT count(*) FROM procrastinate_jobs") == [(0,)]

    async def test_jobs_hold_no_personal_data(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await admin.delete("/v1/admin/customers/c-1")
        rows = await sql(resources, "SELECT procrastinate_jobs::text FROM procrastinate_jobs")
        assert len(rows) >= 2
        # As a whole: ids can end in it.
        assert not re.search(r"\bc-1\b", str(rows))
        assert "a.png" not in str(rows)


@pytest.mark.usefixtures("uploaded")
class TestStalledJobs:
    """Jobs of a worker that was killed."""

    @pytest.fixture
    async def stalled(self, queue: App, admin: httpx.AsyncClient, resources: Resources) -> None:
        """A deletion that a worker took up before it died."""
        await admin.delete(PATH)
        worker_id = await queue.job_manager.register_worker()
        while await queue.job_manager.fetch_job(queues=None, worker_id=worker_id):
            pass
        await sql(
            resources,
            "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '5 minutes'",
        )

    async def test_they_are_given_back(
        self, stalled: None, queue: App, resources: Resources
    ) -> None:
        del stalled
        await retry_stalled_jobs(queue, 60)
        statuses = await sql(resources, "SELECT DISTINCT status::text FROM procrastinate_jobs")
        assert statuses == [("todo",)]

    async def test_those_of_a_living_worker_are_left_alone(
        self, stalled: None, queue: App, resources: Resources
    ) -> None:
        del stalled
        await sql(resources, "UPDATE procrastinate_workers SET last_heartbeat = now()")
        await retry_stalled_jobs(queue, 60)
        statuses = await sql(resources, "SELECT DISTINCT status::text FROM procrastinate_jobs")
        assert statuses == [("doing",)]

    async def test_a_worker_inside_takes_them_over_at_start(
        self, stalled: None, database_url: str, resources: Resources
    ) -> None:
        del stalled
        async with worker_inside(database_url, resources):
            assert await becomes_empty(resources)


class TestRescan:
    """Scanning stored files again, a run at a time."""

    @pytest.fixture
    def settings(self, tmp_path: Path, clamd: FakeClamd) -> Settings:
        return Settings(data_dir=tmp_path / "data", clamd=clamd.address)

    @pytest.fixture
    async def due(
        self, uploaded: None, admin: httpx.AsyncClient, clamd: FakeClamd, resources: Resources
    ) -> None:
        """Two stored files, of which nothing is known with these signatures; no other jobs."""
        del uploaded
        await admin.put(PATH, **upload_of(files.png(), "b.png"))
        await sql(resources, "DELETE FROM procrastinate_jobs")
        clamd.streams.clear()
        clamd.version = "ClamAV 1.4.3/2/Tue Nov 24 08:00:00 2026"

    @pytest.mark.usefixtures("due")
    async def test_runs_follow_each_other_until_everything_is_scanned(
        self, queue: App, clamd: FakeClamd, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(scans, "RUN_SECONDS", 0)
        await queue.configure_task(JobName.RESCAN).defer_async(timestamp=0)
        await work_off(queue)
        assert clamd.scanned == [files.png(), files.png()]

    @pytest.mark.usefixtures("due")
    async def test_the_run_of_a_dead_worker_does_not_hold_up_the_next(
        self, queue: App, resources: Resources, clamd: FakeClamd
    ) -> None:
        await queue.configure_task(JobName.RESCAN).defer_async(timestamp=0)
        worker_id = await queue.job_manager.register_worker()
        assert await queue.job_manager.fetch_job(queues=None, worker_id=worker_id)
        await sql(
            resources,
            "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '5 minutes'",
        )
        await queue.configure_task(JobName.RESCAN).defer_async(timestamp=0)
        await retry_stalled_jobs(queue, 60)
        await work_off(queue)
        assert len(clamd.scanned) == 2
        assert await sql(resources, "SELECT count(*) FROM procrastinate_jobs") == [(0,)]


class TestWorkerInside:
    """worker_inside()."""

    async def test_intents_of_the_process_before_are_reaped_at_once(
        self, database_url: str, resources: Resources
    ) -> None:
        await leave_bytes(resources)
        async with worker_inside(database_url, resources):
            assert await becomes_empty(resources)
        assert await sql(resources, "SELECT count(*) FROM blobs") == [(0,)]

    @pytest.mark.usefixtures("uploaded")
    async def test_it_goes_on_after_the_database_was_down(
        self,
        admin: httpx.AsyncClient,
        postgres: EmbeddedPostgres,
        database_url: str,
        resources: Resources,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        async with worker_inside(database_url, resources):
            await becomes_idle(resources)
            with closed_database(postgres):
                await logged(caplog, "the worker failed, starting again")
            # The pool of the service has lost its connections too.
            answers = [await admin.delete(PATH) for _ in range(5)]
            assert {answer.status_code for answer in answers} <= {204, 404, 503}
            assert await becomes_empty(resources)

    async def test_it_stops_without_a_database(
        self, database_url: str, resources: Resources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with worker_inside(database_url, resources):
            await becomes_idle(resources)

            async def lost(*_: object, **__: object) -> None:
                raise ConnectorException

            monkeypatch.setattr("procrastinate.manager.JobManager.unregister_worker", lost)
        # It has ended when this is reached.


async def becomes_idle(resources: Resources) -> None:
    """Wait until the worker has done what there was."""
    async with asyncio.timeout(20):
        while await sql(resources, "SELECT 1 FROM procrastinate_jobs"):  # noqa: ASYNC110 - rows tell
            await asyncio.sleep(0.05)


@contextmanager
def closed_database(postgres: EmbeddedPostgres) -> Iterator[None]:
    """End every connection to the database of the tests, and let nobody in meanwhile."""
    allow = "ALTER DATABASE docvault_tests WITH ALLOW_CONNECTIONS {}"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(allow.format("false"))
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = 'docvault_tests'"
        )
        try:
            yield
        finally:
            connection.execute(allow.format("true"))


async def logged(caplog: pytest.LogCaptureFixture, message: str) -> None:
    """Wait until it has been logged."""
    async with asyncio.timeout(60):
        while message not in caplog.messages:  # noqa: ASYNC110 - the log has no events
            await asyncio.sleep(0.05)


class TestSettleLeftovers:
    """What a start finds of the processes before it."""

    async def test_a_reap_that_is_queued_already_is_no_obstacle(
        self, queue: App, resources: Resources, database_url: str
    ) -> None:
        await queue.configure_task(JobName.REAP).defer_async(timestamp=0)
        await settle_leftovers(database_url, resources)
        await settle_leftovers(database_url, resources)
        assert await sql(resources, "SELECT status::text FROM procrastinate_jobs") == [("todo",)]

    async def test_a_reap_that_was_killed_beside_a_queued_one_is_no_obstacle(
        self, queue: App, resources: Resources, database_url: str
    ) -> None:
        await queue.configure_task(JobName.REAP).defer_async(timestamp=0)
        await sql(
            resources,
            "WITH w AS (INSERT INTO procrastinate_workers (last_heartbeat)"
            " VALUES (now() - interval '1 hour') RETURNING id)"
            " UPDATE procrastinate_jobs SET status = 'doing', worker_id = w.id FROM w"
            " RETURNING procrastinate_jobs.id",
        )
        await queue.configure_task(JobName.REAP).defer_async(timestamp=0)
        await settle_leftovers(database_url, resources)
        rows = await sql(resources, "SELECT count(*) FROM procrastinate_jobs WHERE status = 'todo'")
        assert rows == [(1,)]
