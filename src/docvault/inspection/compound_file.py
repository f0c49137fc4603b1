"""OLE compound files: the directory, and the first bytes of a stream ([MS-CFB])."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from docvault.inspection.result import CorruptContent, read_exactly

_HEADER_BYTES = 512
_SECTOR_SHIFTS = (9, 12)
_IN_HEADER = 109
_ENTRY_BYTES = 128
# Enough for the top level of any document; the rest of the directory is not needed.
_MAX_CHAIN_SECTORS = 2048
_MAX_TABLE_SECTORS = 1024
_MAX_VISITED = 512
_LAST_SECTOR = 0xFFFF_FFFA
# Streams smaller than this are in small sectors, all of which are in the stream of the root.
_SMALL_STREAM_BYTES = 4096
_SMALL_SECTOR_BYTES = 64


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream at the top level: where it starts, and its length in bytes."""

    first_sector: int
    size_bytes: int


class CompoundFile:
    """A compound file of which only the top level is read.

    Each method raises `CorruptContent` if it leads outside of the file.
    """

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        self._file = file
        self._size_bytes = size_bytes
        self._header = read_exactly(file, 0, _HEADER_BYTES)
        (shift,) = struct.unpack_from("<H", self._header, 30)
        if shift not in _SECTOR_SHIFTS:
            raise CorruptContent("The document's header is malformed.")
        self._sector_bytes = 1 << shift
        (first,) = struct.unpack_from("<L", self._header, 48)
        self._directory = b"".join(self._read_sectors(first))
        if len(self._directory) < _ENTRY_BYTES:
            raise CorruptContent("The document has no directory.")

    @property
    def program(self) -> bytes:
        """The class id of the root."""
        return self._directory[80:96]

    def streams(self) -> dict[str, Stream]:
        """Return what is at the top level by name in lower case; storages are included."""
        return dict(self._walk())

    def read_beginning(self, stream: Stream, length: int) -> bytes:
        """Return the first `length` bytes of a stream, or all if it has fewer."""
        length = min(length, stream.size_bytes)
        if stream.size_bytes < _SMALL_STREAM_BYTES:
            return self._read_small(stream.first_sector, length)
        data = bytearray()
        for sector in self._read_sectors(stream.first_sector):
            data += sector
            if len(data) >= length:
                break
        return bytes(data[:length])

    def _walk(self) -> Iterator[tuple[str, Stream]]:
        """Yield the top level: a tree in a hostile order."""
        pending = [self._links(0)[2]]
        visited: set[int] = set()
        while pending and len(visited) < _MAX_VISITED:
            number = pending.pop()
            if number in visited or (number + 1) * _ENTRY_BYTES > len(self._directory):
                continue
            visited.add(number)
            left, right, _ = self._links(number)
            pending += left, right
            start = number * _ENTRY_BYTES
            (length,) = struct.unpack_from("<H", self._directory, start + 64)
            name = self._directory[start : start + max(0, min(length, 64) - 2)]
            yield name.decode("utf-16-le", "replace").lower(), self._stream(number)

    def _links(self, number: int) -> tuple[int, int, int]:
        left, right, child = struct.unpack_from("<3L", self._directory, number * _ENTRY_BYTES + 68)
        return left, right, child

    def _stream(self, number: int) -> Stream:
        return Stream(*struct.unpack_from("<2L", self._directory, number * _ENTRY_BYTES + 116))

    def _read_small(self, number: int, length: int) -> bytes:
        """Return a stream of small sectors, which programs write one after the other."""
        place, start = divmod(number * _SMALL_SECTOR_BYTES, self._sector_bytes)
        data = b""
        for index, sector in enumerate(self._read_sectors(self._stream(0).first_sector)):
            if index >= place:
                data += sector
            if len(data) >= start + length:
                break
        return data[start : start + length]

    def _read_sectors(self, sector: int) -> Iterator[bytes]:
        """Yield the sectors of a chain, up to a number of them."""
        for _ in range(_MAX_CHAIN_SECTORS):
            start = (sector + 1) * self._sector_bytes
            if sector >= _LAST_SECTOR or start >= self._size_bytes:
                break
            # The last sector may be cut short.
            length = min(self._sector_bytes, self._size_bytes - start)
            yield read_exactly(self._file, start, length)
            sector = self._next_sector(sector)

    def _next_sector(self, sector: int) -> int:
        """Return the sector that follows in the chain (section 2.3)."""
        table, position = divmod(sector, self._sector_bytes // 4)
        start = (self._table_sector(table) + 1) * self._sector_bytes + 4 * position
        return self._read_number(start)

    def _table_sector(self, number: int) -> int:
        """Return where a sector of the allocation table is (section 2.5)."""
        if number < _IN_HEADER:
            return int(struct.unpack_from("<L", self._header, 76 + 4 * number)[0])
        number -= _IN_HEADER
        in_sector = self._sector_bytes // 4 - 1
        (place,) = struct.unpack_from("<L", self._header, 68)
        for _ in range(min(number // in_sector, _MAX_TABLE_SECTORS)):
            place = self._read_number((place + 2) * self._sector_bytes - 4)
        return self._read_number((place + 1) * self._sector_bytes + 4 * (number % in_sector))

    def _read_number(self, start: int) -> int:
        return int.from_bytes(read_exactly(self._file, start, 4), "little")
