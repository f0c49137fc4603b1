"""What a ZIP archive may hold before any of it is unpacked (D18), and bounded unpacking."""

import re
import stat
import struct
import zlib
from operator import attrgetter
from typing import BinaryIO

from docvault.rules.content import CorruptContent, read_exactly
from docvault.rules.zip_directory import Archive, Entry

_MAX_UNPACKED_BYTES = 100 << 20
_MAX_RATIO = 200

_LOCAL = struct.Struct("<4s5H3L2H")
_STORED, _DEFLATED = 0, 8
_HAS_DESCRIPTOR = 1 << 3
# Behind the data, where the sizes were not known before: signature, checksum, two sizes of 8.
_MAX_DESCRIPTOR_BYTES = 24
_ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13
# Absolute, with a drive, a backslash or a control character, or with a part that is "..".
_HOSTILE_NAME = re.compile(r"^/|^[A-Za-z]:|[\\\x00-\x1f]|(?:^|/)\.\.(?:/|$)")


def check_archive(file: BinaryIO, archive: Archive) -> None:
    """Refuse bombs, encryption, hostile names, links, a prefix and overlapping entries.

    Raises:
        CorruptContent: naming the first rule broken.
    """
    unpacked = sum(entry.unpacked_size for entry in archive.entries)
    if unpacked > min(_MAX_UNPACKED_BYTES, _MAX_RATIO * archive.size_bytes):
        raise CorruptContent("The archive unpacks to too much.")
    if len({entry.name.casefold() for entry in archive.entries}) < len(archive.entries):
        raise CorruptContent("The archive holds two entries of the same name.")
    for entry in archive.entries:
        _check_entry(entry)
    _check_layout(file, archive)


def read_entry(file: BinaryIO, entry: Entry, max_bytes: int) -> bytes:
    """The unpacked bytes of an entry of a checked archive.

    Raises:
        CorruptContent: more than `max_bytes`, or not what the directory declares.
    """
    if max(entry.packed_size, entry.unpacked_size) > max_bytes:
        raise CorruptContent("A part of the archive is too big.")
    data = read_exactly(file, _data_offset(file, entry), entry.packed_size)
    if entry.method == _DEFLATED:
        try:
            inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            data = inflater.decompress(data, entry.unpacked_size + 1)
        except zlib.error:
            raise CorruptContent("A part of the archive cannot be unpacked.") from None
    if len(data) != entry.unpacked_size or zlib.crc32(data) != entry.checksum:
        raise CorruptContent("A part of the archive is not what the directory declares.")
    return data


def _check_entry(entry: Entry) -> None:
    if entry.flags & _ENCRYPTED:
        raise CorruptContent("The archive is encrypted.")
    if entry.method not in (_STORED, _DEFLATED):
        raise CorruptContent("The archive uses an unusual compression.")
    if _HOSTILE_NAME.search(entry.name):
        raise CorruptContent("The archive holds a hostile file name.")
    if stat.S_ISLNK(entry.unix_mode):
        raise CorruptContent("The archive holds a link.")


def _check_layout(file: BinaryIO, archive: Archive) -> None:
    """Entries follow each other from the first byte to the directory, with nothing in between.

    A gap could hold entries that other readers find, or another document.
    """
    end = room = 0
    for entry in sorted(archive.entries, key=attrgetter("offset")):
        if not end <= entry.offset <= end + room:
            raise CorruptContent("The archive's entries overlap, or something is between them.")
        end = _data_offset(file, entry) + entry.packed_size
        room = _MAX_DESCRIPTOR_BYTES if entry.flags & _HAS_DESCRIPTOR else 0
    if not end <= archive.directory_offset <= end + room:
        raise CorruptContent("The archive's entries overlap, or something follows them.")


def _data_offset(file: BinaryIO, entry: Entry) -> int:
    """Where the entry's data start, once its local header has agreed with the directory."""
    header = read_exactly(file, entry.offset, _LOCAL.size + len(entry.raw_name))
    signature, _, flags, method, *_, name_size, extra_size = _LOCAL.unpack_from(header)
    same_name = name_size == len(entry.raw_name) and header.endswith(entry.raw_name)
    if signature != b"PK\3\4" or method != entry.method or flags & _ENCRYPTED or not same_name:
        raise CorruptContent("The archive contradicts its directory.")
    return entry.offset + len(header) + int(extra_size)
