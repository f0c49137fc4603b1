"""Detection of a file's media type from its content (D20).

A signature and a bounded check of the structure decide. The declared media type is ignored, and
the file name is only used to reject an extension of another type.
"""

from typing import BinaryIO

from docvault.domain.file_extensions import contradicts, extension_of
from docvault.domain.media_types import DOC, ENCRYPTED_OOXML, MSG, P7M, PPT, XLS
from docvault.inspection import tiff
from docvault.inspection.appended import find_appended_archive
from docvault.inspection.cms import inspect_cms
from docvault.inspection.images import inspect_image
from docvault.inspection.office import inspect_office
from docvault.inspection.ole import SIGNATURE as OLE_SIGNATURE
from docvault.inspection.ole import inspect_ole
from docvault.inspection.pdf import HEADER as PDF_HEADER
from docvault.inspection.pdf import inspect_pdf
from docvault.inspection.rejected_formats import detect_rejected_format
from docvault.inspection.result import (
    Content,
    CorruptContent,
    ExtensionMismatch,
    read_at,
)
from docvault.inspection.text import inspect_text, is_rejected_type

# A PDF's header may start after 1 KiB of something else.
_HEAD_BYTES = 1024 + len(PDF_HEADER)
# They hold other files, archives included, neither compressed nor encoded.
_HOLDS_FILES = frozenset({DOC, XLS, PPT, MSG, ENCRYPTED_OOXML, P7M})


def inspect(file: BinaryIO, size_bytes: int, filename: str | None) -> Content:
    """Detect the media type of a file, reading it in bounded pieces.

    Args:
        file: a seekable file; its position is not restored.
        size_bytes: the length of the whole file, at least 1.
        filename: the name given by the client, if any.

    Raises:
        UnknownContent: the type is not in `KNOWN_MEDIA_TYPES`.
        CorruptContent: the signature is of a known type, but the structure is broken or hostile.
        ExtensionMismatch: the extension is dangerous, or that of another type on active content.
        ValueError: the file is empty; callers reject that themselves.
    """
    if size_bytes <= 0:
        raise ValueError("The file is empty.")
    extension = extension_of(filename or "")
    content = _inspect_bytes(file, size_bytes, extension)
    if contradicts(extension, content.media_type, is_active=content.has_active_content):
        raise ExtensionMismatch(content.media_type, extension)
    return content


def _inspect_bytes(file: BinaryIO, size_bytes: int, extension: str) -> Content:
    head = read_at(file, 0, _HEAD_BYTES)
    if head.startswith(b"PK\3\4"):
        return inspect_office(file, size_bytes, extension)
    content = _inspect_signed(head, file, size_bytes, extension) or inspect_text(
        head, file, extension
    )
    if content.media_type in _HOLDS_FILES:
        return content
    is_pdf = content.media_type == "application/pdf"
    if archive := find_appended_archive(file, size_bytes, is_pdf=is_pdf):
        raise CorruptContent(f"A {archive} archive is appended to the file.")
    return content


def _inspect_signed(head: bytes, file: BinaryIO, size_bytes: int, extension: str) -> Content | None:
    if head.startswith(PDF_HEADER):
        return inspect_pdf(file, size_bytes)
    if media_type := inspect_image(head, file, size_bytes):
        pages = tiff.count_pages(file) if media_type == "image/tiff" else 1
        return Content(media_type, has_active_content=False, pages=pages)
    if head.startswith(OLE_SIGNATURE):
        return inspect_ole(file, size_bytes)
    if content := inspect_cms(head, extension):
        return content
    # Printing systems put commands before the header, web servers blank lines; readers skip both.
    if PDF_HEADER in head and not detect_rejected_format(head) and not is_rejected_type(head):
        return inspect_pdf(file, size_bytes)
    return None
