"""Where a PDF keeps its objects: in the raw bytes and in object streams (ISO 32000-2, 7.5.7)."""

import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import BinaryIO

from docvault.rules.content import read_at

# Whatever is looked at behind a position lies within this many bytes.
LOOKAHEAD_BYTES = 1024
_WINDOW_BYTES = 256 * 1024
_READ_BYTES = 16 * 1024

_MAX_STREAM_BYTES = 4 << 20
# For all streams of a file, packed and unpacked bytes together.
_MAX_WORK_BYTES = 32 << 20

_MAX_DICTIONARY_BYTES = 8 * 1024
_BLANK = rb"[\x00\t\n\f\r ]"
# What names, numbers and words are made of.
REGULAR = rb"[^\x00\t\n\f\r ()<>\[\]{}/%]"
_COMMENT = rb"%[^\r\n]*+"
_SEPARATION = rb"(?:" + _BLANK + rb"|" + _COMMENT + rb")++"
_REFERENCE = rb"\d{1,10}" + _BLANK + rb"++\d{1,5}" + _BLANK + rb"++R"

# How an object stream begins that a program has written. With a comment, a string, another filter
# or a predictor it is not what it seems: readers differ in what they make of it.
_DEFINITION = re.compile(rb"\d{1,10}" + _BLANK + rb"{1,9}\d{1,5}" + _BLANK + rb"{1,9}obj")
_HEADER = re.compile(rb"(?:%[^\r\n]*+[\r\n]++)++")
# The last line, and how it ends.
_BEFORE_DEFINITION = re.compile(
    rb"[\r\n][^\r\n]*(?<=[\x00\t\n\f\r >\])])(?P<end>endobj)" + _BLANK + rb"*+\Z"
)
_BEFORE_END = re.compile(
    rb"[\r\n][^\r\n]*?(?P<end>(?:[>\])]|(?<=[\x00\t\n\f\r ])(?:endstream|[-+.\d]++|R|null))"
    + _BLANK
    + rb"*+)\Z"
)
_OBJECT_STREAM = re.compile(
    rb"""DEFINITION BLANK*+ << (?: BLANK*+ / (?:
        Type BLANK*+ /ObjStm
        | N BLANK++ (?P<number> \d{1,7})
        | First BLANK++ (?P<first> \d{1,10})
        | Length BLANK++ (?: REFERENCE | \d{1,10})
        | Filter BLANK*+ (?: /FlateDecode | \[ BLANK*+ /FlateDecode BLANK*+ \])
        | Extends BLANK++ REFERENCE
    ))++ BLANK*+ >> BLANK*+ stream \r?\n""".replace(b"DEFINITION", _DEFINITION.pattern)
    .replace(b"REFERENCE", _REFERENCE)
    .replace(b"BLANK", _BLANK),
    re.VERBOSE,
)
# What it must say, and once: of two values readers take one or the other.
_SAID_ONCE = (b"/N", b"/First", b"/Filter")
# The data end where the packed text does: another filter would take more, and unpack it otherwise.
_END = re.compile(_BLANK + rb"{0,9}endstream")
# Each object's number and offset come first. A predictor would show here.
_PAIR = re.compile(rb"[ \t\r\n\f]*(\d{1,10})[ \t\r\n\f]+(\d{1,10})")

# Up to the next dictionary's beginning or end. Strings have at most one pair of brackets inside.
_TOKENS = re.compile(
    rb"""(?:
        SEPARATION
        | /REGULAR*+
        | REGULAR++
        | [\[\]]
        | \( (?: [^()\\] | \\. | \( (?: [^()\\] | \\. )*+ \) )*+ \)
        | < (?!<) (?: [0-9A-Fa-f] | BLANK)*+ >
    )*+ (<< | >>)""".replace(b"SEPARATION", _SEPARATION)
    .replace(b"REGULAR", REGULAR)
    .replace(b"BLANK", _BLANK),
    re.DOTALL | re.VERBOSE,
)
_END_OF_OBJECT = re.compile(rb"(?:" + _SEPARATION + rb")?endobj")


class NotHarmless(Exception):
    """Something active was found, or something that cannot be looked into."""


@dataclass(frozen=True, slots=True)
class Window:
    """A piece of the file, or an unpacked object stream.

    What starts before `limit` belongs to it; the rest is there to be looked ahead to.
    """

    offset: int
    text: bytes
    limit: int


def raw_windows(file: BinaryIO) -> Iterator[Window]:
    """The whole file in overlapping pieces."""
    offset = 0
    while text := read_at(file, offset, _WINDOW_BYTES + LOOKAHEAD_BYTES):
        is_last = len(text) <= _WINDOW_BYTES
        yield Window(offset, text, len(text) if is_last else _WINDOW_BYTES)
        offset += _WINDOW_BYTES


@dataclass(frozen=True, slots=True)
class _ObjectStream:
    """Where its data start, how many objects it has, and where in its text they begin."""

    start: int
    number: int
    first: int


class ObjectStreams:
    """The object streams of a file, unpacked one at a time within one bound for all.

    `marks` are offsets in the file, each of a name within an object stream's dictionary.
    """

    def __init__(self, file: BinaryIO, marks: Iterable[int]) -> None:
        self._file = file
        # More than one mark may be in the same dictionary.
        self._streams = sorted(
            {_object_stream(file, mark) for mark in marks}, key=attrgetter("start")
        )

    def texts(self) -> Iterator[bytes]:
        """Each stream's header and objects."""
        left = _MAX_WORK_BYTES
        for stream in self._streams:
            text, packed_size = self._inflate(stream.start)
            left -= len(text) + packed_size
            if left < 0 or (stream.number and not _PAIR.match(text)):
                raise NotHarmless
            yield text

    def find(self, number: int) -> Iterator[bytes]:
        """The beginning of each object of this number."""
        for text, stream in zip(self.texts(), self._streams, strict=True):
            position = 0
            while pair := _PAIR.match(text, position):
                if int(pair[1]) == number:
                    start = stream.first + int(pair[2])
                    yield text[start : start + LOOKAHEAD_BYTES]
                position = pair.end()

    def _inflate(self, start: int) -> tuple[bytes, int]:
        """The unpacked stream and its packed size."""
        inflater = zlib.decompressobj()
        pieces = []
        position = start
        left = _MAX_STREAM_BYTES
        while not inflater.eof:
            packed = read_at(self._file, position, _READ_BYTES)
            position += len(packed)
            try:
                pieces.append(inflater.decompress(packed, left + 1))
            except zlib.error:
                raise NotHarmless from None
            left -= len(pieces[-1])
            if not packed or left < 0 or position - start > _MAX_STREAM_BYTES:
                raise NotHarmless
        size = position - start - len(inflater.unused_data)
        if not _END.match(read_at(self._file, start + size, LOOKAHEAD_BYTES)):
            raise NotHarmless
        return b"".join(pieces), size


def _object_stream(file: BinaryIO, mark: int) -> _ObjectStream:
    """Read the dictionary that the mark is in."""
    begin = max(0, mark - LOOKAHEAD_BYTES)
    before = read_at(file, begin, mark - begin)
    definitions = [match.start() for match in _DEFINITION.finditer(before)]
    if not definitions or not _is_outermost(before[: definitions[-1]], is_all=begin == 0):
        raise NotHarmless
    begin += definitions[-1]
    match = _OBJECT_STREAM.match(read_at(file, begin, _MAX_DICTIONARY_BYTES))
    if (
        not match
        or begin + match.end() <= mark
        or any(match[0].count(name) != 1 for name in _SAID_ONCE)
    ):
        raise NotHarmless
    return _ObjectStream(begin + match.end(), int(match["number"]), int(match["first"]))


def _is_outermost(above: bytes, *, is_all: bool) -> bool:
    """Return whether an object begins below this, and not what looks like one inside another.

    Inside a dictionary readers skip what does not belong there, `1 0 obj <<` for instance, and
    take what stood before for a part of it. So there has to be the end of another object, which
    is neither the value of a name nor in a comment; or the file's first lines.
    """
    if is_all and _HEADER.fullmatch(above):
        return True
    for end in (_BEFORE_DEFINITION, _BEFORE_END):
        match = end.search(above)
        if not match or b"%" in match[0]:
            return False
        above = above[: match.start("end")]
    return True


def is_object(file: BinaryIO, mark: int) -> bool:
    """Return whether the dictionary that the mark is in is an object by itself, and no stream's."""
    text = read_at(file, mark, _MAX_DICTIONARY_BYTES)
    depth = position = 0
    while depth >= 0:
        token = _TOKENS.match(text, position)
        if not token:
            return False
        depth += 1 if token[1] == b"<<" else -1
        position = token.end()
    return _END_OF_OBJECT.match(text, position) is not None


def find_raw_object(file: BinaryIO, number: int) -> Iterator[bytes]:
    """The beginning of each object of this number outside object streams."""
    # Without a lookbehind the pattern starts with a literal, which is ten times faster.
    definition = re.compile(rb"%d" % number + _SEPARATION + rb"\d{1,5}" + _SEPARATION + rb"obj")
    for window in raw_windows(file):
        for match in definition.finditer(window.text):
            start = match.start()
            # Zeros before it do not make it another number.
            is_whole = not window.text[max(0, start - 32) : start].rstrip(b"0")[-1:].isdigit()
            if is_whole and start < window.limit:
                yield window.text[match.end() : match.end() + LOOKAHEAD_BYTES]
