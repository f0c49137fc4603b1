"""The picture as a JPEG or PNG."""

# ruff: noqa: PLC0415 -- limits must hold before a parser is loaded

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

MAX_OUTPUT_BYTES = 8 * 1024 * 1024


def encode(picture: Image.Image) -> tuple[str, bytes]:
    """Return (media type, bytes) without metadata: JPEG, or PNG if the picture is transparent."""
    picture.info = {}
    if picture.mode == "RGBA":
        body = _save(picture, "PNG")
        if len(body) <= MAX_OUTPUT_BYTES:
            return "image/png", body
        picture = _put_on_white(picture)
    return "image/jpeg", _save(picture, "JPEG", quality=80)


def _save(picture: Image.Image, kind: str, **options: int) -> bytes:
    output = io.BytesIO()
    picture.save(output, kind, **options)
    return output.getvalue()


def _put_on_white(picture: Image.Image) -> Image.Image:
    from PIL import Image

    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")
