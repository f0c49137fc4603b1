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

import json
import os
import sys
from typing import TYPE_CHECKING, BinaryIO

if __name__ == "__main__":
    # The folder of docvault, since this file is run by its path; last, so that it hides no module.
    sys.path.append(__file__.rsplit(os.sep, 3)[0])

from docvault import sandbox
from docvault.previews import limits
from docvault.previews.encode import encode
from docvault.previews.failures import NoSuchPageError, OverLimitError

if TYPE_CHECKING:
    from PIL import Image

EXIT_BROKEN = 65
EXIT_OVER_LIMIT = 66
EXIT_NO_SUCH_PAGE = 67
EXIT_NO_PARSER = 69


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
    limits.limit_resources(kind, side)
    try:
        load_parsers(kind)
    except ImportError:
        return EXIT_NO_PARSER
    sandbox.forbid_system_calls()
    return _render_and_write(kind, side, page)


if __name__ == "__main__":
    # Skips the interpreter's own clean-up, which takes time and could only fail.
    os._exit(main())
