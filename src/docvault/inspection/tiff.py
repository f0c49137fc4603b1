"""TIFF: the number of pages (TIFF 6.0, section 2; also BigTIFF)."""

import struct
from dataclasses import dataclass
from typing import BinaryIO

from docvault.inspection.result import read_at

_MAX_PAGES = 10_000
# Programs write directories in order, and move one that they change to the end. Each step back may
# cost a block of a remote file.
_MAX_STEPS_BACK = 50


@dataclass(frozen=True, slots=True)
class _Format:
    """How directories are linked: formats of the number of entries and of an offset."""

    count: struct.Struct
    offset: struct.Struct
    entry_bytes: int


def count_pages(file: BinaryIO) -> int | None:
    """Return the number of directories; None if there are too many to follow."""
    head = read_at(file, 0, 16)
    order = "<" if head.startswith(b"II") else ">"
    if b"+" in head[2:4]:
        layout, first = (
            _Format(struct.Struct(order + "Q"), struct.Struct(order + "Q"), 20),
            head[8:],
        )
    else:
        layout, first = (
            _Format(struct.Struct(order + "H"), struct.Struct(order + "L"), 12),
            head[4:8],
        )
    return _follow(file, layout, layout.offset.unpack(first)[0])


def _follow(file: BinaryIO, layout: _Format, position: int) -> int | None:
    seen: set[int] = set()
    steps_back = 0
    while position and position not in seen:
        seen.add(position)
        following = _find_next(file, layout, position)
        steps_back += following < position
        if len(seen) > _MAX_PAGES or steps_back > _MAX_STEPS_BACK:
            return None
        position = following
    return len(seen)


def _find_next(file: BinaryIO, layout: _Format, position: int) -> int:
    """Return where the next directory is; 0 if there is none, or if this one is cut off."""
    count = read_at(file, position, layout.count.size)
    if len(count) < layout.count.size:
        return 0
    entries_bytes = layout.count.unpack(count)[0] * layout.entry_bytes
    link = read_at(file, position + len(count) + entries_bytes, layout.offset.size)
    return int(layout.offset.unpack(link)[0]) if len(link) == layout.offset.size else 0
