"""Previews of single pages: stored, limited in number and deleted like all others."""

import dataclasses
import io
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from PIL import Image
from sqlalchemy import text
from tests.factories import files
from tests.factories.setups import make_customer, make_type, upload_of
from tests.fixtures.callers import CustomerClients

from docvault.domain.previews import PreviewSize
from docvault.previews.renderer import PreviewFailed, PreviewRenderer, RenderedPreview
from docvault.services import previews
from docvault.services.blobs import delete_queued_blobs
from docvault.services.resources import Resources

PATH = "/v1/admin/customers/c-1/documents/contract"
PREVIEW = f"{PATH}/preview"
# Of three sizes, so that each page has a picture of its own.
PAGES = [(300, 300), (300, 200), (300, 100)]


def tiff_of_pages() -> bytes:
    pages = [Image.new("L", size, 255) for size in PAGES]
    buffer = io.BytesIO()
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:])
    return buffer.getvalue()


class Renderer(PreviewRenderer):
    """A renderer that records pages and cannot render some."""

    def __init__(self, *broken: int) -> None:
        super().__init__()
        self.pages: list[int] = []
        self._broken = broken

    async def render(
        self, source: Path, media_type: str, size: PreviewSize, page: int = 1
    ) -> RenderedPreview:
        self.pages.append(page)
        if page in self._broken:
            raise PreviewFailed("broken")
        return await super().render(source, media_type, size, page)


@pytest.fixture
async def uploaded(admin: httpx.AsyncClient) -> None:
    """A TIFF of three pages."""
    await make_type(admin, "Contract")
    await make_customer(admin, "c-1")
    await upload(admin, tiff_of_pages(), "scan.tif")


async def upload(admin: httpx.AsyncClient, body: bytes, filename: str) -> dict[str, Any]:
    response = await admin.put(PATH, **upload_of(body, filename))
    assert response.is_success, response.text
    file: dict[str, Any] = response.json()["files"][0]
    return file


def use_renderer(app: FastAPI, resources: Resources, renderer: Renderer) -> None:
    app.state.resources = dataclasses.replace(resources, renderer=renderer)


async def sql(resources: Resources, statement: str) -> list[tuple[Any, ...]]:
    async with resources.database.transaction() as session:
        result: Any = await session.execute(text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []


def size_of(response: httpx.Response) -> tuple[int, int]:
    assert response.status_code == 200, response.text
    return Image.open(io.BytesIO(response.content)).size


@pytest.mark.usefixtures("uploaded")
class TestPages:
    """`pages` of a file."""

    @pytest.mark.req("B-082")
    @pytest.mark.parametrize(
        ("body", "filename", "pages"),
        [
            (files.pdf(pages=7), "a.pdf", 7),
            (files.pdf_with_javascript(), "a.pdf", 1),
            (files.pdf_with_compressed_catalog(), "a.pdf", 1),
            (tiff_of_pages(), "a.tif", 3),
            (files.jpeg(), "a.jpg", 1),
            (files.docx(), "a.docx", None),
            (files.text(), "a.txt", None),
        ],
    )
    async def test_pages_are_known_after_upload(
        self, admin: httpx.AsyncClient, body: bytes, filename: str, pages: int | None
    ) -> None:
        assert (await upload(admin, body, filename))["pages"] == pages
        for path in (PATH, f"{PATH}/versions", PATH.rpartition("/")[0]):
            response = (await admin.get(path)).json()
            shown = response["items"][0] if "items" in response else response
            assert shown["files"][0]["pages"] == pages

    @pytest.mark.req("B-082")
    async def test_copy_keeps_pages(self, admin: httpx.AsyncClient) -> None:
        await make_type(admin, "Copy")
        copy = PATH.replace("contract", "copy")
        response = await admin.post(f"{copy}/copy", json={"from": {"key": "contract"}})
        assert response.json()["files"][0]["pages"] == 3

    @pytest.mark.req("B-082")
    async def test_preview_shows_pages_that_were_not_known(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        await upload(admin, files.pdf(pages=2), "a.pdf")
        await sql(resources, "UPDATE document_files SET pages = NULL")
        response = await admin.get(PREVIEW, params={"page": 3})
        assert (response.status_code, response.json()["code"]) == (404, "page-not-found")
        assert (await admin.get(PREVIEW, params={"page": 2})).status_code == 200
        assert (await admin.get(PATH)).json()["files"][0]["pages"] == 2


@pytest.mark.usefixtures("uploaded")
class TestPreviewPages:
    """GET …/preview?page=."""

    @pytest.mark.req("B-082")
    async def test_each_page_has_its_preview(
        self, admin: httpx.AsyncClient, customer_of: CustomerClients
    ) -> None:
        shown = [size_of(await admin.get(PREVIEW, params={"page": n})) for n in (1, 2, 3)]
        assert shown == PAGES
        customer = customer_of("c-1")
        path = "/v1/customer/documents/contract/preview"
        assert size_of(await customer.get(path, params={"page": 2})) == PAGES[1]
        assert size_of(await customer.get(path)) == PAGES[0]

    async def test_page_is_rendered_once(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        renderer = Renderer()
        use_renderer(app, resources, renderer)
        for page in (2, 1, 2, 1):
            await admin.get(PREVIEW, params={"page": page})
        assert renderer.pages == [2, 1]

    @pytest.mark.req("B-082")
    async def test_page_beyond_the_end_is_not_found(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        renderer = Renderer()
        use_renderer(app, resources, renderer)
        response = await admin.get(PREVIEW, params={"page": 4})
        assert (response.status_code, response.json()["code"]) == (404, "page-not-found")
        # Nothing was rendered to find out.
        assert renderer.pages == []

    @pytest.mark.parametrize("page", ["0", "-1", "2147483648", "two", ""])
    async def test_impossible_page_is_invalid(self, admin: httpx.AsyncClient, page: str) -> None:
        response = await admin.get(PREVIEW, params={"page": page})
        assert response.status_code == 422
        assert response.json()["errors"][0]["parameter"] == "page"

    async def test_broken_page_is_tried_once_and_others_are_shown(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        renderer = Renderer(2)
        use_renderer(app, resources, renderer)
        codes = [(await admin.get(PREVIEW, params={"page": n})).status_code for n in (2, 2, 1, 3)]
        assert codes == [404, 404, 200, 200]
        assert renderer.pages == [2, 1, 3]
        assert (await admin.get(PATH)).json()["files"][0]["has_preview"] is True

    async def test_file_whose_first_page_is_broken_has_no_preview(
        self, app: FastAPI, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        use_renderer(app, resources, Renderer(1))
        for page in (1, 2):
            response = await admin.get(PREVIEW, params={"page": page})
            assert (response.status_code, response.json()["code"]) == (404, "no-preview")
        assert (await admin.get(PATH)).json()["files"][0]["has_preview"] is False

    @pytest.mark.req("B-082", "R-101")
    async def test_previews_of_all_pages_are_deleted(
        self, admin: httpx.AsyncClient, resources: Resources
    ) -> None:
        for page in (1, 2, 3):
            assert (await admin.get(PREVIEW, params={"page": page})).status_code == 200
        assert len([blob async for blob in resources.store.list_blobs()]) == 4
        assert (await admin.delete(PATH)).status_code == 204
        await delete_queued_blobs(resources)
        assert [blob async for blob in resources.store.list_blobs()] == []

    @pytest.mark.req("B-082")
    async def test_oldest_previews_of_later_pages_make_room(
        self, admin: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(previews, "KEPT_PAGE_PREVIEWS", 2)
        for page, size in ((1, "small"), (2, "small"), (3, "small"), (2, "large")):
            response = await admin.get(PREVIEW, params={"page": page, "size": size})
            assert response.status_code == 200
        kept = await sql(resources, "SELECT page, size FROM previews ORDER BY page, size")
        assert kept == [(1, "small"), (2, "large"), (3, "small")]
        # Those who have just looked it up can still read it.
        await delete_queued_blobs(resources)
        assert len([blob async for blob in resources.store.list_blobs()]) == 5
        await sql(resources, "UPDATE blobs SET expires_at = now() WHERE state = 'delete_queued'")
        await delete_queued_blobs(resources)
        assert len([blob async for blob in resources.store.list_blobs()]) == 4
