"""Plain text and CSV: valid UTF-8 that does not start like a document of another kind (D20)."""

import codecs
import re
from typing import BinaryIO

from docvault.rules.content import CorruptContent, UnknownContent, read_at

_CHUNK_BYTES = 256 * 1024
_BEGINNING_BYTES = 1024
# So far readers look for the header of a PDF.
_PDF_REACH_BYTES = 1024 + len(b"%pdf-")
# What may precede the first character: whitespace and the bytes of a byte order mark.
_BLANK = b" \t\r\n\f\v\xef\xbb\xbf"
# C0 and DEL without TAB, LF, FF and CR.
_CONTROLS = bytes(set(range(0x20)) - set(b"\t\n\f\r")) + b"\x7f"

# A tag, a declaration, a comment, a processing instruction or a template tag.
_MARKUP = re.compile(rb"<(?:[a-z][a-z0-9:_-]*[\s/>]|[!?%/])")
_MAIL_HEADER = re.compile(rb"^mime-version: ?1", re.MULTILINE)
_SIGNATURES = (
    (b"#!", "text/x-shellscript"),
    (b"{\\rt", "application/rtf"),
    (b"%!ps", "application/postscript"),
    (b"<?php", "application/x-httpd-php"),
    (b"<?=", "application/x-httpd-php"),
    (b"@echo ", "application/x-bat"),
    (b"[internetshortcut]", "application/x-mswinurl"),
    (b"windows registry editor", "text/x-ms-regedit"),
    (b"push graphic-context", "image/x-mvg"),
)


def check_text(file: BinaryIO) -> None:
    """Refuse everything that is not plain UTF-8 text from the first to the last byte.

    A byte order mark is allowed, and of the control characters TAB, LF, FF and CR.

    Raises:
        UnknownContent: not text, or text of a kind some program would run or render.
        CorruptContent: a PDF with something before its header.
    """
    beginning = _beginning(file).lower()
    if beginning.startswith(b"%pdf-"):
        raise CorruptContent("The PDF header is not at the start of the file.")
    detected = _refused_kind(beginning)
    if detected is not None or not _is_plain_utf8(file):
        raise UnknownContent(detected)
    if b"%pdf-" in read_at(file, 0, _PDF_REACH_BYTES).lower():
        raise CorruptContent("A PDF begins inside the text.")


def _beginning(file: BinaryIO) -> bytes:
    """The first bytes after any blank ones, however many those are."""
    position = 0
    while chunk := read_at(file, position, _CHUNK_BYTES):
        text = chunk.lstrip(_BLANK)
        position += len(chunk) - len(text)
        if text:
            return read_at(file, position, _BEGINNING_BYTES)
    return b""


def _refused_kind(beginning: bytes) -> str | None:
    for signature, media_type in _SIGNATURES:
        if beginning.startswith(signature):
            return media_type
    if _MARKUP.match(beginning):
        return _markup_type(beginning)
    return "message/rfc822" if _MAIL_HEADER.search(beginning) else None


def _markup_type(beginning: bytes) -> str:
    if b"<svg" in beginning or b"<!doctype svg" in beginning:
        return "image/svg+xml"
    is_other_xml = beginning.startswith(b"<?xml") and b"<html" not in beginning
    return "application/xml" if is_other_xml else "text/html"


def _is_plain_utf8(file: BinaryIO) -> bool:
    decode = codecs.getincrementaldecoder("utf-8")().decode
    file.seek(0)
    try:
        while chunk := file.read(_CHUNK_BYTES):
            if len(chunk.translate(None, _CONTROLS)) < len(chunk):
                return False
            decode(chunk)
        decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True
