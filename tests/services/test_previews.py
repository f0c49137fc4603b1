"""Previews: rendered once, kept as blobs, and never in the way of the document."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from tests.factories import files
from tests.factories.setups import make_customer, make_type, upload_of
from tests.factories.stored import flipped, overwrite

from docvault.errors import StorageUnavailable, Unavailable
from docvault.previews.renderer import (
    PreviewFailed,
    PreviewRenderer,
    PreviewUnavailable,
    RenderedPreview,
)
from docvault.rules.previews import PreviewSize
from docvault.services import previews
from docvault.services.blobs import delete_queued_blobs
from docvault.services.erasures import finish_erasures
from docvault.services.previews import render_version
from docvault.services.resources import Resources

PATH = "/v1/admin/customers/c-1/documents/photo"
PREVIEW = f"{PATH}/preview"


class Renderer:
    """A renderer that counts, and can do something in the middle."""

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

    async def render(self, source: Path, media_type: str, size: PreviewSize) -> RenderedPreview:
        self.calls.append(size)
        if self._during:
            await self._during()
        if self._error:
            raise self._error
        return await self._inner.render(source, media_type, size)


@pytest.fixture
async def photo(admin: httpx.AsyncClient) -> dict[str, Any]:
    """A stored photo."""
    await make_type(admin, "Photo")
    await make_customer(admin, "c-1")
    answer = await admin.put(PATH, **upload_of(files.jpeg(1000, 500), "a.jpg"))
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    return document


def using(app: FastAPI, resources: Resources, renderer: Renderer) -> Resources:
    """Give the service another renderer."""
    changed = dataclasses.replace(resources, renderer=renderer)
    app.state.resources = changed
    return changed


async def sql(resources: Resources, statement: str) -> list[tuple[Any, ...]]:
    async with resources.database.transaction() as session:
        return [tuple(row) for row in await session.execute(text(statement))]


async def version_id(resources: Resources) -> UUID:
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
    async def test_a_preview_is_rendered_when_there_is_none(self, admin: httpx.AsyncClient) -> None:
        answer = await admin.get(PREVIEW)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
        assert answer.content.startswith(b"\xff\xd8\xff")

    async def test_a_preview_is_rendered_once(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        renderer = Renderer()
        using(app, resources, renderer)
        first, again = await admin.get(PREVIEW), await admin.get(PREVIEW)
        assert first.content == again.content
        assert renderer.calls == ["medium"]

    async def test_a_preview_waits_for_its_turn(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        renderer = Renderer()
        using(app, resources, renderer)
        async with resources.preview_turns.turn(uuid4()):
            waiting = asyncio.create_task(admin.get(PREVIEW))
            done, _ = await asyncio.wait([waiting], timeout=0.5)
            assert (done, renderer.calls) == (set(), [])
        assert (await waiting).status_code == 200

    async def test_each_size_is_rendered_for_itself(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        renderer = Renderer()
        using(app, resources, renderer)
        for size in ("small", "large", "small"):
            assert (await admin.get(PREVIEW, params={"size": size})).status_code == 200
        assert renderer.calls == ["small", "large"]

    async def test_two_at_once_keep_one_preview(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        using(app, resources, Renderer())
        answers = await asyncio.gather(*(admin.get(PREVIEW) for _ in range(3)))
        assert {answer.status_code for answer in answers} == {200}
        await delete_queued_blobs(resources)
        assert await sql(resources, "SELECT count(*) FROM previews") == [(1,)]
        assert len(await keys(resources)) == 2

    async def test_a_file_that_cannot_be_rendered_is_not_tried_again(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        renderer = Renderer(error=PreviewFailed("broken"))
        using(app, resources, renderer)
        assert await has_preview(admin)
        answers = [await admin.get(PREVIEW) for _ in range(2)]
        assert [(a.status_code, a.json()["code"]) for a in answers] == [(404, "no-preview")] * 2
        assert len(renderer.calls) == 1
        assert not await has_preview(admin)

    async def test_a_failed_preview_leaves_the_document_alone(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        using(app, resources, Renderer(error=PreviewFailed("crashed")))
        await admin.get(PREVIEW)
        assert (await admin.get(f"{PATH}/content")).content == files.jpeg(1000, 500)

    async def test_a_renderer_that_cannot_work_now_is_503_and_may_be_asked_again(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        using(app, resources, Renderer(error=PreviewUnavailable("no process")))
        answer = await admin.get(PREVIEW)
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
        using(app, resources, Renderer())
        assert (await admin.get(PREVIEW)).status_code == 200

    async def test_a_slow_rendering_is_503_with_a_time_to_retry(
        self,
        app: FastAPI,
        admin: httpx.AsyncClient,
        resources: Resources,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        assert previews.WAIT_SECONDS <= 15
        monkeypatch.setattr(previews, "WAIT_SECONDS", 0.1)
        using(app, resources, Renderer(during=lambda: asyncio.sleep(5)))
        answer = await admin.get(PREVIEW)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0

    async def test_damaged_bytes_are_never_rendered(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        renderer = Renderer()
        using(app, resources, renderer)
        (key,) = await keys(resources)
        await overwrite(resources, key, flipped(files.jpeg(1000, 500)))
        answer = await admin.get(PREVIEW)
        assert (answer.status_code, renderer.calls) == (503, [])
        assert await has_preview(admin)

    async def test_a_file_that_cannot_be_previewed_is_404(self, admin: httpx.AsyncClient) -> None:
        await admin.put(PATH, **upload_of(files.text(), "a.txt"))
        answer = await admin.get(PREVIEW)
        assert (answer.status_code, answer.json()["code"]) == (404, "no-preview")


@pytest.mark.usefixtures("photo")
class TestMeanwhile:
    """The file changes while its preview is being rendered."""

    async def test_a_file_deleted_meanwhile_has_no_preview_and_leaves_no_bytes(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        using(app, resources, Renderer(during=lambda: admin.delete(PATH)))
        answer = await admin.get(PREVIEW)
        assert (answer.status_code, answer.json()["code"]) == (404, "no-preview")
        await delete_queued_blobs(resources)
        assert await keys(resources) == set()

    async def test_a_job_for_a_file_deleted_meanwhile_ends_well(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        changed = using(app, resources, Renderer(during=lambda: admin.delete(PATH)))
        await render_version(changed, await version_id(resources))
        await delete_queued_blobs(resources)
        assert await keys(resources) == set()

    @pytest.mark.req("R-101", "R-106")
    async def test_a_customer_erased_meanwhile_keeps_no_preview(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        def erase() -> Awaitable[object]:
            return admin.delete("/v1/admin/customers/c-1")

        changed = using(app, resources, Renderer(during=erase))
        await render_version(changed, await version_id(resources))
        await finish_erasures(resources)
        assert await keys(resources) == set()
        assert await sql(resources, "SELECT count(*) FROM previews") == [(0,)]

    @pytest.mark.req("R-106")
    async def test_a_customer_erased_and_gone_meanwhile_keeps_no_preview(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        async def erase() -> None:
            await admin.delete("/v1/admin/customers/c-1")
            await finish_erasures(resources)

        changed = using(app, resources, Renderer(during=erase))
        await render_version(changed, await version_id(resources))
        await delete_queued_blobs(resources)
        assert await keys(resources) == set()


@pytest.mark.usefixtures("photo")
class TestRenderVersion:
    """The worker's part: render_version()."""

    async def test_the_medium_preview_is_there_afterwards(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await render_version(resources, await version_id(resources))
        renderer = Renderer()
        using(app, resources, renderer)
        assert (await admin.get(PREVIEW)).status_code == 200
        assert renderer.calls == []

    async def test_an_upload_asks_for_it(self, resources: Resources) -> None:
        jobs = await sql(resources, "SELECT task_name, args FROM procrastinate_jobs")
        expected = {"version_id": str(await version_id(resources))}
        assert ("render_previews", expected) in jobs

    async def test_running_twice_is_harmless(self, app: FastAPI, resources: Resources) -> None:
        renderer = Renderer()
        changed = using(app, resources, renderer)
        for _ in range(2):
            await render_version(changed, await version_id(resources))
        assert renderer.calls == ["medium"]

    async def test_a_broken_file_ends_well_and_is_marked(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        changed = using(app, resources, Renderer(error=PreviewFailed("broken")))
        await render_version(changed, await version_id(resources))
        assert not await has_preview(admin)

    async def test_a_version_that_is_gone_ends_well(self, resources: Resources) -> None:
        await render_version(resources, UUID(int=0))

    @pytest.mark.parametrize("error", [PreviewUnavailable("no process"), StorageUnavailable()])
    async def test_a_passing_trouble_is_raised_for_the_queue_to_try_again(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources, error: Exception
    ) -> None:
        changed = using(app, resources, Renderer(error=error))
        version = await version_id(resources)
        with pytest.raises(Unavailable):
            await render_version(changed, version)
        assert await has_preview(admin)

    @pytest.mark.req("R-101")
    async def test_replaced_versions_lose_their_previews(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await render_version(resources, await version_id(resources))
        assert (await admin.delete(PATH)).status_code == 204
        await delete_queued_blobs(resources)
        assert await keys(resources) == set()

    async def test_previews_hold_no_metadata(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await render_version(resources, await version_id(resources))
        body = (await admin.get(PREVIEW)).content
        assert b"Factory Camera" not in body
        assert b"Exif" not in body
