"""Archives appended to a picture or a PDF: programs that open archives search for their start."""

import re
from typing import BinaryIO

from docvault.inspection.result import read_at
from docvault.inspection.zip import ends_with_zip

# ZIP archives are found from their end, the others by their first bytes, which no picture has.
_SIGNATURES = {"RAR": b"Rar!\x1a\x07", "7z": b"7z\xbc\xaf\x27\x1c"}
_CHUNK_BYTES = 1 << 20
_OVERLAP_BYTES = max(map(len, _SIGNATURES.values())) - 1
# No more follows the end of a PDF that is accepted.
_PDF_TAIL_BYTES = 64 * 1024
_PDF_END = b"startxref"
# The end of a PDF may be that of an update, but an update has objects.
_BETWEEN_ENDS = {
    kind: re.compile(rb"%%EOF\s{0,64}" + re.escape(signature))
    for kind, signature in {"ZIP": b"PK\x03\x04", **_SIGNATURES}.items()
}


def find_appended_archive(file: BinaryIO, size_bytes: int, *, is_pdf: bool) -> str | None:
    """Return the kind of archive that is appended to a file, if any.

    A PDF may have archives attached; as streams, these are before its end marker.
    """
    if ends_with_zip(file, size_bytes, _PDF_END if is_pdf else None):
        return "ZIP"
    position = _find_pdf_end(file, size_bytes) if is_pdf else 0
    before = b""
    while chunk := read_at(file, position, _CHUNK_BYTES):
        position += len(chunk)
        for kind, signature in _SIGNATURES.items():
            if signature in before + chunk:
                return kind
        before = chunk[-_OVERLAP_BYTES:]
    return None


def find_archive_between_ends(data: bytes) -> str | None:
    """Return the kind of archive that follows an end marker of a PDF, before the last one."""
    found = (kind for kind, pattern in _BETWEEN_ENDS.items() if pattern.search(data))
    return next(found, None)


def _find_pdf_end(file: BinaryIO, size_bytes: int) -> int:
    start = max(0, size_bytes - _PDF_TAIL_BYTES)
    return start + max(0, read_at(file, start, _PDF_TAIL_BYTES).rfind(_PDF_END))
