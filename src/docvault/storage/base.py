"""The blob store contract: what every backend promises."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

# Beside the customers' folders: what must outlive the database (decision 0023). No blob is here.
LEDGER_FOLDER = ".erasures"


class BlobMissing(Exception):
    """There are no bytes under this key."""


class BlobExists(Exception):
    """There are bytes under this key already; they were left alone."""


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """One entry of a listing: key, size in bytes and POSIX time of writing."""

    key: str
    size_bytes: int
    written_at: float


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request that whoever holds it may make of the store, for a while.

    `headers` are part of what is signed: they have to be sent as they are.
    """

    url: str
    headers: dict[str, str]


class BlobReader(Protocol):
    """An open blob. Once reading has begun it goes on to the end, deleted or not.

    `sha256` is the digest (hexadecimal) that the backend itself checked when the bytes came in;
    None when it keeps none.
    """

    size_bytes: int
    sha256: str | None

    def chunks(self, start: int, length: int) -> AsyncIterator[bytes]:
        """Yield `length` bytes from `start`; raises `StorageUnavailable` when they do not come."""
        ...

    async def close(self) -> None:
        """Release what is held open."""
        ...


class BlobStore(Protocol):
    """Bytes under keys of the form `<customer uuid>/<random>`, both hexadecimal.

    In the ledger's folder the second part names the record. Every method raises
    `StorageUnavailable` when the backend fails.
    """

    spool_dir: Path
    # Whether clients can be given requests to the store itself; we cannot take those back.
    signs_requests: bool

    async def put(self, key: str, source: Path) -> None:
        """Store the file's bytes durably; raises `BlobExists` rather than replace any.

        May move the file away. When this returns the bytes survive a power cut.
        """
        ...

    async def open(self, key: str) -> BlobReader:
        """Open for reading; raises `BlobMissing`."""
        ...

    async def delete(self, key: str) -> None:
        """Delete the bytes; nothing under the key is as good as deleted."""
        ...

    def list_blobs(self) -> AsyncIterator[StoredBlob]:
        """Yield every blob that is stored, in no order; the ledger has none."""
        ...

    def list_folder(self, folder: str) -> AsyncIterator[StoredBlob]:
        """Yield what is under the keys that begin with `<folder>/`, in no order."""
        ...

    async def abort_stale_uploads(self, older_than: timedelta) -> None:
        """Remove what crashed writes left behind, where a backend has such a thing."""
        ...

    async def presign_put(
        self, key: str, size_bytes: int, sha256: str, seconds: int
    ) -> SignedRequest | None:
        """Return a PUT of exactly these bytes, once, for a client of the store itself.

        None when the backend has no clients of its own (`signs_requests`).
        """
        ...

    async def presign_get(
        self, key: str, *, media_type: str, disposition: str, seconds: int
    ) -> str | None:
        """Return a URL under which a client of the store gets these bytes, with these headers.

        None when the backend has no clients of its own.
        """
        ...

    def relative_path(self, key: str) -> str | None:
        """Return where below its root the backend keeps the bytes as a file, None elsewhere."""
        ...

    async def check(self) -> None:
        """Raise `StorageUnavailable` unless the backend can take and give bytes now."""
        ...
