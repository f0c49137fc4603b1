"""Letters of fonts that a PDF does not embed."""

import io

import pytest
from PIL import Image
from tests.factories import pdf_pages
from tests.previews.conftest import Render

PDF = "application/pdf"
GLYPHS = {
    "Polish": ["Lslash", "lslash", "aogonek", "eogonek", "Zdotaccent", "sacute", "nacute"],
    "Czech": ["ecaron", "scaron", "ccaron", "rcaron", "uring", "dcaron", "Zcaron"],
    "Hungarian": ["Ohungarumlaut", "ohungarumlaut", "Uhungarumlaut", "uhungarumlaut"],
    "Romanian": ["Abreve", "abreve", "Scommaaccent", "scommaaccent", "Tcommaaccent"],
    "Greek": ["Alpha", "Omega", "sigma", "pi", "lambda", "xi", "theta"],
    "Cyrillic": ["afii10017", "afii10018", "afii10065", "afii10066", "afii10067", "afii10073"],
}
FONTS = ["Helvetica", "Arial,Bold", "Times-Italic", "TimesNewRomanPSMT", "Courier", "Calibri"]


def letters(body: bytes) -> list[str]:
    """Return the columns of the picture with ink, parted by those without: one item a letter."""
    picture = Image.open(io.BytesIO(body)).convert("L").point(lambda value: 255 * (value < 128))
    columns = (picture.crop((x, 0, x + 1, picture.height)) for x in range(picture.width))
    return "".join("#" if column.getbbox() else " " for column in columns).split()


@pytest.mark.req("B-081")
@pytest.mark.parametrize("subtype", ["Type1", "TrueType"])
@pytest.mark.parametrize("font", FONTS)
@pytest.mark.parametrize("language", GLYPHS)
async def test_letters_are_shown(render: Render, language: str, font: str, subtype: str) -> None:
    glyphs = GLYPHS[language]
    spaced = [name for glyph in glyphs for name in (glyph, "space")]
    body = (await render(pdf_pages.with_glyphs(spaced, font, subtype), PDF)).body
    assert len(letters(body)) >= len(glyphs)


@pytest.mark.req("B-081")
@pytest.mark.parametrize("text", ["ŁąęŻśćń", "ěščřůďŽ", "ΑΩσπλξθ", "АБабвжя"])
async def test_letters_of_composite_font_are_shown(render: Render, text: str) -> None:
    body = (await render(pdf_pages.with_text_by_unicode(" ".join(text)), PDF)).body
    assert len(letters(body)) >= len(text)


async def test_families_keep_their_look(render: Render) -> None:
    widths = []
    for font in ("Helvetica", "Times-Roman", "Courier"):
        body = (await render(pdf_pages.with_glyphs(["i", "i", "i", "m"], font), PDF)).body
        box = Image.open(io.BytesIO(body)).convert("L").point(lambda v: 255 - v).getbbox()
        assert box is not None
        widths.append(box[2] - box[0])
    # A letter i is as wide as any other only in a font of fixed width.
    assert widths[1] < widths[0] + 20 < widths[2]


async def test_symbols_are_those_of_the_library(render: Render) -> None:
    body = (await render(pdf_pages.with_glyphs(["a20", "space", "a20"], "ZapfDingbats"), PDF)).body
    assert len(letters(body)) == 2
