"""The queue: failed jobs are retried forever, and no job is lost with its worker."""

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
from docvault.jobs.tasks import MAX_WAIT_SECONDS, RetryForever, queue_app, retry_stalled_jobs
from docvault.jobs.worker import recover, worker_inside
from docvault.observability.metrics import REGISTRY
from docvault.repositories.jobs import JobName
from docvault.services import reaper, scans
from docvault.services.reaper import reap
from docvault.services.resources import Resources
from docvault.settings import Settings
from docvault.storage.base import BlobStore

PATH = "/v1/admin/customers/c-1/documents/contract"


async def sql(resources: Resources, statement: str) -> list[tuple[Any, ...]]:
    async with resources.database.transaction() as session:
        result: Any = await session.execute(text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []


async def keys(resources: Resources) -> set[str]:
    return {blob.key async for blob in resources.store.list_blobs()}


async def becomes_empty(resources: Resources) -> bool:
    """Wait up to twenty seconds until all bytes are deleted; return whether they are."""
    for _ in range(400):
        if not await keys(resources):
            return True
        await asyncio.sleep(0.05)
    return False


async def run_due_jobs(app: App) -> None:
    """Run all due jobs and stop."""
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
    """A store whose deletions fail while `is_broken`."""

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
    """Return how often a task has failed in this process."""
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
class TestRetryForever:
    """RetryForever."""

    @pytest.mark.parametrize("attempts", [0, 1, 5, 9, 30, 1000, 100_000])
    def test_retry_follows_within_five_minutes(self, attempts: int) -> None:
        decision = RetryForever().get_retry_decision(exception=ValueError("x"), job=job(attempts))
        assert decision.retry_at is not None

    def test_delay_doubles_up_to_five_minutes(self) -> None:
        from datetime import UTC, datetime

        def retry_at(attempts: int) -> datetime:
            decision = RetryForever().get_retry_decision(
                exception=ValueError("x"), job=job(attempts)
            )
            assert decision.retry_at is not None
            return decision.retry_at

        waits = [(retry_at(n) - datetime.now(UTC)).total_seconds() for n in range(12)]
        expected = [min(2**n, MAX_WAIT_SECONDS) for n in range(12)]
        assert waits == pytest.approx(expected, abs=2)

    def test_log_line_names_job_without_message(self, caplog: pytest.LogCaptureFixture) -> None:
        from docvault.observability.logs import JsonFormatter

        RetryForever().get_retry_decision(exception=ValueError("canary"), job=job(3))
        line = JsonFormatter().format(caplog.records[-1])
        assert '"job": "delete_blobs"' in line
        assert "canary" not in line


@pytest.mark.usefixtures("uploaded")
class TestTasks:
    """The jobs of real requests."""

    @pytest.mark.req("B-070")
    async def test_upload_defers_no_job(self, resources: Resources) -> None:
        assert await sql(resources, "SELECT * FROM procrastinate_jobs") == []

    async def test_rendering_queued_by_earlier_release_becomes_due(
        self, queue: App, resources: Resources
    ) -> None:
        await sql(resources, "UPDATE document_versions SET previews_due_at = NULL")
        ((version,),) = await sql(resources, "SELECT id::text FROM document_versions")
        task = queue.configure_task(JobName.RENDER_PREVIEWS, queue="previews")
        await task.defer_async(version_id=version, customer_id="any")
        await run_due_jobs(queue)
        due = "SELECT id::text FROM document_versions WHERE previews_due_at IS NOT NULL"
        assert await sql(resources, due) == [(version,)]
        assert await sql(resources, "SELECT * FROM procrastinate_jobs") == []

    async def test_bytes_of_deleted_document_are_removed(
        self, queue: App, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await admin.delete(PATH)
        await run_due_jobs(queue)
        assert await keys(resources) == set()
        assert await sql(resources, "SELECT count(*) FROM blobs") == [(0,)]

    @pytest.mark.req("R-100", "R-101")
    async def test_erasure_is_completed(
        self, queue: App, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        location = (await admin.delete("/v1/admin/customers/c-1")).headers["location"]
        await run_due_jobs(queue)
        erasure = (await admin.get(location)).json()
        assert erasure["state"] == "completed"
        assert erasure["counts"]["blobs_pending"] == 0
        assert await keys(resources) == set()

    @pytest.mark.req("R-103")
    async def test_failing_store_is_retried(
        self, database_url: str, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        store = BrokenStore(resources.store)
        await admin.delete(PATH)
        async with queue_app(
            database_url, dataclasses.replace(resources, store=store)
        ).open_async() as app:
            await run_due_jobs(app)
            jobs = await sql(
                resources,
                "SELECT status::text, attempts, scheduled_at > now() FROM procrastinate_jobs"
                " WHERE task_name = 'delete_blobs'",
            )
            assert jobs == [("todo", 1, True)]
            store.is_broken = False
            await sql(resources, "UPDATE procrastinate_jobs SET scheduled_at = now()")
            await run_due_jobs(app)
        assert await keys(resources) == set()

    @pytest.mark.req("R-103")
    async def test_erasure_waits_for_failing_store_and_reports_it(
        self, database_url: str, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        broken = dataclasses.replace(resources, store=BrokenStore(resources.store))
        location = (await admin.delete("/v1/admin/customers/c-1")).headers["location"]
        async with queue_app(database_url, broken).open_async() as app:
            await run_due_jobs(app)
        erasure = (await admin.get(location)).json()
        assert (erasure["state"], erasure["counts"]["blobs_pending"]) == ("pending", 1)
        jobs = await sql(
            resources,
            "SELECT status::text, attempts >= 1, scheduled_at IS NOT NULL FROM procrastinate_jobs"
            " WHERE task_name = 'erase_customer'",
        )
        assert jobs == [("todo", True, True)]

    @pytest.mark.req("R-103")
    async def test_reaper_finishes_erasure_without_job(
        self, queue: App, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        location = (await admin.delete("/v1/admin/customers/c-1")).headers["location"]
        await sql(resources, "DELETE FROM procrastinate_jobs")
        await queue.configure_task(JobName.REAP).defer_async(timestamp=0)
        await run_due_jobs(queue)
        assert (await admin.get(location)).json()["state"] == "completed"
        assert await keys(resources) == set()

    @pytest.mark.req("R-103")
    async def test_erasure_waiting_for_upload_is_not_a_failure(
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
            await run_due_jobs(queue)
            await sql(resources, "UPDATE procrastinate_jobs SET scheduled_at = now()")
        await run_due_jobs(queue)
        waits = "SELECT args ->> 'waits', scheduled_at > now() FROM procrastinate_jobs"
        assert await sql(resources, waits) == [("3", True)]
        assert failures(JobName.ERASE_CUSTOMER) == failed
        assert [record for record in caplog.records if record.levelname != "INFO"] == []
        assert (await admin.get(location)).json()["state"] == "pending"
        await sql(resources, "UPDATE blobs SET expires_at = now()")
        await sql(resources, "UPDATE procrastinate_jobs SET scheduled_at = now()")
        await reap(resources)
        await run_due_jobs(queue)
        assert (await admin.get(location)).json()["state"] == "completed"
        assert await sql(resources, "SELECT count(*) FROM procrastinate_jobs") == [(0,)]

    @pytest.mark.req("B-213")
    async def test_failed_step_of_reaper_does_not_stop_others(
        self,
        queue: App,
        admin: httpx.AsyncClient,
        resources: Resources,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        async def fail(_: Resources) -> None:
            raise StorageUnavailable(cause="S3 responded AccessDenied (403)")

        location = (await admin.delete("/v1/admin/customers/c-1")).headers["location"]
        await sql(resources, "DELETE FROM procrastinate_jobs")
        monkeypatch.setattr(reaper, "delete_queued_blobs", fail)
        await queue.configure_task(JobName.REAP).defer_async(timestamp=0)
        await run_due_jobs(queue)
        assert (await admin.get(location)).json()["state"] == "completed"
        assert "a step of the clean-up failed" in caplog.text

    async def test_jobs_contain_no_personal_data(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await admin.delete("/v1/admin/customers/c-1")
        rows = await sql(resources, "SELECT procrastinate_jobs::text FROM procrastinate_jobs")
        assert rows
        # Only as a whole word: ids can end with it.
        assert not re.search(r"\bc-1\b", str(rows))
        assert "a.png" not in str(rows)


@pytest.mark.usefixtures("uploaded")
class TestStalledJobs:
    """Jobs of a worker that was killed."""

    @pytest.fixture
    async def stalled(self, queue: App, admin: httpx.AsyncClient, resources: Resources) -> None:
        """A deletion that a worker had started before it died."""
        await admin.delete(PATH)
        worker_id = await queue.job_manager.register_worker()
        while await queue.job_manager.fetch_job(queues=None, worker_id=worker_id):
            pass
        await sql(
            resources,
            "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '5 minutes'",
        )

    async def test_stalled_jobs_are_requeued(
        self, stalled: None, queue: App, resources: Resources
    ) -> None:
        del stalled
        await retry_stalled_jobs(queue, 60)
        statuses = await sql(resources, "SELECT DISTINCT status::text FROM procrastinate_jobs")
        assert statuses == [("todo",)]

    async def test_reaper_requeues_stalled_jobs(
        self, stalled: None, queue: App, resources: Resources
    ) -> None:
        del stalled
        await queue.configure_task(JobName.REAP).defer_async(timestamp=0)
        await run_due_jobs(queue)
        assert await sql(resources, "SELECT task_name, status FROM procrastinate_jobs") == []
        assert await keys(resources) == set()

    async def test_jobs_of_live_worker_are_kept(
        self, stalled: None, queue: App, resources: Resources
    ) -> None:
        del stalled
        await sql(resources, "UPDATE procrastinate_workers SET last_heartbeat = now()")
        await retry_stalled_jobs(queue, 60)
        statuses = await sql(resources, "SELECT DISTINCT status::text FROM procrastinate_jobs")
        assert statuses == [("doing",)]

    async def test_embedded_worker_requeues_stalled_jobs_at_start(
        self, stalled: None, database_url: str, resources: Resources
    ) -> None:
        del stalled
        async with worker_inside(database_url, resources):
            assert await becomes_empty(resources)


class TestRescan:
    """Rescanning stored files in several runs."""

    @pytest.fixture
    def settings(self, tmp_path: Path, clamd: FakeClamd) -> Settings:
        return Settings(data_dir=tmp_path / "data", clamd_url=clamd.address)

    @pytest.fixture
    async def due(
        self, uploaded: None, admin: httpx.AsyncClient, clamd: FakeClamd, resources: Resources
    ) -> None:
        """Two stored files that the current signatures have not scanned; no other jobs."""
        del uploaded
        await admin.put(PATH, **upload_of(files.png(), "b.png"))
        await sql(resources, "DELETE FROM procrastinate_jobs")
        clamd.streams.clear()
        clamd.version = "ClamAV 1.4.3/2/Tue Nov 24 08:00:00 2026"

    @pytest.mark.usefixtures("due")
    async def test_runs_continue_until_everything_is_scanned(
        self, queue: App, clamd: FakeClamd, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(scans, "RUN_SECONDS", 0)
        await queue.configure_task(JobName.RESCAN).defer_async(timestamp=0)
        await run_due_jobs(queue)
        assert clamd.scanned == [files.png(), files.png()]

    @pytest.mark.usefixtures("due")
    async def test_run_of_dead_worker_does_not_delay_next(
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
        await run_due_jobs(queue)
        assert len(clamd.scanned) == 2
        assert await sql(resources, "SELECT count(*) FROM procrastinate_jobs") == [(0,)]


class TestEmbeddedWorker:
    """The worker inside the API process."""

    async def test_intents_of_previous_process_are_reaped_immediately(
        self, database_url: str, resources: Resources
    ) -> None:
        await leave_bytes(resources)
        async with worker_inside(database_url, resources):
            assert await becomes_empty(resources)
        assert await sql(resources, "SELECT count(*) FROM blobs") == [(0,)]

    @pytest.mark.usefixtures("uploaded")
    async def test_worker_recovers_after_database_outage(
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
                await wait_for_log(caplog, "the worker failed, starting again")
            # The service's pool has lost its connections as well.
            responses = [await admin.delete(PATH) for _ in range(5)]
            assert {response.status_code for response in responses} <= {204, 404, 503}
            assert await becomes_empty(resources)

    async def test_worker_stops_without_database(
        self, database_url: str, resources: Resources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with worker_inside(database_url, resources):
            await becomes_idle(resources)

            async def lost(*_: object, **__: object) -> None:
                raise ConnectorException

            monkeypatch.setattr("procrastinate.manager.JobManager.unregister_worker", lost)
        # Reaching this line shows that it has stopped.


async def becomes_idle(resources: Resources) -> None:
    """Wait until no jobs are left."""
    async with asyncio.timeout(20):
        while await sql(resources, "SELECT 1 FROM procrastinate_jobs"):  # noqa: ASYNC110 - polls the database
            await asyncio.sleep(0.05)


@contextmanager
def closed_database(postgres: EmbeddedPostgres) -> Iterator[None]:
    """Close every connection to the test database and reject new ones until the block ends."""
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


async def wait_for_log(caplog: pytest.LogCaptureFixture, message: str) -> None:
    """Wait until the message is logged."""
    async with asyncio.timeout(60):
        while message not in caplog.messages:  # noqa: ASYNC110 - the log has no events
            await asyncio.sleep(0.05)


class TestSettleLeftovers:
    """Jobs and intents that earlier processes left behind."""

    async def test_queued_reap_is_not_an_obstacle(
        self, queue: App, resources: Resources, database_url: str
    ) -> None:
        await queue.configure_task(JobName.REAP).defer_async(timestamp=0)
        await recover(database_url, resources)
        await recover(database_url, resources)
        assert await sql(resources, "SELECT status::text FROM procrastinate_jobs") == [("todo",)]

    async def test_killed_reap_beside_queued_one_is_not_an_obstacle(
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
        await recover(database_url, resources)
        rows = await sql(resources, "SELECT count(*) FROM procrastinate_jobs WHERE status = 'todo'")
        assert rows == [(1,)]
