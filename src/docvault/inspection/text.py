"""Text, and the types that are text: RTF, email, XML (D20).

Plain text is what begins like no file of another type. It is stored as it was sent: in UTF-8, in
UTF-16 with a byte order mark, or in an encoding of 8 bits, such as Windows-1252, in which Excel
saves CSV.
"""

import codecs
import re
from dataclasses import dataclass
from typing import BinaryIO

from docvault.domain.media_types import EML, RTF, XML
from docvault.inspection.rejected_formats import detect_rejected_format
from docvault.inspection.result import Content, CorruptContent, UnknownContent, read_at, uninspected
from docvault.inspection.xml import inspect_xml

_CHUNK_BYTES = 256 * 1024
_BEGINNING_BYTES = 1024
# Readers search for the header of a PDF up to here.
_PDF_REACH_BYTES = 1024 + len(b"%pdf-")
_UTF_16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
# What may precede the first character: whitespace and the bytes of a byte order mark.
_BLANK = b" \t\r\n\f\v\xef\xbb\xbf"
# C0 and DEL without TAB, LF, FF and CR.
_CONTROLS = bytes(set(range(0x20)) - set(b"\t\n\f\r")) + b"\x7f"
_CONTROL = re.compile(rb"[" + re.escape(_CONTROLS) + rb"]")
# DOS and CP/M mark the end of a text with Ctrl-Z.
_END_OF_TEXT = b"\x1a\r\n"
# Files of unknown types have more control characters than a text that a program has garbled.
_MAX_CONTROLS_PER_KIB = 16

# A tag, a declaration, a comment, a processing instruction or a template tag.
_MARKUP = re.compile(rb"<(?:[a-z][a-z0-9:_.-]*[\s/>]|[!?%/])")
# A declaration, or an element that may have a namespace.
_MAYBE_XML = re.compile(rb"<(?:\?xml[\s]|[a-z_]|!--|!doctype\s)")
_MAIL_HEADER = re.compile(rb"^mime-version: ?1", re.MULTILINE)
# What servers put before all other fields; a note may begin with "Received:", too.
_TRACE_FIELD = re.compile(
    rb"(?:received: (?:from|by) |return-path: ?<|message-id: ?<"
    rb"|(?:delivered|x-original)-to: ?\S{1,80}@)"
)
# With which a saved message may begin.
_MAIL_FIELD = re.compile(rb"(?:from [^\r\n]{1,200}\r?\n)?[a-z][a-z0-9-]{1,60}: ?[^\r\n]")
_SIGNATURES = (
    (b"#!", "text/x-shellscript"),
    (b"{\\rt", RTF),
    (b"%!ps", "application/postscript"),
    (b"<?php", "application/x-httpd-php"),
    (b"<?=", "application/x-httpd-php"),
    (b"@echo ", "application/x-bat"),
    (b"[internetshortcut]", "application/x-mswinurl"),
    (b"windows registry editor", "text/x-ms-regedit"),
    (b"push graphic-context", "image/x-mvg"),
)


@dataclass(frozen=True, slots=True)
class _Text:
    """A file that may be text."""

    file: BinaryIO
    encoding: str | None
    """UTF-16, if it has its byte order mark; else one in which a byte below 0x80 is ASCII."""
    start: int
    """Where it begins after blanks."""
    beginning: bytes
    """Its first characters in lower case, in UTF-8 or as they are."""


def inspect_text(head: bytes, file: BinaryIO, extension: str) -> Content:
    """Detect which kind of text a file is.

    Raises:
        UnknownContent: not text, or text that programs would run or render.
        CorruptContent: a PDF with something before its header, or XML that is broken or hostile.
    """
    text = _open(file)
    if text.beginning.startswith(b"%pdf-"):
        raise CorruptContent("The PDF header is not at the start of the file.")
    detected = _detect_type(text.beginning)
    if extension == "eml" and detected is None and _MAIL_FIELD.match(text.beginning):
        detected = EML
    if detected in {RTF, EML}:
        return _inspect_marked(text, detected)
    if detected in {XML, "text/html"} and _MAYBE_XML.match(text.beginning):
        is_utf_16 = text.encoding is not None
        start = 0 if is_utf_16 else text.start
        return inspect_xml(
            file,
            start,
            text.beginning,
            is_utf_16=is_utf_16,
            is_named_xml=extension == "xml",
        )
    if detected is not None:
        raise UnknownContent(detected)
    _check_characters(head, text)
    if b"%pdf-" in read_at(file, 0, _PDF_REACH_BYTES).lower():
        raise CorruptContent("A PDF begins inside the text.")
    return Content("text/csv" if extension == "csv" else "text/plain", has_active_content=False)


def is_rejected_type(head: bytes) -> bool:
    """Return whether a file begins like text that programs would run or render."""
    return _detect_type(head.lstrip(_BLANK).lower()) is not None


def _open(file: BinaryIO) -> _Text:
    """Skip any number of blanks."""
    encoding = _UTF_16.get(read_at(file, 0, 2))
    position = 2 if encoding else 0
    while chunk := read_at(file, position, _CHUNK_BYTES):
        blanks = _count_blanks(chunk, encoding)
        position += blanks
        if blanks < len(chunk):
            break
    beginning = read_at(file, position, _BEGINNING_BYTES)
    if encoding:
        beginning = beginning.decode(encoding, "ignore").encode("utf-8", "ignore")
    return _Text(file, encoding, position, beginning.lower())


def _count_blanks(chunk: bytes, encoding: str | None) -> int:
    if encoding is None:
        return len(chunk) - len(chunk.lstrip(_BLANK))
    text = chunk.decode(encoding, "replace")
    # Two bytes each, as all blanks have one unit; a cut unit at the end ends the file.
    return 2 * (len(text) - len(text.lstrip(" \t\r\n\f\v\ufeff")))


def _detect_type(beginning: bytes) -> str | None:
    for signature, media_type in _SIGNATURES:
        if beginning.startswith(signature):
            return media_type
    if _MARKUP.match(beginning):
        return _detect_markup(beginning)
    is_mail = _MAIL_HEADER.search(beginning) or _TRACE_FIELD.match(beginning)
    return EML if is_mail else None


def _detect_markup(beginning: bytes) -> str:
    if b"<svg" in beginning or b"<!doctype svg" in beginning:
        return "image/svg+xml"
    is_other_xml = beginning.startswith(b"<?xml") and b"<html" not in beginning
    return XML if is_other_xml else "text/html"


def _inspect_marked(text: _Text, media_type: str) -> Content:
    """Return RTF or email. Neither is searched, so both count as active.

    Mail may be in any encoding, with the control characters of those of Japan.
    """
    if b"%pdf-" in read_at(text.file, 0, _PDF_REACH_BYTES).lower():
        raise CorruptContent("A PDF begins inside the text.")
    return uninspected(media_type)


def _check_characters(head: bytes, text: _Text) -> None:
    """Raise `UnknownContent` for a control character, or for invalid UTF-16."""
    decode = codecs.getincrementaldecoder(text.encoding)().decode if text.encoding else None
    end = _find_end(text)
    position = 2 if decode else 0
    while chunk := read_at(text.file, position, min(_CHUNK_BYTES, end - position)):
        position += len(chunk)
        if decode:
            try:
                chunk = decode(chunk, final=position >= end).encode()
            except UnicodeDecodeError:
                raise UnknownContent(None, "The text is not valid UTF-16.") from None
        kept = len(chunk.translate(None, _CONTROLS))
        if kept < len(chunk):
            raise UnknownContent(
                detect_rejected_format(head), _describe_control(chunk, len(chunk) - kept)
            )


def _describe_control(chunk: bytes, number: int) -> str | None:
    """Return what is wrong with a text; None for bytes that do not look like one."""
    match = _CONTROL.search(chunk)
    if match is None or number * 1024 > _MAX_CONTROLS_PER_KIB * max(len(chunk), 1024):
        return None
    return f"The text contains a control character, 0x{match[0][0]:02X}. Remove it."


def _find_end(text: _Text) -> int:
    """Return where the text ends, without a Ctrl-Z at the end of the file."""
    size = text.file.seek(0, 2)
    unit = 2 if text.encoding else 1
    last = read_at(text.file, max(0, size - _BEGINNING_BYTES), _BEGINNING_BYTES)
    plain = last if text.encoding is None else last.decode(text.encoding, "replace").encode("utf-8")
    end = plain.rstrip(_END_OF_TEXT)
    return size - unit * (len(plain) - len(end)) if b"\x1a" in plain[len(end) :] else size
