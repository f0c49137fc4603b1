"""Files that look like what customers send; drawn here, so that they show no real person."""

import io
import math
from collections.abc import Callable, Sequence

from PIL import Image, ImageDraw, ImageFont

_INK = "#1f2937"
_PAPER = "#fdfdf8"
_PEN = "#1d4ed8"

# A4 and the card format ID-1 (ISO/IEC 7810), in pixels.
_PAGE = (1240, 1754)
_CARD = (1012, 638)


def draw_card(title: str, holder: str, lines: Sequence[str], *, color: str) -> bytes:
    """Return the JPEG of an identity document."""
    card = Image.new("RGB", _CARD, color)
    draw = ImageDraw.Draw(card)
    draw.text((40, 30), title.upper(), fill=_INK, font=ImageFont.load_default(44))
    draw.rectangle((40, 120, 320, 480), fill="#cbd5e1")
    draw.ellipse((120, 170, 240, 310), fill="#94a3b8")
    draw.pieslice((70, 330, 290, 620), 180, 360, fill="#94a3b8")
    draw.rectangle((40, 480, 320, 638), fill=color)
    for row, line in enumerate([holder, *lines]):
        draw.text((360, 130 + 62 * row), line, fill=_INK, font=ImageFont.load_default(34))
    draw.text((40, 560), "SPECIMEN", fill="#b91c1c", font=ImageFont.load_default(48))
    return _encode(card, "JPEG")


def draw_letter(title: str, lines: Sequence[str], *, signed_by: str | None = None) -> bytes:
    """Return the PDF of a page, signed if a name is given."""
    page = Image.new("RGB", _PAGE, _PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((120, 140), title, fill=_INK, font=ImageFont.load_default(56))
    for row, line in enumerate(lines):
        draw.text((120, 300 + 56 * row), line, fill=_INK, font=ImageFont.load_default(30))
    if signed_by is not None:
        _sign(draw, signed_by)
    return _encode(page, "PDF")


def _sign(draw: ImageDraw.ImageDraw, name: str) -> None:
    draw.line((120, 1500, 620, 1500), fill=_INK, width=2)
    draw.text((120, 1515), name, fill=_INK, font=ImageFont.load_default(26))
    stroke = [
        (
            150 + 3 * step + 24 * math.sin(step / 3),
            1440 - 40 * math.cos(step / 4) * math.sin(step / 11),
        )
        for step in range(130)
    ]
    draw.line(stroke, fill=_PEN, width=5, joint="curve")


def _encode(image: Image.Image, form: str) -> bytes:
    body = io.BytesIO()
    image.save(body, form)
    return body.getvalue()


Drawing = Callable[[str], bytes]


def draw_passport(holder: str) -> bytes:
    """Return the picture of a passport."""
    lines = ["Nationality: Utopian", "Date of birth: 14-03-1988", "Number: SPECI2025"]
    return draw_card("Passport", holder, lines, color="#e0e7ff")


def draw_driving_licence(holder: str) -> bytes:
    """Return the picture of a driving licence."""
    lines = ["Categories: B, BE", "Valid until: 01-06-2033", "Number: 5550001234"]
    return draw_card("Driving licence", holder, lines, color="#fce7f3")


def draw_contract(holder: str) -> bytes:
    """Return a signed contract."""
    lines = [
        f"This contract is made between Example Leasing and {holder}.",
        "",
        "1. The customer leases one vehicle for 48 months.",
        "2. The first payment is due when the vehicle is delivered.",
        "3. Either party may end the contract with three months' notice.",
    ]
    return draw_letter("Lease contract", lines, signed_by=holder)


def draw_payslip(holder: str) -> bytes:
    """Return a payslip."""
    lines = [f"Employee: {holder}", "Period: October", "Gross: 3,850.00", "Net: 2,914.37"]
    return draw_letter("Payslip", lines)


def draw_approval(holder: str) -> bytes:
    """Return a letter that staff write."""
    return draw_letter(
        "Credit approval", [f"The credit of {holder} is approved."], signed_by="Staff"
    )
