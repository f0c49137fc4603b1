"""Blobs as files: the default when trying docvault out, and good for one machine.

A blob is `<root>/<2 hex>/<customer uuid>/<random>`, 0600 in 0700 folders. The two hex digits
are the last of the customer's UUID, for its first ones are a clock. The ledger's records are
`<root>/.erasures/<customer>`.
"""

import errno
import os
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from docvault.errors import StorageUnavailable
from docvault.metrics import store_operation
from docvault.storage.base import (
    LEDGER_FOLDER,
    BlobExists,
    BlobMissing,
    SignedRequest,
    StoredBlob,
)
from docvault.storage.threads import in_thread

READ_BYTES = 1024 * 1024
SPOOL_FOLDER = ".spool"

_FOLDER = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{10}([0-9a-f]{2})")
_NAME = re.compile(r"[0-9a-f]{32}")
_Result = TypeVar("_Result")


class FilesystemBlobStore:
    """See `BlobStore`. The spool is on the same filesystem, so that storing is a link."""

    signs_requests = False

    def __init__(self, root: Path) -> None:
        self._root = root
        self.spool_dir = root / SPOOL_FOLDER
        with _unavailable_on_os_error():
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.spool_dir.mkdir(mode=0o700, exist_ok=True)

    @store_operation
    async def put(self, key: str, source: Path) -> None:
        """Flush the file, link it to its name, flush the folder; see `BlobStore`."""
        await _in_thread(self._put, self._path(key), source)

    @store_operation
    async def open(self, key: str) -> "FileReader":
        """Open the file; see `BlobStore`."""
        return await _in_thread(FileReader, self._path(key))

    @store_operation
    async def delete(self, key: str) -> None:
        """Unlink the file and, when it was the customer's last, the folder; see `BlobStore`."""
        await _in_thread(self._delete, self._path(key))

    async def list_blobs(self) -> AsyncIterator[StoredBlob]:
        """Walk the folders one at a time; see `BlobStore`."""
        for folder in await _in_thread(self._customer_folders):
            for blob in await _in_thread(self._folder_blobs, folder):
                yield blob

    async def list_folder(self, folder: str) -> AsyncIterator[StoredBlob]:
        """Look into one folder; see `BlobStore`."""
        for blob in await _in_thread(self._folder_blobs, self._folder(folder)):
            yield blob

    @store_operation
    async def abort_stale_uploads(self, older_than: timedelta) -> None:
        """Writes leave nothing behind but spool files, which the spool removes."""

    async def presign_put(
        self, key: str, size_bytes: int, sha256: str, seconds: int
    ) -> SignedRequest | None:
        """Files have no clients of their own; see `BlobStore`."""
        del key, size_bytes, sha256, seconds
        return None

    async def presign_get(
        self, key: str, *, media_type: str, disposition: str, seconds: int
    ) -> str | None:
        """Files have no clients of their own; see `BlobStore`."""
        del key, media_type, disposition, seconds
        return None

    def relative_path(self, key: str) -> str:
        """Return the path below the root; see `BlobStore`."""
        return self._path(key).relative_to(self._root).as_posix()

    @store_operation
    async def check(self) -> None:
        """Look whether the spool can be written; see `BlobStore`."""
        await _in_thread(self._check)

    def _path(self, key: str) -> Path:
        folder, _, name = key.partition("/")
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"not a blob key: {key!r}")
        return self._folder(folder) / name

    def _folder(self, name: str) -> Path:
        if name == LEDGER_FOLDER:
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
        _flush_folder(path.parent)
        source.unlink()

    def _link(self, source: Path, path: Path) -> None:
        # A link never replaces, unlike a rename. The folder can vanish between the two steps
        # when the customer's last blob is deleted at this moment, hence the second try.
        for last_try in (False, True):
            self._make_folder(path.parent)
            try:
                path.hardlink_to(source)
            except FileExistsError:
                raise BlobExists(path.name) from None
            except FileNotFoundError:
                if last_try:
                    raise
            else:
                return

    def _make_folder(self, folder: Path) -> None:
        if folder.is_dir():
            return
        for path in (folder.parent, folder):
            try:
                path.mkdir(mode=0o700)
            except FileExistsError:
                continue
            _flush_folder(path.parent)

    def _delete(self, path: Path) -> None:
        try:
            path.unlink()
            _flush_folder(path.parent)
            path.parent.rmdir()
        except FileNotFoundError:
            # Where the whole disk is missing, nothing has been deleted.
            self._check()
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise

    def _customer_folders(self) -> list[Path]:
        others = {SPOOL_FOLDER, LEDGER_FOLDER}
        shards = [p for p in self._root.iterdir() if p.is_dir() and p.name not in others]
        return [folder for shard in shards for folder in shard.iterdir() if folder.is_dir()]

    def _folder_blobs(self, folder: Path) -> list[StoredBlob]:
        blobs = []
        try:
            for entry in os.scandir(folder):
                stat = entry.stat()
                key = f"{folder.name}/{entry.name}"
                blobs.append(StoredBlob(key, stat.st_size, stat.st_mtime))
        except FileNotFoundError:
            pass  # deleted while we looked
        return blobs

    def _check(self) -> None:
        if not os.access(self.spool_dir, os.W_OK | os.X_OK):
            raise OSError(errno.EACCES, "the spool cannot be written")


class FileReader:
    """An open file; see `BlobReader`. An unlinked file stays readable while it is open."""

    sha256: str | None = None

    def __init__(self, path: Path) -> None:
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise BlobMissing from None
        self.size_bytes = os.fstat(self._descriptor).st_size

    async def chunks(self, start: int, length: int) -> AsyncIterator[bytes]:
        """Read a mebibyte at a time, each in one hop to a thread; see `BlobReader`."""
        end = start + length
        while start < end:
            chunk = await _in_thread(
                os.pread, self._descriptor, min(READ_BYTES, end - start), start
            )
            if not chunk:
                raise StorageUnavailable("The stored file ends too early.")
            start += len(chunk)
            yield chunk

    async def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def _flush_folder(folder: Path) -> None:
    """Make a new or removed name in the folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _unavailable_on_os_error() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageUnavailable from error


async def _in_thread(function: Callable[..., _Result], *args: object) -> _Result:
    with _unavailable_on_os_error():
        return await in_thread(function, *args)
