"""Archives appended to a picture or a PDF: programs that open archives search for their start."""

import re
from collections.abc import Iterator
from typing import BinaryIO

from docvault.inspection.result import read_at
from docvault.inspection.zip import ends_with_zip

_ZIP = b"PK\x03\x04"
# ZIP archives are found from their end, the others by their first bytes, which no picture has.
_SIGNATURES = {"RAR": b"Rar!\x1a\x07", "7z": b"7z\xbc\xaf\x27\x1c"}
_CHUNK_BYTES = 1 << 20
_OVERLAP_BYTES = 100
# No more follows the end of a PDF that is accepted.
_PDF_TAIL_BYTES = 64 * 1024
_PDF_END = b"startxref"
# An archive between the end of a PDF and the end of an update, which has no objects then.
_INSERTED = {
    kind: re.compile(rb"%%EOF\s{0,64}" + re.escape(signature))
    for kind, signature in {"ZIP": _ZIP, **_SIGNATURES}.items()
}


def find_appended_archive(file: BinaryIO, size_bytes: int, *, is_pdf: bool) -> str | None:
    """Return the kind of archive that is appended to a file, if any.

    A PDF may have archives attached; these are streams of objects, and before its end marker.
    """
    if ends_with_zip(file, size_bytes, _PDF_END if is_pdf else None):
        return "ZIP"
    start = _find_pdf_end(file, size_bytes) if is_pdf else 0
    for piece in _pieces(file, start):
        for kind, signature in _SIGNATURES.items():
            if signature in piece:
                return kind
    for piece in _pieces(file, 0) if is_pdf else ():
        for kind, inserted in _INSERTED.items():
            if inserted.search(piece):
                return kind
    return None


def _pieces(file: BinaryIO, position: int) -> Iterator[bytes]:
    """Yield a file in pieces, each with the end of the one before."""
    before = b""
    while chunk := read_at(file, position, _CHUNK_BYTES):
        position += len(chunk)
        yield before + chunk
        before = chunk[-_OVERLAP_BYTES:]


def _find_pdf_end(file: BinaryIO, size_bytes: int) -> int:
    start = max(0, size_bytes - _PDF_TAIL_BYTES)
    return start + max(0, read_at(file, start, _PDF_TAIL_BYTES).rfind(_PDF_END))
