"""Single byte ranges (RFC 9110, section 14)."""

import re
from dataclasses import dataclass

from docvault.errors import RangeNotSatisfiable

_RANGE = re.compile(r"bytes[ \t]*=[ \t]*(\d{0,19})-(\d{0,19})[ \t]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """`length` bytes from `start`."""

    start: int
    length: int

    def content_range(self, size: int) -> str:
        """Return the Content-Range header for a file of `size` bytes."""
        return f"bytes {self.start}-{self.start + self.length - 1}/{size}"


def parse_range(value: str | None, size: int) -> ByteRange | None:
    """Return the range of a Range header, None for the complete file.

    A header that is not a byte range is ignored, as the RFC requires. Raises
    `RangeNotSatisfiable` for more than one range or one outside the file.
    """
    if value is None or not value.strip().lower().startswith("bytes"):
        return None
    if "," in value:
        raise _not_satisfiable(size)
    match = _RANGE.fullmatch(value.strip())
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:
        length = min(int(last), size)
        found = ByteRange(size - length, length)
    else:
        end = min(int(last), size - 1) if last else size - 1
        if last and int(last) < int(first):
            return None
        found = ByteRange(int(first), end - int(first) + 1)
    if found.length <= 0 or found.start >= size:
        raise _not_satisfiable(size)
    return found


def _not_satisfiable(size: int) -> RangeNotSatisfiable:
    return RangeNotSatisfiable(headers={"Content-Range": f"bytes */{size}"})
