"""Signed and encrypted files: the outermost fields of CMS (RFC 5652) in DER, BER or PEM."""

import base64
import binascii
import re
from typing import NamedTuple

from docvault.domain.media_types import P7M, P7S
from docvault.inspection.result import Content, uninspected

_OID = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07"
_SIGNED = _OID + b"\x02"
_ENVELOPED = _OID + b"\x03"
_AUTHENTICATED = b"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17"
_PEM = re.compile(rb"-----BEGIN (?:PKCS7|PKCS #7 SIGNED DATA|CMS)-----\r?\n")
_EXTENSIONS = frozenset({"p7m", "p7s", "p7c"})
_BASE64_LINES = re.compile(rb"[A-Za-z0-9+/=\r\n]++")
_SEQUENCE, _SET, _INTEGER, _OBJECT, _EXPLICIT = 0x30, 0x31, 0x02, 0x06, 0xA0


class _Field(NamedTuple):
    tag: int
    start: int
    end: int | None
    """None if the length is not given, and an end marker follows (BER)."""


def inspect_cms(head: bytes, extension: str) -> Content | None:
    """Return what a CMS file is, by its beginning, or None if it is not CMS.

    A signature over a separate file has no content; anything that has content counts as active.
    Mail programs save base64 without the lines of PEM, which only the extension tells from text.
    """
    match = _PEM.match(head)
    is_base64 = match is not None or extension in _EXTENSIONS
    fields = _decode_base64(head, match.end() if match else 0) if is_base64 else head
    outer = _read(fields, 0)
    if outer is None or outer.tag != _SEQUENCE:
        return None
    if fields.startswith((_ENVELOPED, _AUTHENTICATED), outer.start):
        return uninspected(P7M)
    if not fields.startswith(_SIGNED, outer.start):
        return None
    if _is_detached(fields, outer.start + len(_SIGNED)):
        return Content(P7S, has_active_content=False)
    return uninspected(P7M)


def _decode_base64(head: bytes, start: int) -> bytes:
    """Return the decoded lines, or the bytes themselves if they are not base64."""
    lines = _BASE64_LINES.match(head, start)
    if lines is None or (start == 0 and lines.end() < len(head)):
        return head
    packed = b"".join(lines[0].split())
    try:
        return base64.b64decode(packed[: len(packed) // 4 * 4])
    except binascii.Error:
        return b""


def _is_detached(fields: bytes, position: int) -> bool:
    """Return whether the signed content is elsewhere (section 5.1)."""
    for tag in (_EXPLICIT, _SEQUENCE):
        opened = _read(fields, position)
        if opened is None or opened.tag != tag:
            return False
        position = opened.start
    for tag in (_INTEGER, _SET):
        skipped = _read(fields, position)
        if skipped is None or skipped.tag != tag or skipped.end is None:
            return False
        position = skipped.end
    content = _read(fields, position)
    kind = _read(fields, content.start) if content and content.tag == _SEQUENCE else None
    if content is None or kind is None or kind.tag != _OBJECT or kind.end is None:
        return False
    follows = _read(fields, kind.end)
    if content.end is not None:
        return content.end == kind.end
    return follows is not None and follows.tag != _EXPLICIT


def _read(fields: bytes, position: int) -> _Field | None:
    """Return the field at a position (X.690, 8.1)."""
    header = fields[position : position + 2]
    if len(header) < 2:  # noqa: PLR2004 - a tag and a length
        return None
    tag, length = header
    start = position + 2
    if length == 0x80:  # noqa: PLR2004 - X.690, 8.1.3.6
        return _Field(tag, start, None)
    if length > 0x80:  # noqa: PLR2004 - X.690, 8.1.3.5
        size = length & 0x7F
        length = int.from_bytes(fields[start : start + size], "big")
        start += size
    return _Field(tag, start, start + length)
