"""Blobs in memory: for unit tests that are not about storing."""

import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

from docvault.storage.base import (
    LEDGER_FOLDER,
    BlobExists,
    BlobMissing,
    SignedRequest,
    StoredBlob,
)


class MemoryBlobStore:
    """See `BlobStore`; durable for as long as the object lives."""

    signs_requests = False

    def __init__(self, spool_dir: Path) -> None:
        self.spool_dir = spool_dir
        self._blobs: dict[str, tuple[bytes, float]] = {}

    async def put(self, key: str, source: Path) -> None:
        """Keep the bytes; see `BlobStore`."""
        if key in self._blobs:
            raise BlobExists(key)
        self._blobs[key] = (source.read_bytes(), time.time())  # noqa: ASYNC240 - tests only
        source.unlink()  # noqa: ASYNC240 - tests only

    async def open(self, key: str) -> "MemoryReader":
        """Return a reader of the bytes; see `BlobStore`."""
        try:
            return MemoryReader(self._blobs[key][0])
        except KeyError:
            raise BlobMissing(key) from None

    async def delete(self, key: str) -> None:
        """Forget the bytes; see `BlobStore`."""
        self._blobs.pop(key, None)

    async def list_blobs(self) -> AsyncIterator[StoredBlob]:
        """Yield every blob; see `BlobStore`."""
        for blob in self._below(""):
            if not blob.key.startswith(f"{LEDGER_FOLDER}/"):
                yield blob

    async def list_folder(self, folder: str) -> AsyncIterator[StoredBlob]:
        """Yield what is in one folder; see `BlobStore`."""
        for blob in self._below(f"{folder}/"):
            yield blob

    def _below(self, prefix: str) -> list[StoredBlob]:
        return [
            StoredBlob(key, len(body), written_at)
            for key, (body, written_at) in self._blobs.items()
            if key.startswith(prefix)
        ]

    async def abort_stale_uploads(self, older_than: timedelta) -> None:
        """Writes leave nothing behind but spool files, which the spool removes."""

    async def presign_put(
        self, key: str, size_bytes: int, sha256: str, seconds: int
    ) -> SignedRequest | None:
        """Memory has no clients of its own; see `BlobStore`."""
        del key, size_bytes, sha256, seconds
        return None

    async def presign_get(
        self, key: str, *, media_type: str, disposition: str, seconds: int
    ) -> str | None:
        """Bytes in memory have no clients of their own; see `BlobStore`."""
        del key, media_type, disposition, seconds
        return None

    def relative_path(self, key: str) -> str | None:
        """Memory has no files; see `BlobStore`."""
        del key
        return None

    async def check(self) -> None:
        """Memory is always there."""


class MemoryReader:
    """See `BlobReader`."""

    sha256: str | None = None

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.size_bytes = len(body)

    async def chunks(self, start: int, length: int) -> AsyncIterator[bytes]:
        """Yield the bytes in one piece; see `BlobReader`."""
        yield self._body[start : start + length]

    async def close(self) -> None:
        """Nothing is held open."""
