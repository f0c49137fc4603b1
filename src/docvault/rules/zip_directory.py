"""A bounded, strict reader of a ZIP archive's central directory (PKWARE APPNOTE 6.3.10).

Stricter than `zipfile`, which tolerates a prefix and contradictions: two readers must not be
able to see different archives in one file.
"""

import struct
from dataclasses import dataclass
from typing import BinaryIO

from docvault.rules.content import CorruptContent, read_at, read_exactly

_MAX_ENTRIES = 2_000  # D18
_MAX_DIRECTORY_BYTES = 1 << 20

_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE = b"PK\5\6"
_CENTRAL_SIGNATURE = b"PK\1\2"
_MAX_COMMENT_BYTES = 0xFFFF
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64 = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_IN_ZIP64_FIELD = 0xFFFF_FFFF
_UTF_8 = 1 << 11


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of an archive, as the central directory describes it; sizes in bytes."""

    name: str
    raw_name: bytes
    flags: int
    method: int
    checksum: int
    packed_size: int
    unpacked_size: int
    offset: int
    unix_mode: int


@dataclass(frozen=True, slots=True)
class Archive:
    """The entries in the directory's order, and where the directory starts (bytes)."""

    entries: tuple[Entry, ...]
    directory_offset: int
    size_bytes: int


def ends_with_zip(file: BinaryIO, size_bytes: int) -> bool:
    """Whether a non-empty archive is appended to the file (an image that is also a jar).

    Readers put up with something behind its end record, and with wrong offsets.
    """
    tail = _tail(file, size_bytes)
    position = tail.rfind(_END_SIGNATURE)
    while position >= 0:
        if len(tail) - position >= _END.size:
            _, _, _, _, count, directory_size, _, _ = _END.unpack_from(tail, position)
            start = size_bytes - len(tail) + position - directory_size
            if count > 0 and start >= 0 and read_at(file, start, 4) == _CENTRAL_SIGNATURE:
                return True
        position = tail.rfind(_END_SIGNATURE, 0, position)
    return False


def read_archive(file: BinaryIO, size_bytes: int) -> Archive:
    """Read the central directory.

    Raises:
        CorruptContent: no directory right before the end record, or one over the limits.
    """
    count, directory_size, directory_offset = _read_end(file, size_bytes)
    if count > _MAX_ENTRIES or directory_size > _MAX_DIRECTORY_BYTES:
        raise CorruptContent("The archive has too many entries.")
    directory = read_exactly(file, directory_offset, directory_size)
    entries = []
    position = 0
    for _ in range(count):
        entry, position = _parse_entry(directory, position)
        entries.append(entry)
    if position != directory_size:
        raise CorruptContent("The archive's directory is broken.")
    return Archive(tuple(entries), directory_offset, size_bytes)


def _tail(file: BinaryIO, size_bytes: int) -> bytes:
    reach = _END.size + _MAX_COMMENT_BYTES
    return read_at(file, max(0, size_bytes - reach), reach)


def _find_end(tail: bytes) -> int | None:
    """Where the end record starts in the file's tail: its comment reaches the very end."""
    position = tail.rfind(_END_SIGNATURE)
    while position >= 0:
        end = position + _END.size
        comment_size = int.from_bytes(tail[end - 2 : end], "little")
        if end + comment_size == len(tail):
            return position
        position = tail.rfind(_END_SIGNATURE, 0, position)
    return None


def _read_end(file: BinaryIO, size_bytes: int) -> tuple[int, int, int]:
    """The number of entries, the directory's size and its offset."""
    tail = _tail(file, size_bytes)
    position = _find_end(tail)
    if position is None:
        raise CorruptContent("The archive's end is missing.")
    _, disk, directory_disk, _, *numbers, _ = _END.unpack_from(tail, position)
    end = size_bytes - len(tail) + position
    locator = tail[max(0, position - _LOCATOR_64.size) : position]
    if locator.startswith(b"PK\6\7"):
        end = _LOCATOR_64.unpack(locator)[2]
        record = _END_64.unpack(read_exactly(file, end, _END_64.size))
        signature, _, _, _, disk, directory_disk, _, *wide = record
        agrees = all(map(_same_or_too_big, numbers, wide))
        if signature != b"PK\6\6" or not agrees:
            raise CorruptContent("The archive's end is broken.")
        numbers = wide
    count, size, offset = numbers
    # With data put before the archive the offsets no longer fit.
    if disk or directory_disk or offset + size != end:
        raise CorruptContent("The archive's directory is not where it should be.")
    return count, size, offset


def _same_or_too_big(number: int, wide: int) -> bool:
    return number in (wide, 0xFFFF, 0xFFFF_FFFF)


def _parse_entry(directory: bytes, position: int) -> tuple[Entry, int]:
    """The entry at `position` and where the next one starts."""
    fields = directory[position : position + _CENTRAL.size]
    if len(fields) < _CENTRAL.size or not fields.startswith(_CENTRAL_SIGNATURE):
        raise CorruptContent("The archive's directory is broken.")
    _, _, _, flags, method, _, _, checksum, packed, unpacked, *rest = _CENTRAL.unpack(fields)
    name_size, extra_size, comment_size, _, _, attributes, offset = rest
    name_start = position + _CENTRAL.size
    extra_start = name_start + name_size
    end = extra_start + extra_size + comment_size
    if end > len(directory):
        raise CorruptContent("The archive's directory is broken.")
    raw_name = directory[name_start:extra_start]
    sizes = [unpacked, packed, offset]
    _fill_from_zip64(sizes, directory[extra_start : extra_start + extra_size])
    return Entry(
        name=_decode_name(raw_name, flags),
        raw_name=raw_name,
        flags=flags,
        method=method,
        checksum=checksum,
        unpacked_size=sizes[0],
        packed_size=sizes[1],
        offset=sizes[2],
        unix_mode=attributes >> 16,
    ), end


def _decode_name(raw_name: bytes, flags: int) -> str:
    try:
        return raw_name.decode("utf-8" if flags & _UTF_8 else "cp437")
    except UnicodeDecodeError:
        raise CorruptContent("The archive holds a name that is not UTF-8.") from None


def _fill_from_zip64(sizes: list[int], extra: bytes) -> None:
    """Replace numbers that did not fit by those of the ZIP64 extra field (4.5.3).

    Spreadsheets streamed by Apache POI have this field for small entries too.
    """
    missing = [i for i, size in enumerate(sizes) if size == _IN_ZIP64_FIELD]
    if not missing:
        return
    values = _zip64_field(extra)
    if len(values) < len(missing):
        raise CorruptContent("The archive's directory is broken.")
    for i, value in zip(missing, values, strict=False):
        sizes[i] = value


def _zip64_field(extra: bytes) -> list[int]:
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        position += 4
        if kind == 1:
            field = extra[position : position + length]
            return [value for (value,) in struct.iter_unpack("<Q", field[: len(field) & ~7])]
        position += length
    return []
