"""Looking at stored bytes without fetching them all."""

import asyncio
import hashlib
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

from docvault.rules.content import Content
from docvault.rules.media_types import inspect_content
from docvault.storage.base import BlobReader

BLOCK_BYTES = 1024 * 1024
BLOCKS_KEPT = 8
BLOCK_SECONDS = 60

# Threads of their own: these wait for reads that may need a thread of the common pool, and
# would take the last one from them.
_INSPECTORS = ThreadPoolExecutor(max_workers=4, thread_name_prefix="inspect")


async def inspect_stored(reader: BlobReader, filename: str) -> Content:
    """Decide what stored bytes are, fetching only what the rules look at.

    Raises as `inspect_content` does, and `StorageUnavailable`.
    """
    loop = asyncio.get_running_loop()

    def read_block(number: int) -> bytes:
        block = asyncio.run_coroutine_threadsafe(_read_block(reader, number), loop)
        return block.result(BLOCK_SECONDS)

    def inspect() -> Content:
        file = io.BufferedReader(RangedFile(read_block, reader.size_bytes))
        return inspect_content(file, reader.size_bytes, filename)

    return await loop.run_in_executor(_INSPECTORS, inspect)


async def digest_of(reader: BlobReader) -> str:
    """Return the SHA-256 of stored bytes, from the store when it has checked it itself."""
    if reader.sha256 is not None:
        return reader.sha256
    digest = hashlib.sha256()
    async for chunk in reader.chunks(0, reader.size_bytes):
        digest.update(chunk)
    return digest.hexdigest()


async def _read_block(reader: BlobReader, number: int) -> bytes:
    start = number * BLOCK_BYTES
    length = min(BLOCK_BYTES, reader.size_bytes - start)
    return b"".join([chunk async for chunk in reader.chunks(start, length)])


class RangedFile(io.RawIOBase):
    """A seekable file over numbered blocks, the last few of which are kept."""

    def __init__(self, read_block: Callable[[int], bytes], size_bytes: int) -> None:
        self._read_block = lru_cache(BLOCKS_KEPT)(read_block)
        self._size_bytes = size_bytes
        self._position = 0

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that its position can be set."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position, also beyond the end."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size_bytes}
        self._position = max(0, base[whence] + offset)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read up to the end of the block the position is in; 0 at the end of the file."""
        if self._position >= self._size_bytes:
            return 0
        number, start = divmod(self._position, BLOCK_BYTES)
        data = self._read_block(number)[start : start + len(buffer)]
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
