"""A remote file that is read in blocks."""

import io
from collections.abc import Callable
from functools import lru_cache

BLOCK_BYTES = 1024 * 1024
BLOCKS_KEPT = 8


class RangedFile(io.RawIOBase):
    """A seekable file over numbered blocks; caches the last few."""

    def __init__(self, read_block: Callable[[int], bytes], size_bytes: int) -> None:
        self._read_block = lru_cache(BLOCKS_KEPT)(read_block)
        self._size_bytes = size_bytes
        self._position = 0

    def readable(self) -> bool:
        """See `io.IOBase`."""
        return True

    def seekable(self) -> bool:
        """See `io.IOBase`."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See `io.IOBase`; the position may be beyond the end."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size_bytes}
        self._position = max(0, base[whence] + offset)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read up to the end of the current block; return 0 at the end of the file."""
        if self._position >= self._size_bytes:
            return 0
        number, start = divmod(self._position, BLOCK_BYTES)
        data = self._read_block(number)[start : start + len(buffer)]
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
