"""PDF: a check of header and end, and detection of active content (D20, D24).

A library (qpdf) reads the objects. Names are searched for in its output and in the raw bytes, where
lenient readers find objects that are not in the cross-references. What cannot be inspected counts
as active, which only means that the file is never shown inline. That includes large files, to bound
the time for a file.
"""

import re
from dataclasses import replace
from io import BytesIO
from typing import BinaryIO

from docvault.inspection.appended import find_archive_between_ends
from docvault.inspection.pdf_names import BLANK, REGULAR, NameSearch, Uninspectable
from docvault.inspection.result import Content, CorruptContent, read_at

# More than the default size limit of a document; takes some tens of milliseconds.
MAX_SEARCHED_BYTES = 32 * 1024 * 1024

# Readers search for a header after at most 1 KiB, and for the end in the last 1 KiB.
HEADER = b"%PDF-"
_HEADER_REACH_BYTES = 1024 + len(HEADER)
_END_REACH_BYTES = 2048
# Archives and gateways append more; then readers search for the end, or for objects, everywhere.
_TAIL_BYTES = 64 * 1024
# Scanners pad with zeros to a block size, some to more than that.
_PADDING = b"\0\t\n\f\r "
# A filter of streams or strings that encrypts them.
_ENCRYPTED_CONTENT = re.compile(
    rb"/St[mr]F" + BLANK + rb"*+/(?!Identity(?!" + REGULAR + rb"))" + REGULAR
)
# Where the trailers of a very large file are: at the end and, if it is linearized, at the start.
_TRAILER_REACH_BYTES = 64 * 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def inspect_pdf(file: BinaryIO, size_bytes: int) -> Content:
    """Check the header and the end of a PDF, and search for active content.

    Raises:
        CorruptContent: the end is missing, an archive follows it, or with the bytes before the
            header it is no valid PDF.
    """
    head = read_at(file, 0, _HEADER_REACH_BYTES)
    start = max(0, head.find(HEADER))
    end, is_usual_end = _find_end(file, size_bytes)
    is_usual = is_usual_end and not head[:start].strip(_PADDING + _BYTE_ORDER_MARK)
    is_searched = size_bytes <= MAX_SEARCHED_BYTES
    data = read_at(file, start, end - start) if is_searched else b""
    if archive := find_archive_between_ends(data):
        raise CorruptContent(f"A {archive} archive is appended to the file.")
    if start > 0 and is_searched and not _can_be_opened(data):
        raise CorruptContent("The PDF header is not at the start of the file.")
    content = _inspect_objects(data) if is_searched else _describe_large(file, size_bytes)
    is_active = content.has_active_content or not is_usual
    pages = content.pages or (_count_pages(data) if is_searched else None)
    return replace(content, has_active_content=is_active, pages=pages)


def _find_end(file: BinaryIO, size_bytes: int) -> tuple[int, bool]:
    """Return where the padding starts, and whether the end marker is right before it, as usual."""
    end = size_bytes
    while end > 0:
        tail = read_at(file, max(0, end - _TAIL_BYTES), min(_TAIL_BYTES, end))
        padding = len(tail) - len(tail.rstrip(_PADDING))
        end -= padding
        if padding < len(tail):
            break
    tail = read_at(file, max(0, end - _TAIL_BYTES), min(_TAIL_BYTES, end))
    if b"%%EOF" in tail[-_END_REACH_BYTES:]:
        return end, True
    marker = max(map(tail.rfind, (b"%%EOF", b"startxref", b"trailer")))
    # An end marker of an earlier version or of the first page is not that of the file.
    if marker < 0 or b"endobj" in tail[marker:]:
        raise CorruptContent("The PDF has no end marker.")
    return end, False


def _inspect_objects(data: bytes) -> Content:
    # The library takes 0.1 s to import, and only child processes need it.
    from docvault.inspection import pdf_objects  # noqa: PLC0415

    search = NameSearch()
    try:
        pages = pdf_objects.inspect_objects(data, search.scan(data), search)
    except pdf_objects.PasswordNeeded:
        return _uninspected(
            search.has_attachments, needs_password=not _is_only_attachment_locked(data)
        )
    except Uninspectable:
        return _uninspected(search.has_attachments, needs_password=_is_locked(BytesIO(data), data))
    return Content("application/pdf", search.is_active, search.has_attachments, pages=pages)


def _describe_large(file: BinaryIO, size_bytes: int) -> Content:
    """Describe a file that is too large to be searched; only encryption is looked for."""
    head = read_at(file, 0, _TRAILER_REACH_BYTES)
    tail = read_at(file, max(0, size_bytes - _TRAILER_REACH_BYTES), _TRAILER_REACH_BYTES)
    return _uninspected(has_attachments=False, needs_password=_is_locked(file, head + tail))


def _uninspected(has_attachments: bool, *, needs_password: bool) -> Content:
    return Content("application/pdf", True, has_attachments or None, needs_password)


def _is_only_attachment_locked(data: bytes) -> bool:
    """Return whether only the attached files are encrypted (ISO 32000-1, 7.6.5)."""
    return b"/EFF" in data and not _ENCRYPTED_CONTENT.search(data)


def _is_locked(file: BinaryIO, trailers: bytes) -> bool:
    from docvault.inspection.pdf_objects import needs_password  # noqa: PLC0415 - see above

    return b"/Encrypt" in trailers and needs_password(file)


def _count_pages(data: bytes) -> int | None:
    from docvault.inspection.pdf_objects import count_pages  # noqa: PLC0415 - see _is_active

    return count_pages(data)


def _can_be_opened(data: bytes) -> bool:
    from docvault.inspection.pdf_objects import can_be_opened  # noqa: PLC0415 - see _inspect_objects

    return can_be_opened(data)
