"""The child process of `renderer`: one untrusted file on stdin, one small picture on stdout.

Usage: `child.py FORMAT SIDE PAGE`, where FORMAT is a Pillow format name or `PDF`, SIDE the longest
side of the picture in pixels, and PAGE a number from 1. It writes one line of JSON (media_type,
width, height, length, pages) and then `length` bytes of JPEG or PNG. It is run by its path and
imports nothing of docvault except `sandbox` and `previews`, to start quickly and without an
installed package.

The parsers are the part of docvault that a hostile file is most likely to take over. Limits are set
first, then the parsers are imported, then system calls are forbidden, and only then is the first
byte of the file read.
"""

# ruff: noqa: PLC0415 -- limits must hold before a parser is loaded; load only the one needed

from __future__ import annotations

import io
import json
import os
import sys
from typing import TYPE_CHECKING, BinaryIO

if __name__ == "__main__":
    # The folder of docvault, since this file is run by its path; last, so that it hides no module.
    sys.path.append(__file__.rsplit(os.sep, 3)[0])

from docvault import sandbox
from docvault.previews.failures import NoSuchPageError, OverLimitError

if TYPE_CHECKING:
    from PIL import Image

MAX_OUTPUT_BYTES = 8 * 1024 * 1024
# Requests have priority over previews. With a higher value, a large picture would exceed its time
# limit on a busy machine.
NICENESS = 5

EXIT_BROKEN = 65
EXIT_OVER_LIMIT = 66
EXIT_NO_SUCH_PAGE = 67
EXIT_NO_PARSER = 69

# At this limit the kernel sends SIGXCPU, which tells the parent why, and a second later SIGKILL.
# The time for an image is bounded by its pixels: 48 MP of HEIC take 4 s at any size. That for a PDF
# has no bound and grows with the picture, while a page that is one image of 17 MP takes 0.9 s.
_CPU_SECONDS = 10
_CPU_SECONDS_OF_SMALL_PAGES = 3
_SMALL_SIDE = 800
# MiB. The decoders of WebP and HEIC hold several copies of the picture: at 40 MP, 818 for lossless
# WebP and 512 for HEIC with transparency. `images` refuses others that would not fit.
_ADDRESS_SPACE = {"WEBP": 896, "HEIF": 640}
_ADDRESS_SPACE_OTHERWISE = 512


def limit_resources(kind: str, side: int) -> None:
    """Limit the resources for rendering a file of this kind."""
    os.nice(NICENESS)
    mebibytes = _ADDRESS_SPACE.get(kind, _ADDRESS_SPACE_OTHERWISE)
    seconds = _cpu_seconds(kind, side)
    sandbox.limit_resources(
        address_space=mebibytes * 1024 * 1024, cpu_seconds=(seconds, seconds + 1)
    )


def _cpu_seconds(kind: str, side: int) -> int:
    if kind == "PDF" and side <= _SMALL_SIDE:
        return _CPU_SECONDS_OF_SMALL_PAGES
    return _CPU_SECONDS


# --- Parsers ----------------------------------------------------------------------------------


def load_parsers(kind: str) -> None:
    """Import everything that rendering `kind` needs, since no file can be opened later."""
    from docvault.previews import images

    images.load_decoders(kind)
    if kind == "PDF":
        from docvault.previews import fonts, pages  # noqa: F401

        fonts.offer_fonts()


def render(source: BinaryIO, kind: str, side: int, page: int) -> tuple[Image.Image, int | None]:
    """Return the picture of a page, and the number of pages if it is a PDF.

    The picture is upright, sRGB, in mode L, RGB or RGBA, and at most `side` pixels long.

    Raises `OverLimitError`, `NoSuchPageError`, and any exception if the file is corrupt.
    """
    if kind == "PDF":
        from docvault.previews import pages

        return pages.render_page(source, side, page)
    from docvault.previews import images

    return images.render_image(source, kind, side, page), None


# --- Output -----------------------------------------------------------------------------------


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


def _render_and_write(kind: str, side: int, page: int) -> int:
    try:
        picture, pages = render(sys.stdin.buffer, kind, side, page)
        media_type, body = encode(picture)
    except NoSuchPageError:
        return EXIT_NO_SUCH_PAGE
    except (OverLimitError, MemoryError):
        return EXIT_OVER_LIMIT
    except Exception:  # noqa: BLE001 -- parsers raise anything, even SyntaxError
        return EXIT_BROKEN
    width, height = picture.size
    header = {
        "media_type": media_type,
        "width": width,
        "height": height,
        "length": len(body),
        "pages": pages,
    }
    sys.stdout.buffer.write(json.dumps(header).encode() + b"\n" + body)
    sys.stdout.buffer.flush()
    return 0


def main() -> int:
    """Render stdin according to the arguments; return the exit code."""
    kind, side, page = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    limit_resources(kind, side)
    try:
        load_parsers(kind)
    except ImportError:
        return EXIT_NO_PARSER
    sandbox.forbid_system_calls()
    return _render_and_write(kind, side, page)


if __name__ == "__main__":
    # Skips the interpreter's own clean-up, which takes time and could only fail.
    os._exit(main())
