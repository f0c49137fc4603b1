"""A small generated corpus with the folders of the large one; see `fixtures/corpus.py`."""

import json
from pathlib import Path

from tests.factories import files
from tests.factories.raw_json import JSON, NOT_JSON
from tests.factories.strings import NAMES, TEXTS


def write_corpus(folder: Path) -> None:
    """Write a few files of each kind that the tests use."""
    for kind, contents in _kinds().items():
        (folder / kind).mkdir()
        for name, body in contents.items():
            (folder / kind / name).write_bytes(body)


def _kinds() -> dict[str, dict[str, bytes]]:
    return {
        "json-y": {f"{number}.json": body for number, body in enumerate(JSON[::6])},
        "json-transform": {
            "repeated-name.json": b'{"a":1,"a":2}',
            "large-number.json": b"[1" + b"0" * 400 + b"]",
            "lone-surrogate.json": b'["\\ud800"]',
            "deep.json": b"[" * 100 + b"]" * 100,
        },
        "json": {"lines.txt": b"\n".join(body for body in NOT_JSON[::5] if b"\n" not in body)},
        "strings": {
            "list.json": json.dumps(TEXTS[::9]).encode(),
            "list.txt": _lines(TEXTS[::9]),
        },
        "names": {"list.txt": _lines(NAMES[::7])},
        "type-confusion": {
            "page.jpg": files.html(),
            "drawing.png": files.svg(),
            "program.pdf": files.executable(),
            "archive.docx": files.archive({"a.txt": b"a"}),
        },
        "polyglot": {
            "archive.jpg": files.image_with_archive_appended(),
            "paper.jpg": files.image_with_pdf_inside(),
            "archive.pdf": files.pdf() + files.archive({"a.txt": b"a"}),
        },
        "image-bad": {"cut.png": files.png()[:60], "flood.png": files.png_claiming(60_000, 60_000)},
        "image-valid": {
            "large.jpg": files.jpeg(1200, 800),
            "motorola.tif": files.tiff_big_endian(),
        },
        "pdf-valid": {"three-pages.pdf": files.pdf(pages=3)},
        "pdf-active": {"script.pdf": files.pdf_with_javascript()},
    }


def _lines(texts: list[str]) -> bytes:
    """Return the texts as lines; a text with line breaks becomes several lines."""
    return "\n".join(texts).encode(errors="replace")
