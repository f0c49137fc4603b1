"""Metrics: what is counted, that nobody is identified, and that Prometheus can read them."""

import asyncio
import dataclasses
import hashlib
import json
import re
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text
from tests.factories import files
from tests.factories.blobs import leave_bytes
from tests.factories.previews import make_overdue
from tests.factories.setups import make_customer, make_type, upload_of
from tests.factories.webhooks import execute, make_webhook
from tests.fixtures.callers import CustomerClients
from tests.fixtures.server import running_server

from docvault.db.engine import Database
from docvault.errors import DatabaseUnavailable, StorageUnavailable
from docvault.jobs.tasks import queue_app
from docvault.observability import metrics
from docvault.observability.metrics import REGISTRY, metric_names
from docvault.server.startup import metrics_server
from docvault.services.backlog import read_backlog
from docvault.services.events import publish_events
from docvault.services.previews import render_next_due
from docvault.services.reaper import reap
from docvault.services.resources import Resources
from docvault.storage.base import BlobMissing, BlobStore
from docvault.storage.filesystem import FilesystemBlobStore
from docvault.storage.s3 import S3BlobStore

PATH = "/v1/admin/customers/c-1/documents/contract"


def value(name: str, **labels: str) -> float:
    """Return the value of a counter or gauge."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def requests(operation: str, method: str, status: str) -> float:
    name = "docvault_http_request_duration_seconds_count"
    return value(name, operation=operation, method=method, status=status)


class Grown:
    """Return how much a series has increased."""

    def __init__(self, name: str, **labels: str) -> None:
        self._read: Callable[[], float] = lambda: value(name, **labels)
        self._before = self._read()

    def __call__(self) -> float:
        return self._read() - self._before


def free_bind() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"127.0.0.1:{probe.getsockname()[1]}"


def with_bind(resources: Resources, bind: str) -> Resources:
    settings = resources.settings.model_copy(update={"metrics_bind": bind})
    return dataclasses.replace(resources, settings=settings)


async def scrape(bind: str) -> str:
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        response = await client.get(f"http://{bind}/metrics")
    assert response.status_code == 200
    return response.text


def samples(scraped: str) -> dict[str, float]:
    """Return every series by name and labels, as Prometheus reads them."""
    return {
        f"{s.name}{{{','.join(f'{k}={v}' for k, v in sorted(s.labels.items()))}}}": s.value
        for family in text_string_to_metric_families(scraped)
        for s in family.samples
    }


@asynccontextmanager
async def serving(resources: Resources) -> AsyncIterator[Callable[[], Any]]:
    bind = free_bind()
    async with metrics_server(with_bind(resources, bind)):
        yield lambda: scrape(bind)


@pytest.fixture
async def uploaded(admin: httpx.AsyncClient) -> None:
    await make_type(admin, "Contract")
    await make_customer(admin, "c-1")
    assert (await admin.put(PATH, **upload_of(files.png(), "a.png"))).status_code == 201


class TestRequests:
    """Metrics of requests."""

    async def test_request_is_counted_by_operation_method_and_status_class(
        self, admin: httpx.AsyncClient
    ) -> None:
        before = requests("admin_list_document_types", "GET", "2xx")
        await admin.get("/v1/admin/document-types")
        assert requests("admin_list_document_types", "GET", "2xx") == before + 1

    async def test_unknown_paths_and_methods_share_one_series(
        self, http: httpx.AsyncClient
    ) -> None:
        before = requests("none", "OTHER", "4xx")
        await http.request("CANARY", f"/{uuid4()}")
        assert requests("none", "OTHER", "4xx") == before + 1

    async def test_problem_is_counted_by_its_code(self, http: httpx.AsyncClient) -> None:
        grown = Grown("docvault_http_problems_total", code="authentication-required")
        await http.get("/v1/admin/document-types")
        assert grown() == 1

    async def test_unhandled_exception_is_counted_as_problem(
        self, admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def broken(*_: object, **__: object) -> None:
            raise RuntimeError

        monkeypatch.setattr("docvault.services.document_types.list_document_types", broken)
        grown = Grown("docvault_http_problems_total", code="internal-error")
        await admin.get("/v1/admin/document-types")
        assert grown() == 1

    async def test_no_request_is_in_flight_after_responses(self, admin: httpx.AsyncClient) -> None:
        await admin.get("/v1/admin/document-types")
        assert value("docvault_http_requests_in_flight") == 0


class TestFiles:
    """Metrics of uploads, downloads and the store."""

    async def test_upload_counts_bytes_and_file(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "Contract")
        await make_customer(admin, "c-1")
        received = Grown("docvault_upload_bytes_total")
        stored = Grown("docvault_files_stored_total")
        body = files.png()
        await admin.put(PATH, **upload_of(body, "a.png"))
        assert (received(), stored()) == (len(body), 1)
        assert value("docvault_uploads_in_flight") == 0

    async def test_rejected_file_is_counted_as_received_only(
        self, admin: httpx.AsyncClient, uploaded: None
    ) -> None:
        del uploaded
        received = Grown("docvault_upload_bytes_total")
        stored = Grown("docvault_files_stored_total")
        body = files.executable()
        await admin.put(PATH, **upload_of(body, "a.exe"))
        assert (received(), stored()) == (len(body), 0)

    async def test_upload_session_bytes_are_counted_when_received(
        self, admin: httpx.AsyncClient, uploaded: None, resources: Resources
    ) -> None:
        del uploaded
        received = Grown("docvault_upload_bytes_total")
        stored = Grown("docvault_files_stored_total")
        body = files.pdf()
        digest = hashlib.sha256(body).hexdigest()
        declared = {"filename": "a.pdf", "size_bytes": len(body), "sha256": digest}
        session = (await admin.post(f"{PATH}/uploads", json=declared)).json()
        if resources.settings.storage_url is None:
            await admin.put(session["url"], content=body)
        else:
            async with httpx.AsyncClient(headers=session["headers"]) as outside:
                await outside.put(session["url"], content=body)
        response = await admin.post(f"{PATH}/uploads/{session['id']}/complete")
        assert response.status_code == 200
        assert received() == (len(body) if resources.settings.storage_url is None else 0)
        assert stored() == 1

    async def test_batch_item_problems_are_counted(
        self, customer_of: CustomerClients, uploaded: None
    ) -> None:
        del uploaded
        grown = Grown("docvault_http_problems_total", code="document-type-not-found")
        items = json.dumps({"items": [{"key": "nothing", "field_values": {"a": "b"}}]})
        response = await customer_of("c-1").post(
            "/v1/customer/document-batches", files={"batch": (None, items)}
        )
        assert response.status_code == 207
        assert grown() == 1

    async def test_upload_without_free_permit_is_counted(
        self, app: FastAPI, admin: httpx.AsyncClient, uploaded: None, resources: Resources
    ) -> None:
        del uploaded
        app.state.resources = dataclasses.replace(resources, upload_permits=asyncio.Semaphore(0))
        grown = Grown("docvault_uploads_refused_total")
        assert (await admin.put(PATH, **upload_of())).status_code == 503
        assert grown() == 1

    async def test_download_counts_bytes(self, admin: httpx.AsyncClient, uploaded: None) -> None:
        del uploaded
        grown = Grown("docvault_download_bytes_total")
        response = await admin.get(f"{PATH}/content")
        assert grown() == len(response.content) > 0

    async def test_corrupt_bytes_are_counted(
        self, admin: httpx.AsyncClient, uploaded: None, resources: Resources
    ) -> None:
        del uploaded
        keys = [blob.key async for blob in resources.store.list_blobs()]
        await resources.store.delete(keys[0])
        grown = Grown("docvault_blobs_corrupt_total")
        assert (await admin.get(f"{PATH}/content")).status_code == 503
        assert grown() == 1

    async def test_preview_is_counted_by_its_result(
        self, admin: httpx.AsyncClient, uploaded: None
    ) -> None:
        del uploaded
        grown = Grown("docvault_preview_render_duration_seconds_count", result="ok")
        assert (await admin.get(f"{PATH}/preview")).status_code == 200
        assert grown() == 1


class TestStore:
    """store_operation()."""

    def operations(self, operation: str, result: str) -> Grown:
        name = "docvault_store_operation_duration_seconds_count"
        return Grown(name, operation=operation, result=result)

    async def test_readiness_check_is_timed(self, blob_store: FilesystemBlobStore) -> None:
        grown = self.operations("check", "ok")
        await blob_store.check()
        assert grown() == 1

    async def test_presigning_is_timed(self, s3_store: S3BlobStore) -> None:
        put, get = self.operations("presign_put", "ok"), self.operations("presign_get", "ok")
        key = f"{uuid4()}/{uuid4().hex}"
        await s3_store.presign_put(key, 1, "0" * 64, 60)
        await s3_store.presign_get(key, media_type="a/b", disposition="attachment", seconds=60)
        assert (put(), get()) == (1, 1)

    async def test_missing_blob_is_not_a_store_failure(
        self, blob_store: FilesystemBlobStore
    ) -> None:
        grown, failed = self.operations("open", "other"), self.operations("open", "failed")
        with pytest.raises(BlobMissing):
            await blob_store.open(f"{uuid4()}/{uuid4().hex}")
        assert (grown(), failed()) == (1, 0)

    async def test_unresponsive_store_is_a_store_failure(
        self, blob_store: FilesystemBlobStore, tmp_path: Path
    ) -> None:
        grown = self.operations("put", "failed")
        with pytest.raises(StorageUnavailable):
            await blob_store.put(f"{uuid4()}/{uuid4().hex}", tmp_path / "nothing")
        assert grown() == 1


class TestDatabase:
    """Metrics of the pool and its statements."""

    async def test_transaction_uses_and_returns_connection(self, resources: Resources) -> None:
        assert value("docvault_database_pool_size") == resources.settings.database_pool_size
        waits = Grown("docvault_database_pool_wait_seconds_count")
        statements = Grown("docvault_database_statement_duration_seconds_count")
        async with resources.database.transaction() as session:
            await session.execute(text("SELECT 1"))
            assert value("docvault_database_pool_in_use") == 1
        assert value("docvault_database_pool_in_use") == 0
        assert (waits(), statements()) == (1, 1)

    async def test_exhausted_pool_is_distinguished_from_lost_database(
        self, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("docvault.db.engine.POOL_WAIT_SECONDS", 0.1)
        database = Database(database_url, pool_size=1)
        exhausted = Grown("docvault_database_failures_total", reason="pool_exhausted")
        async with database.transaction() as session:
            await session.execute(text("SELECT 1"))
            with pytest.raises(DatabaseUnavailable):
                async with database.transaction() as other:
                    await other.execute(text("SELECT 1"))
        await database.close()
        assert exhausted() == 1

    async def test_lost_database_is_counted(self) -> None:
        grown = Grown("docvault_database_failures_total", reason="unavailable")
        database = Database("postgresql://127.0.0.1:1/nothing")
        with pytest.raises(DatabaseUnavailable):
            async with database.transaction() as session:
                await session.execute(text("SELECT 1"))
        assert grown() == 1


class BrokenStore:
    """A store that deletes nothing."""

    def __init__(self, inner: BlobStore) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def delete(self, key: str) -> None:
        raise StorageUnavailable(key)


class TestJobs:
    """Metrics of the worker."""

    async def work_off(self, database_url: str, resources: Resources) -> None:
        async with queue_app(database_url, resources).open_async() as app:
            await app.configure_task("reap", allow_unknown=False).defer_async(timestamp=0)
            await app.run_worker_async(
                wait=False, delete_jobs="always", install_signal_handlers=False, listen_notify=False
            )

    def runs(self, task: str, result: str) -> Grown:
        return Grown("docvault_job_duration_seconds_count", task=task, result=result)

    async def test_jobs_and_last_reap_are_counted(
        self, database_url: str, uploaded: None, resources: Resources
    ) -> None:
        del uploaded
        reaped = self.runs("reap", "ok")
        began = time.time()
        await self.work_off(database_url, resources)
        assert reaped() == 1
        assert value("docvault_reaper_last_success_timestamp_seconds") >= began

    async def test_renderings_ahead_of_demand_are_counted_as_jobs(
        self, uploaded: None, resources: Resources
    ) -> None:
        del uploaded
        await make_overdue(resources)
        rendered = self.runs("render_previews", "ok")
        assert await render_next_due(resources)
        assert rendered() == 1

    async def test_failing_job_is_counted_as_failed_and_retried(
        self, database_url: str, uploaded: None, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        del uploaded
        await admin.delete(PATH)
        failed = self.runs("delete_blobs", "failed")
        retried = Grown("docvault_job_retries_total", task="delete_blobs")
        broken = dataclasses.replace(resources, store=BrokenStore(resources.store))
        await self.work_off(database_url, broken)
        assert (failed(), retried()) == (1, 1)

    async def test_expired_intents_are_counted_by_the_reaper(self, resources: Resources) -> None:
        await leave_bytes(resources)
        async with resources.database.transaction() as session:
            await session.execute(text("UPDATE blobs SET expires_at = now()"))
        grown = Grown("docvault_reaped_total", kind="blobs")
        await reap(resources)
        assert grown() == 1


class TestBacklog:
    """read_backlog()."""

    async def test_empty_deployment_reports_zeros(self, resources: Resources) -> None:
        waiting = await read_backlog(resources)
        assert ("delete_blobs", 0, 0.0) in waiting["jobs"]
        assert waiting["blobs"] == [("pending", 0, 0.0), ("delete_queued", 0, None)]
        erasures: list[object] = list(waiting["erasures"])
        assert erasures == [("pending", 0, 0.0)]

    @pytest.mark.req("B-070")
    async def test_previews_that_are_due_are_reported_as_jobs(
        self, uploaded: None, resources: Resources
    ) -> None:
        del uploaded
        async with resources.database.transaction() as session:
            await session.execute(
                text("UPDATE document_versions SET uploaded_at = now() - interval '1 hour'")
            )
        waiting = await read_backlog(resources)
        ages = {name: age for name, number, age in waiting["jobs"] if number}
        assert ages == {"render_previews": pytest.approx(3600, abs=60)}

    async def test_backlog_reports_count_and_oldest_age(
        self, uploaded: None, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        del uploaded
        await admin.delete("/v1/admin/customers/c-1")
        async with resources.database.transaction() as session:
            for statement in (
                "UPDATE procrastinate_events SET at = at - interval '1 hour'",
                "UPDATE erasures SET requested_at = requested_at - interval '2 hours'",
            ):
                await session.execute(text(statement))
        waiting = await read_backlog(resources)
        jobs: dict[str, object] = {name: (number, age) for name, number, age in waiting["jobs"]}
        assert jobs["erase_customer"] == (1, pytest.approx(3600, abs=60))
        erasures: list[object] = list(waiting["erasures"])
        assert erasures == [("pending", 1, pytest.approx(7200, abs=60))]
        assert ("delete_queued", 1, None) in waiting["blobs"]

    @pytest.mark.req("B-246")
    async def test_deliveries_that_are_late_and_webhooks_that_fail_are_reported(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        nothing = {"pending": (0, 0.0), "late": (0, 0.0), "failing": (0, 0.0)}
        assert await self.webhooks(resources) == nothing
        good, bad = [(await make_webhook(admin))["id"] for _ in range(2)]
        await make_customer(admin, "c-1")
        await publish_events(resources)
        await execute(
            resources,
            "UPDATE webhook_deliveries SET created_at = now() - interval '2 hours',"
            " due_at = now() - interval '1 hour'",
        )
        await execute(
            resources,
            "UPDATE webhooks SET consecutive_failures = 1,"
            " failing_since = now() - interval '3 hours' WHERE id = :id",
            id=bad,
        )
        assert await self.webhooks(resources) == {
            "pending": (2, pytest.approx(7200, abs=60)),
            "late": (1, pytest.approx(3600, abs=60)),
            "failing": (1, pytest.approx(10800, abs=60)),
        }
        # What is not sent does not wait.
        await execute(resources, "UPDATE webhooks SET enabled = false WHERE id = :id", id=bad)
        await admin.delete(f"/v1/admin/webhooks/{good}")
        assert await self.webhooks(resources) == nothing

    async def webhooks(self, resources: Resources) -> dict[str, object]:
        """Return number and age by state of what waits for webhooks."""
        waiting = await read_backlog(resources)
        rows = (*waiting["deliveries"], *waiting["webhooks"])
        return {state: (number, age) for state, number, age in rows}


class TestServing:
    """serve_metrics()."""

    async def test_endpoint_serves_counters_and_backlog(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await admin.get("/v1/admin/document-types")
        async with serving(resources) as scraped:
            found = samples(await scraped())
        assert found["docvault_backlog_readable{}"] == 1
        assert found["docvault_backlog_jobs{task=erase_customer}"] == 0
        assert any("operation=admin_list_document_types" in name for name in found)

    async def test_no_series_contains_identity(
        self,
        admin: httpx.AsyncClient,
        customer_of: Callable[[str], httpx.AsyncClient],
        resources: Resources,
    ) -> None:
        await make_type(admin, "Canary")
        await make_customer(admin, "canary-id", name="Canary", email="canary@example.com")
        path = "/v1/customer/documents/canary"
        await customer_of("canary-id").put(path, **upload_of(filename="canary.pdf"))
        await admin.get("/v1/admin/customers/canary-id/canary?canary=canary")
        async with serving(resources) as scraped:
            assert "canary" not in (await scraped()).lower()

    async def test_lost_database_keeps_counters_readable(self, resources: Resources) -> None:
        lost = dataclasses.replace(resources, database=Database("postgresql://127.0.0.1:1/d"))
        async with serving(lost) as scraped:
            found = samples(await scraped())
        assert found["docvault_backlog_readable{}"] == 0
        assert not any(name.startswith("docvault_backlog_jobs{") for name in found)
        assert any(name.startswith("docvault_http_request_duration") for name in found)

    async def test_slow_database_does_not_delay_scrape(
        self, resources: Resources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def slow(_: Resources) -> None:
            await asyncio.sleep(60)

        monkeypatch.setattr("docvault.server.startup.read_backlog", slow)
        monkeypatch.setattr("docvault.observability.backlog.READ_SECONDS", 0.1)
        async with serving(resources) as scraped:
            assert samples(await scraped())["docvault_backlog_readable{}"] == 0

    async def test_address_in_use_is_logged_and_not_fatal(
        self, resources: Resources, caplog: pytest.LogCaptureFixture
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as holder:
            bind = f"127.0.0.1:{holder.getsockname()[1]}"
            async with metrics_server(with_bind(resources, bind)):
                pass
        assert [r.getMessage() for r in caplog.records if r.name.endswith(".metrics_server")] == [
            "metrics are not served: DOCVAULT_METRICS_BIND: Address already in use"
        ]

    async def test_nothing_is_served_by_default(self, resources: Resources) -> None:
        import threading

        before = threading.active_count()
        async with metrics_server(resources):
            assert threading.active_count() == before

    def test_names_follow_conventions(self) -> None:
        bases = {re.sub(r"_(bucket|sum|count)$", "", name) for name in metric_names()}
        assert len(bases) >= 25
        assert [n for n in bases if not re.fullmatch(r"docvault_[a-z]+(_[a-z]+)*", n)] == []

    def test_supervised_processes_share_metrics(self, data_dir: Path) -> None:
        bind = free_bind()
        options = ("--workers", "2")
        with running_server(data_dir, *options, DOCVAULT_METRICS_BIND=bind) as server:
            with httpx.Client(base_url=server.url, trust_env=False, timeout=60) as client:
                for _ in range(50):
                    if client.get("/readyz").status_code == 200:
                        break
                    time.sleep(0.2)
            for _ in range(10):  # separate connections reach either process
                httpx.get(f"{server.url}/v1/customer/gate", trust_env=False, timeout=60)
            name = (
                "docvault_http_request_duration_seconds_count"
                "{method=GET,operation=customer_read_gate,status=4xx}"
            )
            counts = {
                samples(httpx.get(f"http://{bind}/metrics", trust_env=False, timeout=60).text).get(
                    name
                )
                for _ in range(6)
            }
            size, deadline = "docvault_database_pool_size{}", time.monotonic() + 30
            while time.monotonic() < deadline:
                found = samples(httpx.get(f"http://{bind}/metrics", trust_env=False).text)
                if found[size] == 30:  # two API processes and the worker
                    break
                time.sleep(0.2)
        assert counts == {10.0}
        assert found[size] == 30
        # The sum over three processes; a single one has less than 80 MiB and 30 descriptors.
        assert found["process_resident_memory_bytes{}"] > 150 * 1024 * 1024
        assert found["process_open_fds{}"] > 30

    def test_gauges_of_dead_process_are_dropped(self, data_dir: Path) -> None:
        bind, size = free_bind(), "docvault_database_pool_size{}"
        replaced = "docvault_processes_replaced_total{reason=died}"

        def wait_for(pool_size: float, deaths: float) -> None:
            found: dict[str, float] = {}
            deadline = time.monotonic() + 60
            while (found.get(size), found.get(replaced)) != (pool_size, deaths):
                assert time.monotonic() < deadline, found
                time.sleep(0.2)
                with suppress(httpx.TransportError):
                    found = samples(httpx.get(f"http://{bind}/metrics", trust_env=False).text)

        with running_server(data_dir, "--workers", "2", DOCVAULT_METRICS_BIND=bind) as server:
            wait_for(30, 0)  # two API processes and the worker
            children = psutil.Process(server.process.pid).children()
            next(one for one in children if "serve-process" in one.cmdline()).kill()
            wait_for(30, 1)


class TestObserveDuration:
    """observe_duration()."""

    def test_unknown_exception_is_counted_as_other(self) -> None:
        grown = Grown("docvault_preview_render_duration_seconds_count", result="other")
        with pytest.raises(KeyError), metrics.observe_duration(metrics.PREVIEW_SECONDS, results=[]):
            raise KeyError
        assert grown() == 1
