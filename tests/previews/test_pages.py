"""Pictures of PDF pages show what a viewer shows."""

import io

import pytest
from PIL import Image
from tests.factories import files, pdf_pages
from tests.previews.conftest import Render

from docvault.previews.renderer import NoSuchPage, PreviewFailed

PDF = "application/pdf"


def dark_pixels(body: bytes, box: tuple[int, int, int, int] | None = None) -> int:
    """Return how many pixels are dark, in a box of points from the lower left corner."""
    picture = Image.open(io.BytesIO(body)).convert("L")
    if box:
        scale = picture.width / pdf_pages.WIDTH
        left, bottom, right, top = (round(length * scale) for length in box)
        picture = picture.crop((left, picture.height - top, right, picture.height - bottom))
    return sum(picture.histogram()[:128])


@pytest.mark.req("B-080")
@pytest.mark.parametrize(
    "make", [pdf_pages.with_field_value, pdf_pages.with_signature, pdf_pages.with_stamp]
)
async def test_appearance_of_annotation_is_shown(render: Render, make: object) -> None:
    assert callable(make)
    body = (await render(make(), PDF)).body
    # The annotation of 100 by 40 points at two pixels for each.
    assert dark_pixels(body, (100, 80, 200, 120)) == pytest.approx(200 * 80, rel=0.02)


@pytest.mark.req("B-080")
async def test_tick_is_shown_if_set(render: Render) -> None:
    assert dark_pixels((await render(pdf_pages.with_tick(is_on=True), PDF)).body) > 500
    assert dark_pixels((await render(pdf_pages.with_tick(is_on=False), PDF)).body) == 0


@pytest.mark.req("B-080")
@pytest.mark.parametrize("value", ["Value", "Żółw", "Řeka", "Ωμέγα", "Юрий"])
async def test_value_without_appearance_is_shown(render: Render, value: str) -> None:
    body = (await render(pdf_pages.with_value_without_appearance(value), PDF)).body
    assert dark_pixels(body, (100, 80, 200, 120)) > 800


async def test_form_fields_are_not_highlighted(render: Render) -> None:
    body = (await render(pdf_pages.with_value_without_appearance(""), PDF)).body
    assert Image.open(io.BytesIO(body)).convert("L").getextrema() == (255, 255)


@pytest.mark.req("B-082")
async def test_each_page_is_rendered(render: Render) -> None:
    source = files.pdf(pages=3)
    pages = [await render(source, PDF, page=number) for number in (1, 2, 3)]
    assert [page.pages for page in pages] == [3, 3, 3]


@pytest.mark.req("B-082")
async def test_page_beyond_the_end_does_not_exist(render: Render) -> None:
    with pytest.raises(NoSuchPage):
        await render(files.pdf(pages=3), PDF, page=4)


@pytest.mark.req("B-083")
async def test_number_of_pages_is_not_limited(render: Render) -> None:
    preview = await render(files.pdf(pages=5_000), PDF, page=4_999)
    assert preview.pages == 5_000


async def test_locked_document_fails(render: Render) -> None:
    from pikepdf import Encryption, Pdf

    buffer = io.BytesIO()
    with Pdf.open(io.BytesIO(files.pdf())) as pdf:
        pdf.save(buffer, encryption=Encryption(owner="owner", user="user"))
    with pytest.raises(PreviewFailed, match="broken"):
        await render(buffer.getvalue(), PDF)
