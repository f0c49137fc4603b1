"""Metrics: what is counted, that nobody is named, and that Prometheus can read it."""

import asyncio
import dataclasses
import hashlib
import json
import re
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text
from tests.factories import files
from tests.factories.blobs import leave_bytes
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import CustomerClients
from tests.fixtures.server import running_server

from docvault import metrics
from docvault.database import Database
from docvault.errors import DatabaseUnavailable, StorageUnavailable
from docvault.jobs.tasks import queue_app
from docvault.metrics import REGISTRY, metric_names
from docvault.services.backlog import read_backlog
from docvault.services.blobs import reap
from docvault.services.resources import Resources
from docvault.startup import metrics_served
from docvault.storage.base import BlobMissing, BlobStore
from docvault.storage.filesystem import FilesystemBlobStore
from docvault.storage.s3 import S3BlobStore

PATH = "/v1/admin/customers/c-1/documents/contract"


def value(name: str, **labels: str) -> float:
    """What a counter or gauge stands at."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def requests(operation: str, method: str, status: str) -> float:
    name = "docvault_http_request_duration_seconds_count"
    return value(name, operation=operation, method=method, status=status)


class Grown:
    """How much a series has grown since."""

    def __init__(self, name: str, **labels: str) -> None:
        self._read = lambda: value(name, **labels)
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
        answer = await client.get(f"http://{bind}/metrics")
    assert answer.status_code == 200
    return answer.text


def samples(scraped: str) -> dict[str, float]:
    """Every series by its name and labels, as Prometheus reads them."""
    return {
        f"{s.name}{{{','.join(f'{k}={v}' for k, v in sorted(s.labels.items()))}}}": s.value
        for family in text_string_to_metric_families(scraped)
        for s in family.samples
    }


@asynccontextmanager
async def serving(resources: Resources) -> AsyncIterator[Callable[[], Any]]:
    bind = free_bind()
    async with metrics_served(with_bind(resources, bind)):
        yield lambda: scrape(bind)


@pytest.fixture
async def uploaded(admin: httpx.AsyncClient) -> None:
    await make_type(admin, "Contract")
    await make_customer(admin, "c-1")
    assert (await admin.put(PATH, **upload_of(files.png(), "a.png"))).status_code == 201


class TestRequests:
    """What requests count."""

    async def test_a_request_is_counted_by_operation_method_and_class_of_status(
        self, admin: httpx.AsyncClient
    ) -> None:
        before = requests("admin_list_document_types", "GET", "2xx")
        await admin.get("/v1/admin/document-types")
        assert requests("admin_list_document_types", "GET", "2xx") == before + 1

    async def test_an_unknown_path_and_an_invented_method_make_no_series_of_their_own(
        self, http: httpx.AsyncClient
    ) -> None:
        before = requests("none", "OTHER", "4xx")
        await http.request("CANARY", f"/{uuid4()}")
        assert requests("none", "OTHER", "4xx") == before + 1

    async def test_a_problem_is_counted_by_its_code(self, http: httpx.AsyncClient) -> None:
        grown = Grown("docvault_http_problems_total", code="authentication-required")
        await http.get("/v1/admin/document-types")
        assert grown() == 1

    async def test_a_bug_is_counted_as_a_problem(
        self, admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def broken(*_: object, **__: object) -> None:
            raise RuntimeError

        monkeypatch.setattr("docvault.services.document_types.list_document_types", broken)
        grown = Grown("docvault_http_problems_total", code="internal-error")
        await admin.get("/v1/admin/document-types")
        assert grown() == 1

    async def test_nothing_is_in_flight_when_everything_is_answered(
        self, admin: httpx.AsyncClient
    ) -> None:
        await admin.get("/v1/admin/document-types")
        assert value("docvault_http_requests_in_flight") == 0


class TestFiles:
    """What uploads, downloads and the store count."""

    async def test_an_upload_counts_its_bytes_and_its_file(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "Contract")
        await make_customer(admin, "c-1")
        received = Grown("docvault_upload_bytes_total")
        stored = Grown("docvault_files_stored_total")
        body = files.png()
        await admin.put(PATH, **upload_of(body, "a.png"))
        assert (received(), stored()) == (len(body), 1)
        assert value("docvault_upload_slots_in_use") == 0

    async def test_a_refused_file_is_received_but_not_stored(
        self, admin: httpx.AsyncClient, uploaded: None
    ) -> None:
        del uploaded
        received = Grown("docvault_upload_bytes_total")
        stored = Grown("docvault_files_stored_total")
        body = files.executable()
        await admin.put(PATH, **upload_of(body, "a.exe"))
        assert (received(), stored()) == (len(body), 0)

    async def test_the_bytes_of_an_upload_session_are_counted_where_they_come_to_us(
        self, admin: httpx.AsyncClient, uploaded: None, resources: Resources
    ) -> None:
        del uploaded
        received = Grown("docvault_upload_bytes_total")
        stored = Grown("docvault_files_stored_total")
        body = files.pdf()
        digest = hashlib.sha256(body).hexdigest()
        announced = {"filename": "a.pdf", "size_bytes": len(body), "sha256": digest}
        session = (await admin.post(f"{PATH}/uploads", json=announced)).json()
        if resources.settings.storage_url is None:
            await admin.put(session["url"], content=body)
        else:
            async with httpx.AsyncClient(headers=session["headers"]) as outside:
                await outside.put(session["url"], content=body)
        answer = await admin.post(f"{PATH}/uploads/{session['id']}/complete")
        assert answer.status_code == 200
        assert received() == (len(body) if resources.settings.storage_url is None else 0)
        assert stored() == 1

    async def test_problems_inside_a_batch_are_counted(
        self, customer_of: CustomerClients, uploaded: None
    ) -> None:
        del uploaded
        grown = Grown("docvault_http_problems_total", code="document-type-unknown")
        items = json.dumps([{"key": "nothing", "field_values": {"a": "b"}}])
        answer = await customer_of("c-1").post(
            "/v1/customer/document-batches", files={"items": (None, items)}
        )
        assert answer.status_code == 207
        assert grown() == 1

    async def test_an_upload_without_a_free_slot_is_counted(
        self, app: FastAPI, admin: httpx.AsyncClient, uploaded: None, resources: Resources
    ) -> None:
        del uploaded
        app.state.resources = dataclasses.replace(resources, upload_slots=asyncio.Semaphore(0))
        grown = Grown("docvault_uploads_refused_total")
        assert (await admin.put(PATH, **upload_of())).status_code == 503
        assert grown() == 1

    async def test_a_download_counts_its_bytes(
        self, admin: httpx.AsyncClient, uploaded: None
    ) -> None:
        del uploaded
        grown = Grown("docvault_download_bytes_total")
        answer = await admin.get(f"{PATH}/content")
        assert grown() == len(answer.content) > 0

    async def test_damaged_bytes_are_counted(
        self, admin: httpx.AsyncClient, uploaded: None, resources: Resources
    ) -> None:
        del uploaded
        keys = [blob.key async for blob in resources.store.list_blobs()]
        await resources.store.delete(keys[0])
        grown = Grown("docvault_blobs_damaged_total")
        assert (await admin.get(f"{PATH}/content")).status_code == 503
        assert grown() == 1

    async def test_a_preview_is_counted_by_its_result(
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

    async def test_a_check_is_timed(self, blob_store: FilesystemBlobStore) -> None:
        grown = self.operations("check", "ok")
        await blob_store.check()
        assert grown() == 1

    async def test_signing_is_timed(self, s3_store: S3BlobStore) -> None:
        put, get = self.operations("presign_put", "ok"), self.operations("presign_get", "ok")
        key = f"{uuid4()}/{uuid4().hex}"
        await s3_store.presign_put(key, 1, "0" * 64, 60)
        await s3_store.presign_get(key, media_type="a/b", disposition="attachment", seconds=60)
        assert (put(), get()) == (1, 1)

    async def test_a_missing_blob_is_no_failure_of_the_store(
        self, blob_store: FilesystemBlobStore
    ) -> None:
        grown, failed = self.operations("open", "other"), self.operations("open", "failed")
        with pytest.raises(BlobMissing):
            await blob_store.open(f"{uuid4()}/{uuid4().hex}")
        assert (grown(), failed()) == (1, 0)

    async def test_a_store_that_does_not_answer_is(
        self, blob_store: FilesystemBlobStore, tmp_path: Path
    ) -> None:
        grown = self.operations("put", "failed")
        with pytest.raises(StorageUnavailable):
            await blob_store.put(f"{uuid4()}/{uuid4().hex}", tmp_path / "nothing")
        assert grown() == 1


class TestDatabase:
    """What the pool and its statements count."""

    async def test_a_transaction_uses_a_connection_and_gives_it_back(
        self, resources: Resources
    ) -> None:
        assert value("docvault_database_pool_size") == resources.settings.database_pool_size
        waits = Grown("docvault_database_pool_wait_seconds_count")
        statements = Grown("docvault_database_statement_duration_seconds_count")
        async with resources.database.transaction() as session:
            await session.execute(text("SELECT 1"))
            assert value("docvault_database_pool_in_use") == 1
        assert value("docvault_database_pool_in_use") == 0
        assert (waits(), statements()) == (1, 1)

    async def test_a_pool_without_a_free_connection_is_told_from_a_lost_database(
        self, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("docvault.database.POOL_WAIT_SECONDS", 0.1)
        database = Database(database_url, pool_size=1)
        exhausted = Grown("docvault_database_failures_total", reason="pool_exhausted")
        async with database.transaction() as session:
            await session.execute(text("SELECT 1"))
            with pytest.raises(DatabaseUnavailable):
                async with database.transaction() as other:
                    await other.execute(text("SELECT 1"))
        await database.close()
        assert exhausted() == 1

    async def test_a_lost_database_is_counted(self) -> None:
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
    """What the worker counts."""

    async def work_off(self, database_url: str, resources: Resources) -> None:
        async with queue_app(database_url, resources).open_async() as app:
            await app.configure_task("reap", allow_unknown=False).defer_async(timestamp=0)
            await app.run_worker_async(
                wait=False, delete_jobs="always", install_signal_handlers=False, listen_notify=False
            )

    def runs(self, task: str, result: str) -> Grown:
        return Grown("docvault_job_duration_seconds_count", task=task, result=result)

    async def test_jobs_are_counted_and_the_reaper_says_when_it_was_done(
        self, database_url: str, uploaded: None, resources: Resources
    ) -> None:
        del uploaded
        rendered, reaped = self.runs("render_previews", "ok"), self.runs("reap", "ok")
        began = time.time()
        await self.work_off(database_url, resources)
        assert (rendered(), reaped()) == (1, 1)
        assert value("docvault_reaper_last_success_timestamp_seconds") >= began

    async def test_a_failing_job_is_counted_as_failed_and_as_retried(
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

    async def test_an_empty_deployment_has_zeros(self, resources: Resources) -> None:
        waiting = await read_backlog(resources)
        assert ("delete_blobs", 0, 0.0) in waiting["jobs"]
        assert waiting["blobs"] == [("pending", 0, 0.0), ("delete_queued", 0, None)]
        assert waiting["erasures"] == [("pending", 0, 0.0)]

    async def test_what_waits_is_counted_with_the_age_of_the_oldest(
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
        jobs = {name: (number, age) for name, number, age in waiting["jobs"]}
        assert jobs["erase_customer"] == (1, pytest.approx(3600, abs=60))
        assert waiting["erasures"] == [("pending", 1, pytest.approx(7200, abs=60))]
        assert ("delete_queued", 1, None) in waiting["blobs"]


class TestServing:
    """served()."""

    async def test_prometheus_reads_counters_and_what_waits(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await admin.get("/v1/admin/document-types")
        async with serving(resources) as scraped:
            found = samples(await scraped())
        assert found["docvault_backlog_readable{}"] == 1
        assert found["docvault_backlog_jobs{task=erase_customer}"] == 0
        assert any("operation=admin_list_document_types" in name for name in found)

    async def test_no_series_names_anyone(
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

    async def test_a_lost_database_leaves_the_counters_readable(self, resources: Resources) -> None:
        lost = dataclasses.replace(resources, database=Database("postgresql://127.0.0.1:1/d"))
        async with serving(lost) as scraped:
            found = samples(await scraped())
        assert found["docvault_backlog_readable{}"] == 0
        assert not any(name.startswith("docvault_backlog_jobs{") for name in found)
        assert any(name.startswith("docvault_http_request_duration") for name in found)

    async def test_a_slow_database_does_not_hold_up_the_scrape(
        self, resources: Resources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def slow(_: Resources) -> None:
            await asyncio.sleep(60)

        monkeypatch.setattr("docvault.startup.read_backlog", slow)
        monkeypatch.setattr("docvault.metrics.READ_SECONDS", 0.1)
        async with serving(resources) as scraped:
            assert samples(await scraped())["docvault_backlog_readable{}"] == 0

    async def test_a_taken_address_is_one_warning_and_nothing_stops(
        self, resources: Resources, caplog: pytest.LogCaptureFixture
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as holder:
            bind = f"127.0.0.1:{holder.getsockname()[1]}"
            async with metrics_served(with_bind(resources, bind)):
                pass
        assert [r.getMessage() for r in caplog.records if r.name == "docvault.metrics"] == [
            "metrics are not served: OSError"
        ]

    async def test_nothing_is_served_without_the_setting(self, resources: Resources) -> None:
        import threading

        before = threading.active_count()
        async with metrics_served(resources):
            assert threading.active_count() == before

    def test_names_follow_the_conventions(self) -> None:
        bases = {re.sub(r"_(bucket|sum|count)$", "", name) for name in metric_names()}
        assert len(bases) >= 25
        assert [n for n in bases if not re.fullmatch(r"docvault_[a-z]+(_[a-z]+)*", n)] == []

    def test_the_processes_of_a_supervisor_answer_for_all_of_them(self, data_dir: Path) -> None:
        bind = free_bind()
        options = ("--workers", "2")
        with running_server(data_dir, *options, DOCVAULT_METRICS_BIND=bind) as server:
            with httpx.Client(base_url=server.url, trust_env=False, timeout=60) as client:
                for _ in range(50):
                    if client.get("/readyz").status_code == 200:
                        break
                    time.sleep(0.2)
            for _ in range(10):  # connections of their own come to either process
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
        # Of three processes; one alone has less than 80 MiB and 30 descriptors.
        assert found["process_resident_memory_bytes{}"] > 150 * 1024 * 1024
        assert found["process_open_fds{}"] > 30


class TestMeasured:
    """measured()."""

    def test_an_exception_that_stands_for_nothing_is_other(self) -> None:
        grown = Grown("docvault_preview_render_duration_seconds_count", result="other")
        with pytest.raises(KeyError), metrics.measured(metrics.PREVIEW_SECONDS, results=[]):
            raise KeyError
        assert grown() == 1
