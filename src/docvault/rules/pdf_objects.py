"""Where a PDF keeps its objects: in the raw bytes and in object streams (ISO 32000-2, 7.5.7)."""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from docvault.rules.content import read_at

_CHUNK_BYTES = 256 * 1024
# Whatever is looked at behind a position lies within this many bytes.
LOOKAHEAD_BYTES = 1024

_MAX_OBJECT_STREAMS = 4_096
_MAX_INFLATED_BYTES = 16 << 20
_READ_BYTES = 64 * 1024

# The dictionary up to the data. Strings and comments, in which a second "stream" could hide,
# have no place in it.
_TO_DATA = re.compile(rb"[^(%]{0,2000}?stream(?:\r\n|\n|\r)")
# Pairs of object number and offset. Another filter or a predictor would leave something else.
_HEADER = re.compile(rb"[ \t\r\n\f]*(?:\d+[ \t\r\n\f]+\d+|\Z)")
_INTEGERS = re.compile(rb"[\d \t\r\n\f]*")


class NotHarmless(Exception):
    """Something active was found, or something that cannot be looked into."""


@dataclass(frozen=True, slots=True)
class Window:
    """A piece of the file or an unpacked object stream.

    Only what starts before `limit` belongs to it; the rest is there to be looked ahead to.
    """

    offset: int
    text: bytes
    limit: int


def raw_windows(file: BinaryIO) -> Iterator[Window]:
    """The whole file in overlapping pieces of bounded size."""
    offset = 0
    while text := read_at(file, offset, _CHUNK_BYTES + LOOKAHEAD_BYTES):
        is_last = len(text) <= _CHUNK_BYTES
        yield Window(offset, text, len(text) if is_last else _CHUNK_BYTES)
        offset += _CHUNK_BYTES


class ObjectStreams:
    """The object streams of a file, unpacked one at a time within a bound for all together.

    `marks` has, for each place that looked like an object stream's dictionary, its offset in
    the file and the value of /First if it stood there.
    """

    def __init__(self, file: BinaryIO, marks: list[tuple[int, int | None]]) -> None:
        if len(marks) > 2 * _MAX_OBJECT_STREAMS:
            raise NotHarmless
        self._file = file
        self._first_by_start: dict[int, int | None] = {}
        for offset, first in marks:
            start = self._data_start(offset)
            if first is not None or start not in self._first_by_start:
                self._first_by_start[start] = first

    def texts(self) -> Iterator[bytes]:
        """Each stream's objects, with the header in front."""
        budget = _MAX_INFLATED_BYTES
        for start in self._first_by_start:
            text = self._inflate(start, budget)
            budget -= len(text)
            yield text

    def find(self, number: int) -> Iterator[bytes]:
        """The beginning of each object of that number."""
        for text, first in zip(self.texts(), self._first_by_start.values(), strict=True):
            header = _INTEGERS.match(text)
            integers = [int(token) for token in header[0].split()] if header else []
            for candidate, offset in zip(integers[::2], integers[1::2], strict=False):
                if candidate == number:
                    start = (first or 0) + offset
                    yield text[start : start + LOOKAHEAD_BYTES]

    def _data_start(self, offset: int) -> int:
        to_data = _TO_DATA.match(read_at(self._file, offset, 2 * LOOKAHEAD_BYTES))
        if not to_data:
            raise NotHarmless
        return offset + to_data.end()

    def _inflate(self, start: int, max_bytes: int) -> bytes:
        inflater = zlib.decompressobj()
        text = b""
        try:
            while not inflater.eof:
                ...
        except zlib.error:
            raise NotHarmless from None


def find_object(file: BinaryIO, number: int) -> Iterator[bytes]:
    ...
