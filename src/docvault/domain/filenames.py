"""File names: sanitized on upload, quoted on download (D23, F10)."""

import re
import unicodedata
from typing import Literal
from urllib.parse import quote

_MAX_BYTES = 255
# Enough for 255 bytes once composed; sorting longer runs of accents would take quadratic time.
_MAX_RAW_BYTES = 4 * _MAX_BYTES
# An extension this long (bytes, with the dot) survives the cut to the maximum.
_MAX_EXTENSION_BYTES = 16

# Controls (C0, C1), format characters (bidi, zero-width), lone surrogates, line and paragraph
# separators.
_STRIPPED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Windows drops spaces and dots at the end.
_DROPPED_AT_END = "." + "".join(c for c in map(chr, range(0x3001)) if c.isspace())
# Names Windows reserves with any extension.
_DEVICE = re.compile(
    r"(?:con|prn|aux|nul|clock\$|conin\$|conout\$|(?:com|lpt)[0-9¹²³])\s*(?:\.|$)", re.IGNORECASE
)

# RFC 8187, attr-char, without the letters and digits that `quote` always keeps.
_ATTR_CHARS = "!#$&+-.^_`|~"
# "%" too, as some programs decode %xx in the plain parameter (RFC 6266, appendix D).
_NOT_FALLBACK = re.compile(r"[^\x20-\x24\x26-\x7e]")


def sanitize_filename(raw: bytes | str) -> str:
    """Return the name to store and show for an uploaded file.

    At most 255 bytes of UTF-8 in NFC, without path, control or invisible characters. The
    function is idempotent, and the name is never used as a path.

    Args:
        raw: as the client sent it; bytes that are not UTF-8 are read as Windows-1252.

    Raises:
        ValueError: nothing of the name remains.
    """
    text = raw if isinstance(raw, str) else decode_filename(raw)
    visible = "".join(c for c in text if unicodedata.category(c) not in _STRIPPED_CATEGORIES)
    # On Windows a colon separates the file from the name of an alternate data stream.
    last = re.split(r"[/\\]", visible)[-1].replace(":", "_")
    base = unicodedata.normalize("NFC", _cut(last, _MAX_RAW_BYTES))
    # The cut may leave a space at the end, or the name of a device.
    name = _defuse_device(_trim(_cut(_defuse_device(_trim(base)), _MAX_BYTES)))
    if not name:
        raise ValueError("The file name is empty.")
    return name


def decode_filename(raw: bytes) -> str:
    """Decode the bytes of a name: UTF-8, else Windows-1252, else Latin-1."""
    for encoding in ("utf-8", "cp1252"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode("latin-1")


def append_extension(name: str, extension: str) -> str:
    """Append an extension to a sanitized name, within 255 bytes."""
    suffix = f".{extension}"
    stem = name.encode()[: _MAX_BYTES - len(suffix)].decode(errors="ignore")
    # The cut may leave the name of a device.
    return _defuse_device(_trim(stem) + suffix)


def content_disposition(disposition: Literal["attachment", "inline"], filename: str) -> str:
    """Return the value of Content-Disposition: ASCII without control characters for any name.

    It has both forms of RFC 6266, section 4.3: a quoted ASCII fallback, and `filename*` (RFC 8187).
    """
    fallback = re.sub(r'(["\\])', r"\\\1", _NOT_FALLBACK.sub("_", filename))
    encoded = quote(filename.encode("utf-8", "replace"), safe=_ATTR_CHARS)
    return f"{disposition}; filename=\"{fallback}\"; filename*=UTF-8''{encoded}"


def _trim(name: str) -> str:
    return name.lstrip().rstrip(_DROPPED_AT_END)


def _defuse_device(name: str) -> str:
    return "_" + name if _DEVICE.match(name) else name


def _cut(name: str, max_bytes: int) -> str:
    """Cut a name to whole characters within `max_bytes`, keeping a short extension."""
    if len(name.encode()) <= max_bytes:
        return name
    stem, dot, extension = name.rpartition(".")
    suffix = (dot + extension).encode()
    if len(suffix) > _MAX_EXTENSION_BYTES:
        stem, suffix = name, b""
    kept = stem.encode()[: max_bytes - len(suffix)]
    return kept.decode(errors="ignore") + suffix.decode()
