"""OLE compound files: which program wrote one, by the names in its directory ([MS-CFB]).

Word, Excel and PowerPoint before 2007, Outlook messages, and office documents protected by a
password. Nothing in the streams is inspected, so they count as active.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from docvault.domain.media_types import DOC, ENCRYPTED_OOXML, MSG, PPT, XLS
from docvault.inspection.result import (
    Content,
    CorruptContent,
    UnknownContent,
    read_exactly,
    uninspected,
)

SIGNATURE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

_HEADER_BYTES = 512
_SECTOR_SHIFTS = (9, 12)
_IN_HEADER = 109
_ENTRY_BYTES = 128
# Enough for the top level of any document; the rest of the directory is not needed.
_MAX_DIRECTORY_SECTORS = 2048
_MAX_TABLE_SECTORS = 1024
_MAX_VISITED = 512
_NO_ENTRY = 0xFFFF_FFFF
_LAST_SECTOR = 0xFFFF_FFFA

# By the name of an entry at the top level, in this order.
_KINDS = {
    "encryptedpackage": ENCRYPTED_OOXML,
    "__properties_version1.0": MSG,
    "worddocument": DOC,
    "workbook": XLS,
    "book": XLS,
    "powerpoint document": PPT,
    "pp40": PPT,
    "visiodocument": "application/vnd.visio",
    "quill": "application/x-mspublisher",
}
_OTHER = "application/x-ole-storage"
_INSTALLERS = frozenset(
    bytes.fromhex(f"{n}0c0000000000c000000000000046") for n in ("8410", "8610", "8210")
)


@dataclass(frozen=True, slots=True)
class _Directory:
    data: bytes

    def names(self) -> Iterator[str]:
        """Yield the names at the top level, in lower case: a tree in a hostile order."""
        pending = [self._links(0)[2]]
        visited: set[int] = set()
        while pending and len(visited) < _MAX_VISITED:
            number = pending.pop()
            if number in visited or (number + 1) * _ENTRY_BYTES > len(self.data):
                continue
            visited.add(number)
            left, right, _ = self._links(number)
            pending += left, right
            start = number * _ENTRY_BYTES
            (length,) = struct.unpack_from("<H", self.data, start + 64)
            name = self.data[start : start + max(0, min(length, 64) - 2)]
            yield name.decode("utf-16-le", "replace").lower()

    @property
    def program(self) -> bytes:
        """The class id of the root."""
        return self.data[80:96]

    def _links(self, number: int) -> tuple[int, int, int]:
        left, right, child = struct.unpack_from("<3L", self.data, number * _ENTRY_BYTES + 68)
        return left, right, child


def inspect_ole(file: BinaryIO, size_bytes: int) -> Content:
    """Detect which document a compound file is.

    Raises:
        UnknownContent: of another program, or an installer; or the directory cannot be read.
    """
    try:
        directory = _Directory(_read_directory(file, size_bytes))
    except CorruptContent as error:
        raise UnknownContent(_OTHER, error.reason) from None
    if directory.program in _INSTALLERS:
        raise UnknownContent("application/x-ms-installer")
    names = set(directory.names())
    media_type = next((kind for name, kind in _KINDS.items() if name in names), None)
    if media_type not in {ENCRYPTED_OOXML, MSG, DOC, XLS, PPT}:
        raise UnknownContent(media_type or _OTHER)
    return uninspected(media_type, needs_password=media_type == ENCRYPTED_OOXML)


def _read_directory(file: BinaryIO, size_bytes: int) -> bytes:
    """Return the directory, or its beginning if it is long; at least the root."""
    header = read_exactly(file, 0, _HEADER_BYTES)
    (shift,) = struct.unpack_from("<H", header, 30)
    if shift not in _SECTOR_SHIFTS:
        raise CorruptContent("The document's header is malformed.")
    sector_bytes = 1 << shift
    (sector,) = struct.unpack_from("<L", header, 48)
    data = bytearray()
    for _ in range(_MAX_DIRECTORY_SECTORS):
        if (sector + 1) * sector_bytes >= size_bytes:
            break
        # The last sector may be cut short.
        start = (sector + 1) * sector_bytes
        data += read_exactly(file, start, min(sector_bytes, size_bytes - start))
        sector = _next_sector(file, header, sector, sector_bytes)
        if sector >= _LAST_SECTOR:
            break
    if len(data) < _ENTRY_BYTES:
        raise CorruptContent("The document has no directory.")
    return bytes(data)


def _next_sector(file: BinaryIO, header: bytes, sector: int, sector_bytes: int) -> int:
    """Return the sector that follows in the chain (section 2.3)."""
    table, position = divmod(sector, sector_bytes // 4)
    place = _table_sector(file, header, table, sector_bytes)
    start = (place + 1) * sector_bytes + 4 * position
    return int.from_bytes(read_exactly(file, start, 4), "little")


def _table_sector(file: BinaryIO, header: bytes, number: int, sector_bytes: int) -> int:
    """Return where a sector of the allocation table is (section 2.5)."""
    if number < _IN_HEADER:
        return int(struct.unpack_from("<L", header, 76 + 4 * number)[0])
    number -= _IN_HEADER
    in_sector = sector_bytes // 4 - 1
    (place,) = struct.unpack_from("<L", header, 68)
    for _ in range(min(number // in_sector, _MAX_TABLE_SECTORS)):
        start = (place + 2) * sector_bytes - 4
        place = int.from_bytes(read_exactly(file, start, 4), "little")
    start = (place + 1) * sector_bytes + 4 * (number % in_sector)
    return int.from_bytes(read_exactly(file, start, 4), "little")
