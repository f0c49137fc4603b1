"""ZIP archives: a strict reader of the central directory, checks, and bounded unpacking.

Stricter than `zipfile`, which tolerates a prefix and contradictions: two readers must not be able
to see different archives in one file (PKWARE APPNOTE 6.3.10).
"""

import re
import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import BinaryIO

from docvault.inspection.result import CorruptContent, read_at, read_exactly

# Limits of D18.
_MAX_ENTRIES = 2_000
_MAX_UNPACKED_BYTES = 100 << 20
_MAX_RATIO = 200
_MAX_DIRECTORY_BYTES = 1 << 20

_PIECE_BYTES = 256 << 10

_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE = b"PK\5\6"
_CENTRAL_SIGNATURE = b"PK\1\2"
_MAX_COMMENT_BYTES = 0xFFFF
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64 = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_IN_ZIP64_FIELD = 0xFFFF_FFFF
_UTF_8 = 1 << 11

_LOCAL = struct.Struct("<4s5H3L2H")
_STORED, _DEFLATED, _AES = 0, 8, 99
_HAS_DESCRIPTOR = 1 << 3
# After the data, if the sizes were not known before: signature, checksum, two sizes of 8 bytes.
_MAX_DESCRIPTOR_BYTES = 24
_ENCRYPTED = 1 << 0
# Of PKWARE's own encryption, which other programs cannot read; the second hides the names.
_STRONGLY_ENCRYPTED = 1 << 6 | 1 << 13
# Absolute, with a drive, a control character, or a part "..".
_HOSTILE_NAME = re.compile(r"^/|^[A-Za-z]:|[\x00-\x1f]|(?:^|/)\.\.(?:/|$)")
# What mail programs and gateways append to a file.
_PADDING = b"\0\t\n\r "


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of an archive as the central directory describes it; sizes are in bytes.

    In `name`, a backslash is the separator that it is for Windows.
    """

    name: str
    raw_name: bytes
    flags: int
    method: int
    checksum: int
    packed_size: int
    unpacked_size: int
    offset: int
    unix_mode: int

    @property
    def is_encrypted(self) -> bool:
        """Whether it needs a password."""
        return bool(self.flags & _ENCRYPTED)


@dataclass(frozen=True, slots=True)
class Archive:
    """The entries in the order of the directory, and where the directory starts (bytes)."""

    entries: tuple[Entry, ...]
    directory_offset: int
    size_bytes: int


def ends_with_zip(file: BinaryIO, size_bytes: int, end_marker: bytes | None = None) -> bool:
    """Return whether a non-empty archive is appended to the file (an image that is also a JAR).

    Readers tolerate bytes after its end record, and wrong offsets. An archive before the last
    `end_marker` is a part of the file.
    """
    tail = _tail(file, size_bytes)
    start = tail.rfind(end_marker) + 1 if end_marker else 0
    position = tail.rfind(_END_SIGNATURE, start)
    while position >= 0:
        if len(tail) - position >= _END.size:
            _, _, _, _, count, directory_size, _, _ = _END.unpack_from(tail, position)
            start = size_bytes - len(tail) + position - directory_size
            if count > 0 and start >= 0 and read_at(file, start, 4) == _CENTRAL_SIGNATURE:
                return True
        position = tail.rfind(_END_SIGNATURE, start, position)
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
        raise CorruptContent("The archive's directory is malformed.")
    return Archive(tuple(entries), directory_offset, size_bytes)


def check_archive(file: BinaryIO, archive: Archive, *, may_be_encrypted: bool = False) -> None:
    """Reject bombs, encryption, hostile names, links, a prefix and overlapping entries.

    Entries may be encrypted with a password where nothing is read from them.

    Raises:
        CorruptContent: names the first violated rule.
    """
    unpacked = sum(entry.unpacked_size for entry in archive.entries)
    if unpacked > min(_MAX_UNPACKED_BYTES, _MAX_RATIO * archive.size_bytes):
        raise CorruptContent("The archive is too large when unpacked.")
    if len({entry.name.casefold() for entry in archive.entries}) < len(archive.entries):
        raise CorruptContent("The archive has two entries with the same name.")
    for entry in archive.entries:
        if entry.flags & _STRONGLY_ENCRYPTED or (entry.is_encrypted and not may_be_encrypted):
            raise CorruptContent("The archive is encrypted.")
        _check_entry(entry)
    _check_layout(file, archive)


def read_entry(file: BinaryIO, entry: Entry, max_bytes: int) -> bytes:
    """Return the unpacked bytes of an entry of a checked archive.

    Raises:
        CorruptContent: more than `max_bytes`, or not what the directory declares.
    """
    if max(entry.packed_size, entry.unpacked_size) > max_bytes:
        raise CorruptContent("An archive entry is too large.")
    data = read_exactly(file, _data_offset(file, entry), entry.packed_size)
    if entry.method == _DEFLATED:
        try:
            inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            data = inflater.decompress(data, entry.unpacked_size + 1)
        except zlib.error:
            raise CorruptContent("An archive entry cannot be unpacked.") from None
    if len(data) != entry.unpacked_size or zlib.crc32(data) != entry.checksum:
        raise CorruptContent("An archive entry does not match the directory.")
    return data


def unpack_entry(file: BinaryIO, entry: Entry) -> Iterator[bytes]:
    """Yield the unpacked bytes of an entry of a checked archive, in pieces of bounded size.

    Raises:
        CorruptContent: not what the directory declares.
    """
    position = _data_offset(file, entry)
    end = position + entry.packed_size
    inflater = zlib.decompressobj(-zlib.MAX_WBITS) if entry.method == _DEFLATED else None
    size = checksum = 0
    while position < end:
        packed = read_exactly(file, position, min(_PIECE_BYTES, end - position))
        position += len(packed)
        for piece in _inflate(inflater, packed) if inflater else (packed,):
            size += len(piece)
            checksum = zlib.crc32(piece, checksum)
            if size > entry.unpacked_size:
                raise CorruptContent("An archive entry does not match the directory.")
            yield piece
    if size != entry.unpacked_size or checksum != entry.checksum:
        raise CorruptContent("An archive entry does not match the directory.")


def _inflate(inflater: "zlib._Decompress", packed: bytes) -> Iterator[bytes]:
    while packed and not inflater.eof:
        try:
            yield inflater.decompress(packed, _PIECE_BYTES)
        except zlib.error:
            raise CorruptContent("An archive entry cannot be unpacked.") from None
        packed = inflater.unconsumed_tail


def _tail(file: BinaryIO, size_bytes: int) -> bytes:
    reach = _END.size + _MAX_COMMENT_BYTES
    return read_at(file, max(0, size_bytes - reach), reach)


def _find_end(tail: bytes, content: int) -> int | None:
    """Return where the end record starts in the tail; only blanks may follow its comment.

    Args:
        tail: the end of the file, with the padding that belongs to a record.
        content: where in the tail the padding starts.
    """
    position = tail.rfind(_END_SIGNATURE)
    while position >= 0:
        end = position + _END.size
        comment_size = int.from_bytes(tail[end - 2 : end], "little")
        if content <= end + comment_size <= len(tail):
            return position
        position = tail.rfind(_END_SIGNATURE, 0, position)
    return None


def _content_size(file: BinaryIO, size_bytes: int) -> int:
    """Return the length of the file without blanks at its end, which a record may end in."""
    end = size_bytes
    while end > 0:
        start = max(0, end - _MAX_COMMENT_BYTES)
        kept = len(read_at(file, start, end - start).rstrip(_PADDING))
        end = start + kept
        if kept:
            break
    return end


def _read_end(file: BinaryIO, size_bytes: int) -> tuple[int, int, int]:
    """Return the number of entries, and the size and offset of the directory."""
    content = _content_size(file, size_bytes)
    start = max(0, content - _END.size - _MAX_COMMENT_BYTES)
    # The record and its comment may themselves end in zeros.
    tail = read_at(file, start, content - start + _END.size + _MAX_COMMENT_BYTES)
    position = _find_end(tail, content - start)
    if position is None:
        raise CorruptContent("The archive's end record is missing.")
    _, disk, directory_disk, _, *numbers, _ = _END.unpack_from(tail, position)
    end = start + position
    locator = tail[max(0, position - _LOCATOR_64.size) : position]
    if locator.startswith(b"PK\6\7"):
        end = _LOCATOR_64.unpack(locator)[2]
        record = _END_64.unpack(read_exactly(file, end, _END_64.size))
        signature, _, _, _, disk, directory_disk, _, *wide = record
        agrees = all(map(_same_or_too_big, numbers, wide))
        if signature != b"PK\6\6" or not agrees:
            raise CorruptContent("The archive's end record is malformed.")
        numbers = wide
    count, size, offset = numbers
    # If the archive has a prefix, the offsets are wrong.
    if disk or directory_disk or offset + size != end:
        raise CorruptContent(
            "The archive's directory is not at the offset that its end record gives."
        )
    return count, size, offset


def _same_or_too_big(number: int, wide: int) -> bool:
    return number in (wide, 0xFFFF, 0xFFFF_FFFF)


def _parse_entry(directory: bytes, position: int) -> tuple[Entry, int]:
    """Return the entry at `position`, and where the next one starts."""
    fields = directory[position : position + _CENTRAL.size]
    if len(fields) < _CENTRAL.size or not fields.startswith(_CENTRAL_SIGNATURE):
        raise CorruptContent("The archive's directory is malformed.")
    _, _, _, flags, method, _, _, checksum, packed, unpacked, *rest = _CENTRAL.unpack(fields)
    name_size, extra_size, comment_size, _, _, attributes, offset = rest
    name_start = position + _CENTRAL.size
    extra_start = name_start + name_size
    end = extra_start + extra_size + comment_size
    if end > len(directory):
        raise CorruptContent("The archive's directory is malformed.")
    raw_name = directory[name_start:extra_start]
    sizes = [unpacked, packed, offset]
    _fill_from_zip64(sizes, directory[extra_start : extra_start + extra_size])
    return Entry(
        name=_decode_name(raw_name, flags).replace("\\", "/"),
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
        raise CorruptContent("The archive has an entry name that is not UTF-8.") from None


def _fill_from_zip64(sizes: list[int], extra: bytes) -> None:
    """Replace numbers that did not fit with those of the ZIP64 extra field (4.5.3).

    Spreadsheets streamed by Apache POI have this field for small entries too.
    """
    missing = [i for i, size in enumerate(sizes) if size == _IN_ZIP64_FIELD]
    if not missing:
        return
    values = _zip64_field(extra)
    if len(values) < len(missing):
        raise CorruptContent("The archive's directory is malformed.")
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


def _check_entry(entry: Entry) -> None:
    is_aes = entry.is_encrypted and entry.method == _AES
    if not is_aes and entry.method not in (_STORED, _DEFLATED):
        raise CorruptContent("The archive uses an unsupported compression method.")
    if _HOSTILE_NAME.search(entry.name):
        raise CorruptContent("The archive has an unsafe entry name.")
    if stat.S_ISLNK(entry.unix_mode):
        raise CorruptContent("The archive contains a link.")


def _check_layout(file: BinaryIO, archive: Archive) -> None:
    """Check that entries fill the file from the first byte to the directory, without gaps.

    A gap could contain entries that other readers find, or another document.
    """
    end = room = 0
    for entry in sorted(archive.entries, key=attrgetter("offset")):
        if not end <= entry.offset <= end + room:
            raise CorruptContent("The archive's entries overlap or have data between them.")
        end = _data_offset(file, entry) + entry.packed_size
        room = _MAX_DESCRIPTOR_BYTES if entry.flags & _HAS_DESCRIPTOR else 0
    if not end <= archive.directory_offset <= end + room:
        raise CorruptContent("The archive's entries overlap or are followed by other data.")


def _data_offset(file: BinaryIO, entry: Entry) -> int:
    """Return where the entry's data starts; checks its local header against the directory."""
    header = read_exactly(file, entry.offset, _LOCAL.size + len(entry.raw_name))
    signature, _, flags, method, *_, name_size, extra_size = _LOCAL.unpack_from(header)
    same_name = name_size == len(entry.raw_name) and header.endswith(entry.raw_name)
    if signature != b"PK\3\4" or method != entry.method or not same_name:
        raise CorruptContent("An archive entry contradicts the directory.")
    if (flags ^ entry.flags) & (_ENCRYPTED | _STRONGLY_ENCRYPTED):
        raise CorruptContent("An archive entry contradicts the directory.")
    return entry.offset + len(header) + int(extra_size)
