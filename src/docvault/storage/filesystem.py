"""Blobs as files: the default store, for deployments on one machine.

A blob is `<root>/<2 hex>/<customer uuid>/<random>`, 0600 in 0700 folders. The two hex digits are
the last ones of the customer's UUID, since its first ones are a timestamp. The ledger's records
are `<root>/.erasures/<customer>`.
"""

import errno
import os
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from docvault.errors import StorageUnavailable
from docvault.observability.metrics import store_operation
from docvault.storage.base import (
    CHUNK_BYTES,
    IDENTITY,
    OTHER_FOLDERS,
    BlobExists,
    BlobMissing,
    SignedRequest,
    StoredBlob,
    StoreFlaw,
)
from docvault.storage.mounts import is_in_memory
from docvault.storage.threads import run_in_thread

# How far one call in a thread reads ahead. Such a call costs ten times as much as reading a chunk
# from the page cache.
READ_AHEAD_BYTES = 1024 * 1024
# After this time the page cache may have evicted what was read ahead.
READ_AHEAD_SECONDS = 1
SPOOL_FOLDER = ".spool"

_FOLDER = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{10}([0-9a-f]{2})")
_NAME = re.compile(r"[0-9a-f]{32}")
_Result = TypeVar("_Result")


class FilesystemBlobStore:
    """See `BlobStore`. The spool is on the same filesystem, so that a file is stored by a link."""

    supports_presigned_urls = False
    # The spool bounds it.
    write_memory_bytes = 0

    def __init__(self, root: Path) -> None:
        self._root = root
        self.spool_dir = root / SPOOL_FOLDER
        with _map_os_errors():
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.spool_dir.mkdir(mode=0o700, exist_ok=True)

    @store_operation
    async def put(self, key: str, source: Path) -> None:
        """Sync the file, link it to its key, sync the folder."""
        await _run_in_thread(self._put, self._path(key), source)

    @store_operation
    async def open(self, key: str) -> "FileReader":
        """Open the file."""
        return await _run_in_thread(FileReader, self._path(key))

    @store_operation
    async def delete(self, key: str) -> None:
        """Unlink the file, and the folder with the customer's last file."""
        await _run_in_thread(self._delete, self._path(key))

    async def list_blobs(self) -> AsyncIterator[StoredBlob]:
        """Walk the folders one at a time."""
        for folder in await _run_in_thread(self._list_customer_folders):
            for blob in await _run_in_thread(self._list_folder, folder):
                yield blob

    async def list_folder(self, folder: str) -> AsyncIterator[StoredBlob]:
        """List one folder."""
        for blob in await _run_in_thread(self._list_folder, self._folder(folder)):
            yield blob

    @store_operation
    async def abort_stale_uploads(self, older_than: timedelta) -> None:
        """Nothing to abort: crashed writes only leave spool files, which the spool removes."""

    async def presign_put(
        self, key: str, size_bytes: int, sha256: str, seconds: int
    ) -> SignedRequest | None:
        """Not supported."""
        del key, size_bytes, sha256, seconds
        return None

    async def presign_get(
        self, key: str, *, media_type: str, disposition: str, seconds: int
    ) -> str | None:
        """Not supported."""
        del key, media_type, disposition, seconds
        return None

    def relative_path(self, key: str) -> str:
        """Return the blob's path below the root."""
        return self._path(key).relative_to(self._root).as_posix()

    @store_operation
    async def check(self) -> None:
        """Check that the spool is writable."""
        await _run_in_thread(self._check)

    async def find_flaws(self) -> list[StoreFlaw]:
        """Look where the folder is; see `BlobStore`."""
        if not is_in_memory(self._root):
            return []
        return [
            StoreFlaw(
                "it is in memory, and lost with a restart of the machine",
                "choose a folder on a disk (DOCVAULT_STORAGE_URL)",
            )
        ]

    def _path(self, key: str) -> Path:
        folder, _, name = key.partition("/")
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"not a blob key: {key!r}")
        return self._folder(folder) / name

    def _folder(self, name: str) -> Path:
        if name in OTHER_FOLDERS:
            return self._root / name
        match = _FOLDER.fullmatch(name)
        if match is None:
            raise ValueError(f"not a blob key's folder: {name!r}")
        return self._root / match.group(1) / name

    def _put(self, path: Path, source: Path) -> None:
        descriptor = os.open(source, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._link(source, path)
        _sync_folder(path.parent)
        source.unlink()

    def _link(self, source: Path, path: Path) -> None:
        # Unlike a rename, a link never replaces a file. If the customer's last blob is deleted
        # between the two steps, the folder disappears, hence the second try.
        for last_try in (False, True):
            self._create_folder(path.parent)
            try:
                path.hardlink_to(source)
            except FileExistsError:
                raise BlobExists(path.name) from None
            except FileNotFoundError:
                if last_try:
                    raise
            else:
                return

    def _create_folder(self, folder: Path) -> None:
        if folder.is_dir():
            return
        for path in (folder.parent, folder):
            try:
                path.mkdir(mode=0o700)
            except FileExistsError:
                continue
            _sync_folder(path.parent)

    def _delete(self, path: Path) -> None:
        try:
            path.unlink()
            _sync_folder(path.parent)
            path.parent.rmdir()
        except FileNotFoundError:
            # If the whole disk is missing, this is no successful deletion.
            self._check()
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise

    def _list_customer_folders(self) -> list[Path]:
        others = {SPOOL_FOLDER, *OTHER_FOLDERS}
        shards = [p for p in self._root.iterdir() if p.is_dir() and p.name not in others]
        return [folder for shard in shards for folder in shard.iterdir() if folder.is_dir()]

    def _list_folder(self, folder: Path) -> list[StoredBlob]:
        blobs = []
        try:
            for entry in os.scandir(folder):
                stat = entry.stat()
                key = f"{folder.name}/{entry.name}"
                blobs.append(StoredBlob(key, stat.st_size, stat.st_mtime))
        except FileNotFoundError:
            pass  # deleted meanwhile
        return blobs

    def _check(self) -> None:
        if not os.access(self.spool_dir, os.W_OK | os.X_OK):
            raise OSError(errno.EACCES, "the spool is not writable")


class FileReader:
    """An open file; see `BlobReader`. An unlinked file stays readable while it is open."""

    sha256: str | None = None
    content_encoding = IDENTITY

    def __init__(self, path: Path) -> None:
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise BlobMissing from None
        self.size_bytes = os.fstat(self._descriptor).st_size

    async def chunks(self, start: int, length: int) -> AsyncGenerator[bytes, None]:
        """Read ahead into the page cache in a thread, then read chunks from there in place.

        So a reader holds only one chunk, and needs one call in a thread for `READ_AHEAD_BYTES`.
        See `BlobReader`.
        """
        end = start + length
        cached_until, expires_at = start, 0.0
        while start < end:
            size = min(CHUNK_BYTES, end - start)
            if start + size <= cached_until and time.monotonic() < expires_at:
                with _map_os_errors():
                    chunk = os.pread(self._descriptor, size, start)
            else:
                cached_until = min(start + READ_AHEAD_BYTES, end)
                chunk = await _run_in_thread(self._read_ahead, size, start, cached_until)
                expires_at = time.monotonic() + READ_AHEAD_SECONDS
            if not chunk:
                raise StorageUnavailable("The stored file is truncated.")
            start += len(chunk)
            yield chunk

    async def close(self) -> None:
        """Close the file; see `BlobReader`."""
        os.close(self._descriptor)

    def _read_ahead(self, size: int, start: int, until: int) -> bytes:
        """Return the first chunk; read what follows into the page cache and discard it."""
        chunk = os.pread(self._descriptor, size, start)
        for position in range(start + size, until, CHUNK_BYTES):
            os.pread(self._descriptor, min(CHUNK_BYTES, until - position), position)
        return chunk


def _sync_folder(folder: Path) -> None:
    """Make added and removed entries of the folder survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _map_os_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageUnavailable(cause=error.strerror) from error


async def _run_in_thread(function: Callable[..., _Result], *args: object) -> _Result:
    with _map_os_errors():
        return await run_in_thread(function, *args)
