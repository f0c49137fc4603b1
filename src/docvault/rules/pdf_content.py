"""PDF: header and end, and whether anything in it acts by itself (SECURITY D20, D24).

Names are searched for in the raw bytes and in object streams, the one place where objects are
compressed; encryption leaves names readable everywhere else. What cannot be looked into counts
as active, which only means that the file is never shown inline; that includes what is large, so
that the time for a file has a bound. Readers put up with a lot, each with something else: what a
stream's dictionary says is believed only in the form that programs write.
"""

import re
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import BinaryIO

from docvault.rules.content import Content, CorruptContent, read_at
from docvault.rules.pdf_objects import (
    LOOKAHEAD_BYTES,
    REGULAR,
    NotHarmless,
    ObjectStreams,
    Window,
    find_raw_object,
    is_object,
    raw_windows,
)

# More than the default limit of a document, and some tens of milliseconds.
MAX_SEARCHED_BYTES = 32 * 1024 * 1024

# Readers look for the end in the last 1 KiB; scanners pad with zeros to a block size.
_END_REACH_BYTES = 2048
_MAX_PADDING_BYTES = 64 * 1024
_PADDING = b"\0\t\n\f\r "

# Long documents have some thousands of the names looked at; more are not worth the time.
_MAX_NAMES = 50_000
_MAX_OPEN_ACTIONS = 4
_MAX_DEFINITIONS = 100

# Fragments of the patterns below; the repeats are bounded so that no input is slow.
_BLANK = rb"[\x00\t\n\f\r ]{0,9}"
_REFERENCE = rb"(?:\d{1,10}[\x00\t\n\f\r ]{1,9}\d{1,5}[\x00\t\n\f\r ]{1,9}R)"
_BLANKS_AND_COMMENTS = rb"(?:[\x00\t\n\f\r ]|%[^\r\n]*+)*+"

# /JS alone is not looked for: it does nothing without /JavaScript or /Rendition, and is too
# short not to turn up in a scanned page's bytes. The first lookahead is for speed alone.
_NAMES = re.compile(
    rb"/(?=[3AEFGIJLMOPRSX])(?:"
    rb"(?P<active>JavaScript|Launch|RichMedia|EmbeddedFiles?|FileAttachment"
    rb"|SubmitForm|ImportData|GoTo[RE]"
    rb"|Movie|Sound|Rendition|XFA|3DD)(?!" + REGULAR + rb")"
    # The type of an action, where readers also take a string or a reference for the name.
    rb"|(?P<untyped>S)"
    + _BLANKS_AND_COMMENTS
    + rb"(?:\([A-Za-z\\]{3}|<(?!<)[0-9A-Fa-f\x00\t\n\f\r ]{4}|"
    + _REFERENCE
    + rb")"
    rb"|(?P<trigger>AA|EF|OpenAction)(?!" + REGULAR + rb")"
    rb"|(?P<matrix>FontMatrix)(?!" + REGULAR + rb")"
    rb"|(?P<hiding>Encrypt|Predictor)(?!" + REGULAR + rb")"
    # Some readers do not insist on /ObjStm, but all need /First, which outlines have too.
    rb"|(?P<stream>ObjStm|First)(?!" + REGULAR + rb"))"
)
# A dictionary or a reference. Of random bytes, three of which may be /AA (actions) or /EF (a file
# in the file), few go on like this.
_DICTIONARY_AHEAD = re.compile(_BLANKS_AND_COMMENTS + rb"(?:[<\d.+-]|\Z)")
# With these bytes stay where they are, but for one more at the start of each row.
_PNG_PREDICTOR = re.compile(_BLANK + rb"1[0-5]?" + _BLANK + rb"[/>]")
_TO_REFERENCE = re.compile(_BLANK + _REFERENCE)
# A viewer in browsers ran what else stood there as a script (CVE-2024-4367).
_MATRIX = re.compile(_BLANK + rb"\[(?:" + _BLANK + rb"[-+.\d]{1,24}){1,6}" + _BLANK + rb"\]")
_ESCAPE = re.compile(rb"#([0-9A-Fa-f]{2})")
_NAME = re.compile(rb"/" + REGULAR + rb"{1,127}")

# A destination, or an action that goes to one and has no other entry (such as /Next).
_GOES_TO_PAGE = re.compile(
    _BLANK + rb"(?:\[|<<(?:" + _BLANK + rb"/(?:"
    rb"Type" + _BLANK + rb"/Action|S" + _BLANK + rb"/GoTo"
    rb"|D" + _BLANK + rb"(?:\[[^\]\[()<>%]{0,200}\]|\([^()\\]{0,200}\)|" + _REFERENCE + rb")"
    rb")){1,9}" + _BLANK + rb">>)"
)
_REFERRED = re.compile(_BLANK + rb"(?=" + _REFERENCE + rb")(\d+)")


def inspect_pdf(file: BinaryIO, size_bytes: int) -> Content:
    """Check the end of a file that starts with the PDF header, and look for active content.

    Raises:
        CorruptContent: no end marker, so a part is missing or something else was appended.
    """
    tail = read_at(file, max(0, size_bytes - _MAX_PADDING_BYTES), _MAX_PADDING_BYTES)
    if b"%%EOF" not in tail.rstrip(_PADDING)[-_END_REACH_BYTES:]:
        raise CorruptContent("The PDF has no end.")
    return Content(
        "application/pdf", has_active_content=size_bytes > MAX_SEARCHED_BYTES or _is_active(file)
    )


@dataclass(slots=True)
class _Found:
    """What the search has to come back to; the offsets are the file's."""

    # Each is in the dictionary of an object stream.
    object_streams: list[int] = field(default_factory=list)
    # Each is in that of an outline, or of an object stream.
    outlines: list[int] = field(default_factory=list)
    # Whether unpacking an object stream may not be enough to read it.
    hides: bool = False
    open_actions: set[int] = field(default_factory=set)
    names: int = 0

    def count(self) -> None:
        self.names += 1
        if self.names > _MAX_NAMES:
            raise NotHarmless


def _is_active(file: BinaryIO) -> bool:
    found = _Found()
    try:
        for window in raw_windows(file):
            _search(window, found)
        marks = [*found.object_streams, *(at for at in found.outlines if not is_object(file, at))]
        streams = ObjectStreams(file, marks)
        for text in streams.texts():
            _search(Window(0, text, len(text)), found)
        if marks and found.hides:
            return True
        _check_open_actions(file, streams, found.open_actions)
    except NotHarmless:
        return True
    return False


def _search(window: Window, found: _Found) -> None:
    for match in _NAMES.finditer(window.text):
        if match.start() >= window.limit:
            break
        _consider(match, window.offset + match.start(), found)
    for escape in _ESCAPE.finditer(window.text):
        _consider_escaped(escape.start(), window, found)


def _consider(match: re.Match[bytes], offset: int, found: _Found) -> None:
    found.count()
    if match["active"] or match["untyped"]:
        raise NotHarmless
    if match["matrix"]:
        if not _MATRIX.match(match.string, match.end()):
            raise NotHarmless
    elif match["trigger"] == b"OpenAction":
        _consider_open_action(match, found)
    elif match["trigger"]:
        if _DICTIONARY_AHEAD.match(match.string, match.end()):
            raise NotHarmless
    elif match["hiding"]:
        is_png = match["hiding"] == b"Predictor" and _PNG_PREDICTOR.match(match.string, match.end())
        found.hides = found.hides or not is_png
    elif match["stream"] == b"First" and _TO_REFERENCE.match(match.string, match.end()):
        found.outlines.append(offset)
    else:
        found.object_streams.append(offset)


def _consider_escaped(position: int, window: Window, found: _Found) -> None:
    """Read a name with its #xx written out, so that /J#61vaScript is found too."""
    found.count()
    start = window.text.rfind(b"/", max(0, position - 128), position)
    name = _NAME.match(window.text, max(0, start))
    if not 0 <= start < window.limit or not name or name.end() <= position:
        return
    plain = _ESCAPE.sub(lambda escape: bytes.fromhex(escape[1].decode()), name[0])
    behind = window.text[name.end() : name.end() + LOOKAHEAD_BYTES]
    match = _NAMES.match(plain + behind)
    if match:
        _consider(match, window.offset + start, found)


def _consider_open_action(match: re.Match[bytes], found: _Found) -> None:
    if referred := _REFERRED.match(match.string, match.end()):
        found.open_actions.add(int(referred[1]))
        if len(found.open_actions) > _MAX_OPEN_ACTIONS:
            raise NotHarmless
    elif not _GOES_TO_PAGE.match(match.string, match.end()):
        raise NotHarmless


def _check_open_actions(file: BinaryIO, streams: ObjectStreams, numbers: set[int]) -> None:
    """Every object by one of these numbers (there may be old ones) must go to a page."""
    for number in numbers:
        definitions = chain(find_raw_object(file, number), streams.find(number))
        objects = list(islice(definitions, _MAX_DEFINITIONS))
        if not 0 < len(objects) < _MAX_DEFINITIONS or not all(map(_GOES_TO_PAGE.match, objects)):
            raise NotHarmless
