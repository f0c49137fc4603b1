"""Where a PDF keeps its objects: in the raw bytes and in object streams (ISO 32000-2, 7.5.7)."""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from docvault.rules.content import read_at

# Whatever is looked at behind a position lies within this many bytes.
LOOKAHEAD_BYTES = 1024
_WINDOW_BYTES = 256 * 1024
_READ_BYTES = 16 * 1024

_MAX_STREAM_BYTES = 4 << 20
# For all streams of a file, packed and unpacked bytes together.
_MAX_WORK_BYTES = 32 << 20

# From within the dictionary to the data. Strings and comments, in which another "stream" could
# hide, have no place there.
_TO_DATA = re.compile(rb"[^(%]{0,2000}?stream(?:\r\n|\n|\r)")
# Each object's number and offset come first. A predictor or a second filter would show here.
_PAIR = re.compile(rb"[ \t\r\n\f]*(\d{1,10})[ \t\r\n\f]+(\d{1,10})")


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


class ObjectStreams:
    """The object streams of a file, unpacked one at a time within one bound for all.

    `marks` has for each place that looked like an object stream's dictionary its offset in the
    file, and the value of /First if it stood there.
    """

    def __init__(self, file: BinaryIO, marks: list[tuple[int, int | None]]) -> None:
        self._file = file
        self._first_by_start: dict[int, int | None] = {}
        for offset, first in marks:
            start = self._data_start(offset)
            self._first_by_start[start] = first or self._first_by_start.get(start)

    def texts(self) -> Iterator[bytes]:
        """Each stream's header and objects."""
        left = _MAX_WORK_BYTES
        for start in self._first_by_start:
            text, packed_size = self._inflate(start)
            left -= len(text) + packed_size
            if left < 0 or (text and not _PAIR.match(text)):
                raise NotHarmless
            yield text

    def find(self, number: int) -> Iterator[bytes]:
        """The beginning of each object of this number."""
        for text, first in zip(self.texts(), self._first_by_start.values(), strict=True):
            position = 0
            while pair := _PAIR.match(text, position):
                if int(pair[1]) == number:
                    start = (first or 0) + int(pair[2])
                    yield text[start : start + LOOKAHEAD_BYTES]
                position = pair.end()

    def _data_start(self, offset: int) -> int:
        to_data = _TO_DATA.match(read_at(self._file, offset, 2 * LOOKAHEAD_BYTES))
        if not to_data:
            raise NotHarmless
        return offset + to_data.end()

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
        return b"".join(pieces), position - start - len(inflater.unused_data)


def find_raw_object(file: BinaryIO, number: int) -> Iterator[bytes]:
    """The beginning of each object of this number outside object streams."""
    # Without a lookbehind the pattern starts with a literal, which is ten times faster.
    definition = re.compile(rb"%d[\x00\t\n\f\r ]{1,9}\d{1,5}[\x00\t\n\f\r ]{1,9}obj" % number)
    for window in raw_windows(file):
        for match in definition.finditer(window.text):
            start = match.start()
            is_whole = not window.text[max(0, start - 1) : start].isdigit()
            if is_whole and start < window.limit:
                yield window.text[match.end() : match.end() + LOOKAHEAD_BYTES]
