"""Inspecting stored bytes without downloading all of them."""

import hashlib
from uuid import UUID

from docvault.inspection.pool import Inspectors
from docvault.inspection.ranged_file import BLOCK_BYTES
from docvault.inspection.result import Content
from docvault.storage.base import BlobReader


async def inspect_stored(
    inspectors: Inspectors, customer_id: UUID, reader: BlobReader, filename: str
) -> Content:
    """Detect the content of stored bytes, downloading only the blocks that inspection reads.

    Raises as `Inspectors.inspect_blocks` does, and `StorageUnavailable`.
    """

    async def read_block(number: int) -> bytes:
        start = number * BLOCK_BYTES
        length = min(BLOCK_BYTES, reader.size_bytes - start)
        return b"".join([chunk async for chunk in reader.chunks(start, length)])

    return await inspectors.inspect_blocks(customer_id, read_block, reader.size_bytes, filename)


async def digest_of(reader: BlobReader) -> str:
    """Return the SHA-256 of stored bytes, from the store if it has verified one."""
    if reader.sha256 is not None:
        return reader.sha256
    digest = hashlib.sha256()
    async for chunk in reader.chunks(0, reader.size_bytes):
        digest.update(chunk)
    return digest.hexdigest()
