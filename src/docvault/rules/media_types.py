"""Which media types are stored, and what the bytes of an upload are (SECURITY D20).

The bytes alone decide: a signature and a bounded check of the structure behind it. The declared
media type plays no part, and the file name only one: it must not promise another type.
"""

from typing import BinaryIO

from docvault.rules.content import (
    Content,
    CorruptContent,
    ExtensionMismatch,
    UnknownContent,
    read_at,
)
from docvault.rules.file_extensions import contradicts, extension_of
from docvault.rules.image_content import inspect_image
from docvault.rules.office_content import DOCX, ODP, ODS, ODT, PPTX, XLSX, inspect_office
from docvault.rules.pdf_content import inspect_pdf
from docvault.rules.signatures import name_binary
from docvault.rules.text_content import check_text
from docvault.rules.zip_directory import ends_with_zip

__all__ = [
    "DEFAULT_MEDIA_TYPES",
    "KNOWN_MEDIA_TYPES",
    "PREVIEWABLE_MEDIA_TYPES",
    "Content",
    "CorruptContent",
    "ExtensionMismatch",
    "UnknownContent",
    "inspect_content",
]

_HEAD_BYTES = 1024

DEFAULT_MEDIA_TYPES: tuple[str, ...] = (
    "image/jpeg",
    "image/png",
    "image/webp",
    "image/gif",
    "image/tiff",
    "image/heic",
    "image/heif",
    "application/pdf",
    DOCX,
    XLSX,
    ODT,
    ODS,
    "text/plain",
    "text/csv",
)
"""What a document type accepts unless it says otherwise."""

KNOWN_MEDIA_TYPES: frozenset[str] = frozenset({*DEFAULT_MEDIA_TYPES, PPTX, ODP})
"""All that `inspect_content` can return: what a document type may be set to accept."""

PREVIEWABLE_MEDIA_TYPES: frozenset[str] = frozenset(DEFAULT_MEDIA_TYPES[:8])
"""The raster images and PDF."""


def inspect_content(file: BinaryIO, size_bytes: int, filename: str | None) -> Content:
    """Decide what an upload is, reading it in bounded pieces.

    Args:
        file: seekable; its position is not kept.
        size_bytes: the length of the whole file, at least 1.
        filename: the name given by the client, if any.

    Raises:
        UnknownContent: of no type in `KNOWN_MEDIA_TYPES`.
        CorruptContent: of a known type by its signature, but broken or hostile.
        ExtensionMismatch: of a known type, under the extension of another or a dangerous one.
        ValueError: an empty file, which the caller refuses in its own words.
    """
    if size_bytes <= 0:
        raise ValueError("The file is empty.")
    extension = extension_of(filename or "")
    content = _inspect_bytes(file, size_bytes, extension)
    if contradicts(extension, content.media_type):
        raise ExtensionMismatch(content.media_type, extension)
    return content


def _inspect_bytes(file: BinaryIO, size_bytes: int, extension: str) -> Content:
    head = read_at(file, 0, _HEAD_BYTES)
    if head.startswith(b"PK\3\4"):
        return inspect_office(file, size_bytes)
    content = _inspect_signed(head, file, size_bytes)
    if content is None:
        return _inspect_text(head, file, extension)
    if ends_with_zip(file, size_bytes):
        raise CorruptContent("A ZIP archive is appended to the file.")
    return content


def _inspect_signed(head: bytes, file: BinaryIO, size_bytes: int) -> Content | None:
    if head.startswith(b"%PDF-"):
        return inspect_pdf(file, size_bytes)
    media_type = inspect_image(head, file, size_bytes)
    return Content(media_type, has_active_content=False) if media_type else None


def _inspect_text(head: bytes, file: BinaryIO, extension: str) -> Content:
    try:
        check_text(file)
    except UnknownContent as refusal:
        raise UnknownContent(refusal.detected or name_binary(head)) from None
    return Content("text/csv" if extension == "csv" else "text/plain", has_active_content=False)
