"""Content-Disposition of a part: its name, and the file name that its sender meant.

RFC 7578 asks for UTF-8 in a quoted string. Senders also use what mail or URLs have: RFC 8187
(`filename*`), its continuations (RFC 2231), encoded words (RFC 2047), percent-encoding of the whole
name, Windows-1252, character references. The result is as untrusted as the header (F7).
"""

import re
import sys
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header
from urllib.parse import unquote_to_bytes

from python_multipart.multipart import parse_options_header

from docvault.domain.filenames import decode_filename

FORM_DATA = b"form-data"
# A name of 255 bytes fits in any of the encodings. Finding encoded words takes quadratic time.
_MAX_ENCODED_BYTES = 2048

# A parameter; a quoted string that is never closed takes the rest, so that matching is linear.
_PARAMETER = re.compile(rb';[ \t]*([^=;"\s]+)[ \t]*=[ \t]*("(?:\\.|[^"\\])*+"?|[^;]*)', re.DOTALL)
_CONTINUATION = re.compile(rb"filename\*(\d{1,3})(\*?)")
_ENCODED_WORD = re.compile(rb"=\?[\w*-]+\?[bq]\?[^?]*\?=", re.IGNORECASE)
_PERCENT_ENCODED = re.compile(rb"(?:[!#$&-~]|%[0-9A-Fa-f]{2})+")
_NOT_IN_A_NAME = re.compile(r"[\x00-\x1f\x7f/\\]")
# What browsers escape in a quoted string; nothing else (HTML, section 4.10.21.8).
_ESCAPED = re.compile(r"%(22|0D|0A)")
# What browsers send for letters that the encoding of an old page lacks.
_REFERENCE = re.compile(r"&#(\d{3,7});")
_LATIN_1_END = 0xFF
# Python has further encodings, some of which take quadratic time.
_CHARSET = re.compile(
    r"utf-?8|iso-8859-\d{1,2}|(?:windows-|cp)125\d|koi8-[ru]|gb2312|gbk|gb18030|big5|shift_jis"
    r"|iso-2022-jp|euc-(?:jp|kr)"
)


@dataclass(frozen=True, slots=True)
class Disposition:
    """The name of a form field, and of its file if it has one."""

    name: str
    filename: str | None


def parse_disposition(header: bytes | None) -> Disposition | None:
    """Return the names in a Content-Disposition; None unless it is that of a form field."""
    kind, options = parse_options_header(header)
    name = options.get(b"name")
    if header is None or kind != FORM_DATA or name is None:
        return None
    filename = _extended_filename(header)
    if not filename and b"filename" in options:
        filename = decode_sent_filename(options[b"filename"])
    return Disposition(decode_filename(name), filename)


def decode_sent_filename(raw: bytes) -> str:
    """Return the meaning of a plain `filename` parameter."""
    text = _decode_words(raw) or _decode_percent(raw)
    if text:
        return text
    plain = _REFERENCE.sub(_decode_reference, decode_filename(raw))
    return _ESCAPED.sub(lambda match: '"' if match[1] == "22" else "", plain)


def _decode_reference(match: re.Match[str]) -> str:
    number = int(match[1])
    return chr(number) if _LATIN_1_END < number <= sys.maxunicode else match[0]


def _extended_filename(header: bytes) -> str | None:
    """Return `filename*`, or `filename*0`, `filename*1` and so on, None if there is neither."""
    pieces: dict[int, tuple[bytes, bool]] = {}
    for match in _PARAMETER.finditer(header):
        key, value = match[1].lower(), _unquote(match[2])
        if key == b"filename*":
            return _decode_extended(value)
        if continuation := _CONTINUATION.fullmatch(key):
            pieces[int(continuation[1])] = (value, continuation[2] == b"*")
    if 0 not in pieces:
        return None
    # The first piece has the encoding of all.
    encoded = [
        value if is_encoded else value.replace(b"%", b"%25")
        for _, (value, is_encoded) in sorted(pieces.items())
    ]
    joined = b"".join(encoded)
    return _decode_extended(joined if pieces[0][1] else b"''" + joined)


def _unquote(value: bytes) -> bytes:
    value = value.strip(b" \t")
    return (
        re.sub(rb'\\(["\\])', rb"\1", value[1:].removesuffix(b'"')) if value[:1] == b'"' else value
    )


def _decode_extended(value: bytes) -> str:
    """Decode `utf-8'de'K%C3%BCndigung.pdf` (RFC 8187)."""
    charset, quote, rest = value.partition(b"'")
    if not quote:
        charset, rest = b"", b"'" + value
    return _decode(unquote_to_bytes(rest.partition(b"'")[2]), charset.decode("latin-1"))


def _decode_words(raw: bytes) -> str | None:
    """Decode a name with encoded words, such as `=?utf-8?B?w6QucGRm?=`, None for other names."""
    if len(raw) > _MAX_ENCODED_BYTES or not _ENCODED_WORD.search(raw):
        return None
    try:
        words = decode_header(raw.decode("latin-1"))
    except HeaderParseError:
        return None
    return "".join(
        word if isinstance(word, str) else _decode(word, (charset or "").partition("*")[0])
        for word, charset in words
    )


def _decode_percent(raw: bytes) -> str | None:
    """Decode a name that is percent-encoded UTF-8 as a whole, None for other names."""
    if b"%" not in raw or not _PERCENT_ENCODED.fullmatch(raw):
        return None
    try:
        text = unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        return None
    # An encoder gets the name of a file, which has none of these.
    return None if _NOT_IN_A_NAME.search(text) else text


def _decode(raw: bytes, charset: str) -> str:
    """Decode a name; without a known and correct encoding as if none was given."""
    charset = charset.lower()
    # Senders who say Latin-1 mean Windows-1252, which has quotes, dashes and the euro too.
    if charset != "iso-8859-1" and _CHARSET.fullmatch(charset):
        try:
            return raw.decode(charset)
        except (LookupError, UnicodeDecodeError):
            pass
    return decode_filename(raw)
