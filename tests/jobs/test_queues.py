"""Renderings run beside the queue: no job waits for them."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from procrastinate.exceptions import AlreadyEnqueued
from sqlalchemy import text
from tests.factories import files
from tests.factories.previews import make_overdue
from tests.factories.setups import make_customer, make_type, upload_of

from docvault.domain.previews import PreviewSize
from docvault.jobs import worker
from docvault.jobs.tasks import queue_app
from docvault.jobs.worker import recover, worker_inside
from docvault.previews.renderer import PreviewRenderer, PreviewUnavailable, RenderedPreview
from docvault.repositories.jobs import JobName
from docvault.services.resources import Resources

CUSTOMERS = "/v1/admin/customers"
DUE = "SELECT id FROM document_versions WHERE previews_due_at IS NOT NULL"


class EndlessRenderer(PreviewRenderer):
    """A renderer that never ends."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()

    async def render(
        self, source: Path, media_type: str, size: PreviewSize, page: int = 1
    ) -> RenderedPreview:
        del source, media_type, size, page
        self.begun.set()
        await asyncio.Event().wait()
        raise AssertionError


class FailsOnce(PreviewRenderer):
    """A renderer whose first child process cannot be started."""

    def __init__(self) -> None:
        super().__init__()
        self.is_broken = True

    async def render(
        self, source: Path, media_type: str, size: PreviewSize, page: int = 1
    ) -> RenderedPreview:
        if self.is_broken:
            self.is_broken = False
            raise PreviewUnavailable("no process")
        return await super().render(source, media_type, size, page)


async def sql(resources: Resources, statement: str) -> list[tuple[Any, ...]]:
    async with resources.database.transaction() as session:
        result: Any = await session.execute(text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []


@pytest.fixture
async def uploaded(admin: httpx.AsyncClient, resources: Resources) -> None:
    """Two customers with pictures; the first has more than the worker renders at once."""
    for name in ("Contract", "Passport", "Photo", "Permit"):
        await make_type(admin, name)
    for customer in ("c-1", "c-2"):
        await make_customer(admin, customer)
    for key in ("contract", "passport", "photo", "permit"):
        path = f"{CUSTOMERS}/c-1/documents/{key}"
        assert (await admin.put(path, **upload_of(files.png(), "a.png"))).status_code == 201
    path = f"{CUSTOMERS}/c-2/documents/photo"
    assert (await admin.put(path, **upload_of(files.png(), "a.png"))).status_code == 201
    await make_overdue(resources)


@pytest.fixture
async def busy(
    uploaded: None, database_url: str, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[None]:
    """An embedded worker whose rendering never ends."""
    del uploaded
    monkeypatch.setattr(worker, "SHUTDOWN_INSIDE_SECONDS", 0.1)
    renderer = EndlessRenderer()
    changed = dataclasses.replace(resources, renderer=renderer)
    async with worker_inside(database_url, changed):
        async with asyncio.timeout(20):
            await renderer.begun.wait()
        yield


@pytest.mark.req("B-040")
@pytest.mark.usefixtures("busy")
class TestJobsBesideRenderings:
    """Other jobs while renderings are running and queued."""

    async def test_erasure_is_completed(self, admin: httpx.AsyncClient) -> None:
        location = (await admin.delete(f"{CUSTOMERS}/c-2")).headers["location"]
        async with asyncio.timeout(20):
            while (await admin.get(location)).json()["state"] != "completed":  # noqa: ASYNC110 - polled
                await asyncio.sleep(0.05)

    async def test_deleted_bytes_are_removed(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await admin.delete(f"{CUSTOMERS}/c-2/documents/photo")
        await becomes_empty(resources, "SELECT 1 FROM blobs WHERE state = 'delete_queued'")

    @pytest.mark.parametrize("name", [JobName.REAP, JobName.RESCAN])
    async def test_periodic_jobs_run(
        self, database_url: str, resources: Resources, name: JobName
    ) -> None:
        async with queue_app(database_url, resources).open_async() as app:
            # At a full minute the worker may just have queued it.
            with suppress(AlreadyEnqueued):
                await app.configure_task(name).defer_async(timestamp=0)
        await becomes_empty(
            resources, f"SELECT 1 FROM procrastinate_jobs WHERE task_name = '{name}'"
        )

    async def test_renderings_run_one_after_another(self, resources: Resources) -> None:
        taken = "SELECT count(*) FROM document_versions WHERE previews_due_at > now()"
        assert await sql(resources, taken) == [(1,)]


async def becomes_empty(resources: Resources, query: str) -> None:
    """Wait until a query returns no rows."""
    async with asyncio.timeout(20):
        while await sql(resources, query):  # noqa: ASYNC110 - polls the database
            await asyncio.sleep(0.05)


@pytest.mark.req("B-070")
@pytest.mark.usefixtures("uploaded")
class TestWorker:
    """The worker and due previews."""

    async def test_due_previews_are_rendered(self, database_url: str, resources: Resources) -> None:
        async with worker_inside(database_url, resources):
            await becomes_empty(resources, DUE)
        assert await sql(resources, "SELECT count(*) FROM previews") == [(5,)]

    async def test_rendering_is_due_again_when_worker_stops(
        self, database_url: str, resources: Resources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(worker, "SHUTDOWN_INSIDE_SECONDS", 0.1)
        renderer = EndlessRenderer()
        changed = dataclasses.replace(resources, renderer=renderer)
        async with worker_inside(database_url, changed):
            await renderer.begun.wait()
        assert len(await sql(resources, f"{DUE} AND previews_due_at <= now()")) == 5
        assert await sql(resources, "SELECT * FROM procrastinate_workers") == []

    async def test_previews_of_killed_worker_are_due_again_at_next_start(
        self, database_url: str, resources: Resources
    ) -> None:
        async with resources.autocommit(resources.system_context()) as uow:
            assert await uow.previews.claim_due()
        assert len(await sql(resources, f"{DUE} AND previews_due_at <= now()")) == 4
        await recover(database_url, resources)
        assert len(await sql(resources, f"{DUE} AND previews_due_at <= now()")) == 5

    async def test_failed_rendering_does_not_stop_the_others(
        self, database_url: str, resources: Resources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(worker, "PREVIEWS_SECONDS", 0.01)
        changed = dataclasses.replace(resources, renderer=FailsOnce())
        async with worker_inside(database_url, changed):
            await becomes_empty(resources, f"{DUE} AND previews_due_at <= now()")
            await becomes_empty(resources, f"{DUE} OFFSET 1")
        # The failed one is tried again when its lease ends.
        assert len(await sql(resources, f"{DUE} AND previews_due_at > now()")) == 1
        assert await sql(resources, "SELECT count(*) FROM previews") == [(4,)]
