"""The contract of blob stores."""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

# The folder of the erasure ledger, which must outlive the database (decision 0023). Has no blobs.
LEDGER_FOLDER = ".erasures"
# The folder that records the last position of the event log (decision 0088). No blobs, either.
EVENTS_FOLDER = ".events"
# Where checks write, read and delete. What a killed process leaves there, the next check deletes.
PROBE_FOLDER = ".probes"
OTHER_FOLDERS = frozenset({LEDGER_FOLDER, EVENTS_FOLDER, PROBE_FOLDER})
# The content coding of bytes without any encoding (RFC 9110, section 12.5.3).
IDENTITY = "identity"
# The largest chunk a reader yields. A slow download holds one chunk and at most 64 KiB in its
# connection's buffer: 256 KiB together.
CHUNK_BYTES = 192 * 1024


class BlobMissing(Exception):
    """There are no bytes under this key."""


class BlobExists(Exception):
    """There already are bytes under this key; they were not changed."""


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """One entry of a listing: key, size in bytes and POSIX time of writing."""

    key: str
    size_bytes: int
    written_at: float


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A presigned request to the store; whoever has it may send it until it expires.

    `headers` are signed and must be sent unchanged.
    """

    url: str
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class StoreFlaw:
    """What a backend does not do as it should, and what to do about it."""

    problem: str
    advice: str


class BlobReader(Protocol):
    """An open blob. A read that has begun can be finished even if the blob is deleted.

    `sha256` is the digest (hexadecimal) that the backend itself verified when the bytes were
    written, or None if it keeps none. `content_encoding` is the header the backend sends to its
    own clients: with anything but `IDENTITY` they would decode the bytes to something else.
    """

    size_bytes: int
    sha256: str | None
    content_encoding: str

    def chunks(self, start: int, length: int) -> AsyncGenerator[bytes, None]:
        """Yield `length` bytes from `start` in chunks of at most `CHUNK_BYTES`.

        Raises `StorageUnavailable` if they cannot be read.
        """
        ...

    async def close(self) -> None:
        """Release the open file or connection."""
        ...


class BlobStore(Protocol):
    """Bytes under keys of the form `<customer uuid>/<random>`, both hexadecimal.

    In the ledger's folder the second part is the name of a record. Every method raises
    `StorageUnavailable` if the backend fails.
    """

    spool_dir: Path
    # Presigned URLs cannot be revoked.
    supports_presigned_urls: bool
    # How much memory of a process its writes may take at once.
    write_memory_bytes: int

    async def put(self, key: str, source: Path) -> None:
        """Store the file's bytes durably; raises `BlobExists` instead of replacing any.

        May move the file away. After it returns, the bytes survive a power failure.
        """
        ...

    async def open(self, key: str) -> BlobReader:
        """Open for reading; raises `BlobMissing`."""
        ...

    async def delete(self, key: str) -> None:
        """Delete the bytes; it is no error if there are none."""
        ...

    def list_blobs(self) -> AsyncIterator[StoredBlob]:
        """Yield every stored blob in no particular order; records of the ledger are not blobs."""
        ...

    def list_folder(self, folder: str) -> AsyncIterator[StoredBlob]:
        """Yield everything whose key begins with `<folder>/`, in no particular order."""
        ...

    async def abort_stale_uploads(self, older_than: timedelta) -> None:
        """Abort multipart uploads that crashed writes left behind, if the backend has any."""
        ...

    async def presign_put(
        self, key: str, size_bytes: int, sha256: str, seconds: int
    ) -> SignedRequest | None:
        """Return a presigned PUT of exactly these bytes that works once.

        None if the store does not support presigned URLs.
        """
        ...

    async def presign_get(
        self, key: str, *, media_type: str, disposition: str, seconds: int
    ) -> str | None:
        """Return a presigned URL of the bytes, served with these headers.

        None if the store does not support presigned URLs.
        """
        ...

    def relative_path(self, key: str) -> str | None:
        """Return the path of the blob's file below the store's root; None if it has no files."""
        ...

    async def check(self) -> None:
        """Raise `StorageUnavailable` unless the backend can be read and written now."""
        ...

    async def find_flaws(self) -> list[StoreFlaw]:
        """Return what this kind of backend may not do: some behave differently, none fails."""
        ...
