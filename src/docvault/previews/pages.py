"""Pictures of PDF pages, for `child`: import only once the limits are set."""

from __future__ import annotations

from typing import BinaryIO

from PIL import Image
from pypdfium2 import PdfBitmap, PdfDocument, raw

from docvault.previews.failures import NoSuchPageError

_WHITE = (255, 255, 255, 255)


def render_page(source: BinaryIO, side: int, page: int) -> tuple[Image.Image, int]:
    """Return a page as a viewer shows it, on white, and the number of pages.

    Form fields and signatures are drawn from a form environment. The library is built without
    JavaScript and XFA, and no event of the document is triggered: no script or action runs.
    """
    document = PdfDocument(source)
    # Before any other call on the document.
    document.init_forms()
    pages = len(document)
    if page > pages:
        raise NoSuchPageError
    sheet = document[page - 1]
    factor = side / max(sheet.get_size())
    # Not page.render(scale), which rounds up, so that the picture could be one pixel too long.
    width, height = (min(side, max(1, round(length * factor))) for length in sheet.get_size())
    bitmap = PdfBitmap.new_native(width, height, raw.FPDFBitmap_BGRx)
    bitmap.fill_rect(_WHITE, 0, 0, width, height)
    place = (bitmap, sheet, 0, 0, width, height, 0, raw.FPDF_ANNOT)
    raw.FPDF_RenderPageBitmap(*place)
    if document.formenv:
        # The annotations of form fields, which the above leaves out.
        raw.FPDF_FFLDraw(document.formenv, *place)
    picture: Image.Image = bitmap.to_pil().convert("RGB")
    return picture, pages
