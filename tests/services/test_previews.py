"""Previews: rendered once, stored as blobs, and independent of the document."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from tests.factories import files
from tests.factories.previews import make_overdue
from tests.factories.setups import make_customer, make_type, upload_of
from tests.factories.stored import flipped, overwrite

from docvault.domain.previews import PreviewSize
from docvault.errors import ServiceUnavailable, StorageUnavailable
from docvault.previews.renderer import (
    PreviewFailed,
    PreviewRenderer,
    PreviewUnavailable,
    RenderedPreview,
)
from docvault.repositories import previews as previews_repository
from docvault.repositories.previews import MAX_DUE_PER_CUSTOMER
from docvault.services import previews
from docvault.services.blobs import delete_queued_blobs
from docvault.services.erasures import finish_erasures
from docvault.services.previews import render_next_due, render_version
from docvault.services.resources import Resources

PATH = "/v1/admin/customers/c-1/documents/photo"
PREVIEW = f"{PATH}/preview"
LATER = "UPDATE document_versions SET previews_due_at = previews_due_at - interval"


class Renderer(PreviewRenderer):
    """A renderer that counts its calls and can run a function or fail meanwhile."""

    def __init__(
        self,
        *,
        during: Callable[[], Awaitable[object]] | None = None,
        error: Exception | None = None,
    ) -> None:
        self.calls: list[str] = []
        self._during = during
        self._error = error
        self._inner = PreviewRenderer(parallel=4)

    async def render(
        self, source: Path, media_type: str, size: PreviewSize, page: int = 1
    ) -> RenderedPreview:
        self.calls.append(size)
        if self._during:
            await self._during()
        if self._error:
            raise self._error
        return await self._inner.render(source, media_type, size, page)


@pytest.fixture
async def photo(admin: httpx.AsyncClient) -> dict[str, Any]:
    """A stored photo."""
    await make_type(admin, "Photo")
    await make_customer(admin, "c-1")
    response = await admin.put(PATH, **upload_of(files.jpeg(1000, 500), "a.jpg"))
    assert response.status_code == 201, response.text
    document: dict[str, Any] = response.json()
    return document


def use_renderer(app: FastAPI, resources: Resources, renderer: Renderer) -> Resources:
    """Replace the renderer of the service."""
    changed = dataclasses.replace(resources, renderer=renderer)
    app.state.resources = changed
    return changed


async def sql(resources: Resources, statement: str) -> list[tuple[Any, ...]]:
    async with resources.database.transaction() as session:
        return [tuple(row) for row in await session.execute(text(statement))]


async def version_id(resources: Resources) -> UUID:
    found: UUID
    ((found,),) = await sql(
        resources, "SELECT id FROM document_versions ORDER BY number DESC LIMIT 1"
    )
    return found


async def keys(resources: Resources) -> set[str]:
    return {blob.key async for blob in resources.store.list_blobs()}


async def has_preview(admin: httpx.AsyncClient) -> bool:
    found: bool = (await admin.get(PATH)).json()["files"][0]["has_preview"]
    return found


@pytest.mark.usefixtures("photo")
class TestReadPreview:
    """GET …/preview."""

    @pytest.mark.req("R-053")
    async def test_missing_preview_is_rendered(self, admin: httpx.AsyncClient) -> None:
        response = await admin.get(PREVIEW)
        assert (response.status_code, response.headers["content-type"]) == (200, "image/jpeg")
        assert response.content.startswith(b"\xff\xd8\xff")

    async def test_preview_is_rendered_once(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        renderer = Renderer()
        use_renderer(app, resources, renderer)
        first, again = await admin.get(PREVIEW), await admin.get(PREVIEW)
        assert first.content == again.content
        assert renderer.calls == ["medium"]

    async def test_rendering_waits_for_its_turn(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        renderer = Renderer()
        use_renderer(app, resources, renderer)
        turns = resources.preview_queue
        async with turns.turn(uuid4()), turns.turn(uuid4()):
            waiting = asyncio.create_task(admin.get(PREVIEW))
            done, _ = await asyncio.wait([waiting], timeout=0.5)
            assert (done, renderer.calls) == (set(), [])
        assert (await waiting).status_code == 200

    async def test_each_size_is_rendered_separately(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        renderer = Renderer()
        use_renderer(app, resources, renderer)
        for size in ("small", "large", "small"):
            assert (await admin.get(PREVIEW, params={"size": size})).status_code == 200
        assert renderer.calls == ["small", "large"]

    async def test_concurrent_renderings_store_one_preview(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        use_renderer(app, resources, Renderer())
        responses = await asyncio.gather(*(admin.get(PREVIEW) for _ in range(3)))
        assert {response.status_code for response in responses} == {200}
        await delete_queued_blobs(resources)
        assert await sql(resources, "SELECT count(*) FROM previews") == [(1,)]
        assert len(await keys(resources)) == 2

    async def test_unrenderable_file_is_not_retried(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        renderer = Renderer(error=PreviewFailed("broken"))
        use_renderer(app, resources, renderer)
        assert await has_preview(admin)
        responses = [await admin.get(PREVIEW) for _ in range(2)]
        assert [(r.status_code, r.json()["code"]) for r in responses] == [(404, "no-preview")] * 2
        assert len(renderer.calls) == 1
        assert not await has_preview(admin)

    async def test_concurrent_requests_try_broken_file_once(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        renderer = Renderer(error=PreviewFailed("broken"), during=lambda: asyncio.sleep(0.3))
        use_renderer(app, resources, renderer)
        responses = await asyncio.gather(*(admin.get(PREVIEW) for _ in range(4)))
        assert {response.json()["code"] for response in responses} == {"no-preview"}
        assert len(renderer.calls) == 1

    async def test_failed_preview_does_not_affect_document(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        use_renderer(app, resources, Renderer(error=PreviewFailed("crashed")))
        await admin.get(PREVIEW)
        assert (await admin.get(f"{PATH}/content")).content == files.jpeg(1000, 500)

    async def test_unavailable_renderer_is_503_and_can_be_retried(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        use_renderer(app, resources, Renderer(error=PreviewUnavailable("no process")))
        response = await admin.get(PREVIEW)
        assert (response.status_code, "retry-after" in response.headers) == (503, True)
        use_renderer(app, resources, Renderer())
        assert (await admin.get(PREVIEW)).status_code == 200

    async def test_slow_rendering_is_503_with_retry_after(
        self,
        app: FastAPI,
        admin: httpx.AsyncClient,
        resources: Resources,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        assert previews.WAIT_SECONDS <= 15
        monkeypatch.setattr(previews, "WAIT_SECONDS", 0.1)
        use_renderer(app, resources, Renderer(during=lambda: asyncio.sleep(5)))
        response = await admin.get(PREVIEW)
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) > 0

    async def test_corrupt_bytes_are_never_rendered(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        renderer = Renderer()
        use_renderer(app, resources, renderer)
        (key,) = await keys(resources)
        await overwrite(resources, key, flipped(files.jpeg(1000, 500)))
        response = await admin.get(PREVIEW)
        assert (response.status_code, renderer.calls) == (503, [])
        assert await has_preview(admin)

    async def test_unsupported_file_is_404(self, admin: httpx.AsyncClient) -> None:
        await admin.put(PATH, **upload_of(files.text(), "a.txt"))
        response = await admin.get(PREVIEW)
        assert (response.status_code, response.json()["code"]) == (404, "no-preview")


async def owner_of(resources: Resources, customer: str) -> UUID:
    async with resources.transaction(resources.system_context()) as uow:
        facts = await uow.customers.find(customer)
    assert facts is not None
    return facts.id


@pytest.mark.usefixtures("photo")
class TestTimeLimit:
    """Customers whose files take too long to render."""

    @pytest.mark.req("B-041")
    async def test_slow_page_has_no_preview_and_demotes_owner(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await admin.put(PATH, **upload_of(files.slow_pdf(), "a.pdf"))
        owner = await owner_of(resources, "c-1")
        # In the background, where no request times out before the rendering.
        await render_version(resources, await version_id(resources))
        assert resources.preview_queue.is_demoted(owner)
        response = await admin.get(PREVIEW)
        assert (response.status_code, response.json()["code"]) == (404, "no-preview")

    @pytest.mark.req("B-042")
    @pytest.mark.parametrize(("long_seconds", "demoted"), [(0.2, True), (5, False)])
    async def test_cancelled_long_rendering_demotes_owner(
        self,
        app: FastAPI,
        admin: httpx.AsyncClient,
        resources: Resources,
        monkeypatch: pytest.MonkeyPatch,
        long_seconds: float,
        demoted: bool,
    ) -> None:
        monkeypatch.setattr(previews, "WAIT_SECONDS", 1)
        monkeypatch.setattr(previews, "LONG_SECONDS", long_seconds)
        use_renderer(app, resources, Renderer(during=lambda: asyncio.sleep(30)))
        assert (await admin.get(PREVIEW)).status_code == 503
        assert resources.preview_queue.is_demoted(await owner_of(resources, "c-1")) is demoted
        assert await has_preview(admin)

    async def test_broken_file_does_not_demote_owner(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        use_renderer(app, resources, Renderer(error=PreviewFailed("broken")))
        await admin.get(PREVIEW)
        assert not resources.preview_queue.is_demoted(await owner_of(resources, "c-1"))

    @pytest.mark.req("B-041")
    async def test_demoted_owner_gets_previews_only_on_demand(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        renderer = Renderer()
        changed = use_renderer(app, resources, renderer)
        resources.preview_queue.demote(await owner_of(resources, "c-1"))
        await render_version(changed, await version_id(resources))
        assert renderer.calls == []
        assert (await admin.get(PREVIEW)).status_code == 200

    @pytest.mark.req("B-041")
    async def test_first_timeout_stops_background_rendering(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await make_type(admin, "Pages", max_files=3)
        pages = [("file", (f"{n}.png", files.png(), "image/png")) for n in range(3)]
        path = PATH.replace("photo", "pages")
        assert (await admin.put(path, files=pages)).status_code == 201
        renderer = Renderer(error=PreviewFailed("time-limit"))
        ((version,),) = await sql(
            resources, "SELECT version_id FROM document_files WHERE filename = '2.png'"
        )
        await render_version(use_renderer(app, resources, renderer), version)
        assert renderer.calls == ["medium"]

    @pytest.mark.req("B-042")
    async def test_hostile_files_of_three_customers_do_not_delay_a_fourth(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        hostile = [f"h-{number}" for number in range(3)]
        for name in hostile:
            await make_customer(admin, name)
            resources.preview_queue.demote(await owner_of(resources, name))
        paths = [PATH.replace("c-1", name) for name in hostile]
        for path in paths:
            await admin.put(path, **upload_of(files.jpeg(), "a.jpg"))
        release = asyncio.Event()
        use_renderer(app, resources, Renderer(during=release.wait))
        waiting = [asyncio.create_task(admin.get(f"{path}/preview")) for path in paths]
        await asyncio.sleep(0.5)
        renderer = Renderer()
        use_renderer(app, resources, renderer)
        assert (await admin.get(PREVIEW)).status_code == 200
        assert not any(task.done() for task in waiting)
        release.set()
        assert {response.status_code for response in await asyncio.gather(*waiting)} == {200}


@pytest.mark.usefixtures("photo")
class TestConcurrentChanges:
    """Changes to the file while its preview is being rendered."""

    async def test_concurrently_deleted_file_has_no_preview_and_leaves_no_bytes(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        use_renderer(app, resources, Renderer(during=lambda: admin.delete(PATH)))
        response = await admin.get(PREVIEW)
        assert (response.status_code, response.json()["code"]) == (404, "no-preview")
        await delete_queued_blobs(resources)
        assert await keys(resources) == set()

    async def test_job_for_deleted_file_succeeds(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        changed = use_renderer(app, resources, Renderer(during=lambda: admin.delete(PATH)))
        await render_version(changed, await version_id(resources))
        await delete_queued_blobs(resources)
        assert await keys(resources) == set()

    @pytest.mark.req("R-101", "R-106")
    async def test_preview_of_concurrently_erased_customer_is_not_kept(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        def erase() -> Awaitable[object]:
            return admin.delete("/v1/admin/customers/c-1")

        changed = use_renderer(app, resources, Renderer(during=erase))
        await render_version(changed, await version_id(resources))
        await finish_erasures(resources)
        assert await keys(resources) == set()
        assert await sql(resources, "SELECT count(*) FROM previews") == [(0,)]

    @pytest.mark.req("R-106")
    async def test_preview_of_concurrently_removed_customer_is_not_kept(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        async def erase() -> None:
            await admin.delete("/v1/admin/customers/c-1")
            await finish_erasures(resources)

        changed = use_renderer(app, resources, Renderer(during=erase))
        await render_version(changed, await version_id(resources))
        await delete_queued_blobs(resources)
        assert await keys(resources) == set()


@pytest.mark.usefixtures("photo")
class TestRenderVersion:
    """render_version(), as the worker runs it."""

    async def test_medium_preview_is_stored(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await render_version(resources, await version_id(resources))
        renderer = Renderer()
        use_renderer(app, resources, renderer)
        assert (await admin.get(PREVIEW)).status_code == 200
        assert renderer.calls == []

    async def test_rendering_is_idempotent(self, app: FastAPI, resources: Resources) -> None:
        renderer = Renderer()
        changed = use_renderer(app, resources, renderer)
        for _ in range(2):
            await render_version(changed, await version_id(resources))
        assert renderer.calls == ["medium"]

    async def test_broken_file_succeeds_and_is_marked(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        changed = use_renderer(app, resources, Renderer(error=PreviewFailed("broken")))
        await render_version(changed, await version_id(resources))
        assert not await has_preview(admin)

    async def test_missing_version_succeeds(self, resources: Resources) -> None:
        await render_version(resources, UUID(int=0))

    @pytest.mark.parametrize("error", [PreviewUnavailable("no process"), StorageUnavailable()])
    async def test_transient_failure_is_raised_for_retry(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources, error: Exception
    ) -> None:
        changed = use_renderer(app, resources, Renderer(error=error))
        version = await version_id(resources)
        with pytest.raises(ServiceUnavailable):
            await render_version(changed, version)
        assert await has_preview(admin)

    @pytest.mark.req("R-101")
    async def test_previews_of_replaced_versions_are_deleted(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await render_version(resources, await version_id(resources))
        assert (await admin.delete(PATH)).status_code == 204
        await delete_queued_blobs(resources)
        assert await keys(resources) == set()

    async def test_previews_contain_no_metadata(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await render_version(resources, await version_id(resources))
        body = (await admin.get(PREVIEW)).content
        assert b"Factory Camera" not in body
        assert b"Exif" not in body


DUE = "SELECT id FROM document_versions WHERE previews_due_at IS NOT NULL ORDER BY previews_due_at"


@pytest.mark.req("B-070")
@pytest.mark.usefixtures("photo")
class TestRenderNextDue:
    """render_next_due()."""

    async def test_rendered_version_is_not_due_any_more(self, resources: Resources) -> None:
        await make_overdue(resources)
        assert await render_next_due(resources)
        assert await sql(resources, "SELECT size FROM previews") == [("medium",)]
        assert await sql(resources, DUE) == []
        assert not await render_next_due(resources)

    async def test_nothing_is_rendered_while_uploads_arrive(
        self, admin: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # A slow machine may need a second for the upload alone.
        monkeypatch.setattr(previews_repository, "PAUSE", timedelta(minutes=1))
        await make_customer(admin, "c-2")
        await sql(resources, f"{LATER} '2 minutes' RETURNING id")
        await admin.put(PATH.replace("c-1", "c-2"), **upload_of(files.png(), "a.png"))
        assert not await render_next_due(resources)
        await sql(resources, f"{LATER} '61 seconds' RETURNING id")
        assert await render_next_due(resources)

    async def test_overdue_version_does_not_wait_for_a_pause(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await make_customer(admin, "c-2")
        await make_overdue(resources)
        await admin.put(PATH.replace("c-1", "c-2"), **upload_of(files.png(), "a.png"))
        due = await sql(resources, DUE)
        assert await render_next_due(resources)
        assert await sql(resources, DUE) == due[1:]

    async def test_file_without_preview_is_never_due(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await make_customer(admin, "c-2")
        await sql(resources, "UPDATE document_versions SET previews_due_at = NULL RETURNING id")
        await admin.put(PATH.replace("c-1", "c-2"), **upload_of(files.text(), "a.txt"))
        assert await sql(resources, DUE) == []

    async def test_version_is_taken_by_one_worker_only(self, resources: Resources) -> None:
        await make_overdue(resources)
        async with resources.autocommit(resources.system_context()) as uow:
            first, second = await uow.previews.claim_due(), await uow.previews.claim_due()
        assert (first is None, second) == (False, None)

    async def test_version_is_due_again_when_its_lease_has_ended(
        self, resources: Resources
    ) -> None:
        await make_overdue(resources)
        async with resources.autocommit(resources.system_context()) as uow:
            await uow.previews.claim_due()
        await sql(resources, f"{LATER} '5 minutes 2 seconds' RETURNING id")
        assert await render_next_due(resources)

    async def test_failure_keeps_the_version_due(self, app: FastAPI, resources: Resources) -> None:
        await make_overdue(resources)
        changed = use_renderer(app, resources, Renderer(error=PreviewUnavailable("no process")))
        with pytest.raises(ServiceUnavailable):
            await render_next_due(changed)
        assert len(await sql(resources, DUE)) == 1

    async def test_deleted_document_is_not_due(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await admin.delete(PATH)
        assert await sql(resources, DUE) == []

    @pytest.mark.req("B-041")
    async def test_due_versions_per_customer_are_limited(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        for _ in range(MAX_DUE_PER_CUSTOMER + 2):
            await admin.put(PATH, **upload_of(files.png(), "a.png"))
        await make_customer(admin, "c-2")
        await admin.put(PATH.replace("c-1", "c-2"), **upload_of(files.png(), "a.png"))
        await make_overdue(resources)
        async with resources.autocommit(resources.system_context()) as uow:
            assert await uow.previews.claim_due()
        due = await sql(
            resources,
            "SELECT external_id, count(*) FROM document_versions AS version"
            " JOIN documents ON documents.id = document_id"
            " JOIN customers ON customers.id = customer_id"
            " WHERE previews_due_at IS NOT NULL GROUP BY 1 ORDER BY 1",
        )
        assert due == [("c-1", MAX_DUE_PER_CUSTOMER), ("c-2", 1)]
