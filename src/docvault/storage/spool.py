"""Where an upload waits while it is read, hashed and checked (D1 step b)."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from docvault.errors import StorageUnavailable
from docvault.storage.threads import in_thread

# Hashing and writing go to a thread in batches of this size; a hop costs about as much as
# hashing 50 KiB, so smaller bodies are done in place.
BATCH_BYTES = 1024 * 1024

_LOCK_NAME = ".lock"


class Spool:
    """This process's own folder of files in transit.

    The folder is locked for as long as the process lives, so that another process can tell
    what was left behind by a kill and remove it.
    """

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        try:
            self._folder, self._lock = _new_locked_folder(parent)
        except OSError as error:
            raise StorageUnavailable from error

    def create(self) -> "SpoolFile":
        """Return a new, empty file."""
        try:
            return SpoolFile(self._folder / uuid4().hex)
        except OSError as error:
            raise StorageUnavailable from error

    def remove_leftovers(self) -> int:
        """Remove the folders of processes that are gone; return how many."""
        removed = 0
        for folder in self._parent.iterdir():
            if folder == self._folder or not folder.is_dir():
                continue
            lock = _lock_folder(folder)
            if lock is None:
                continue
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)
            removed += 1
        return removed

    def close(self) -> None:
        """Remove this process's folder."""
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._lock)


class SpoolFile:
    """A file being received: counted and hashed while it is written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size_bytes = 0
        self._hash = hashlib.sha256()
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._file: BinaryIO = path.open("xb", buffering=0)
        path.chmod(0o600)

    @property
    def sha256(self) -> str:
        """The SHA-256 of what was written, in hexadecimal; final after `finish`."""
        return self._hash.hexdigest()

    async def write(self, data: bytes) -> None:
        """Append bytes."""
        self.size_bytes += len(data)
        self._pending.append(data)
        self._pending_bytes += len(data)
        if self._pending_bytes >= BATCH_BYTES:
            await self._flush(blocks=True)

    async def finish(self) -> None:
        """Write what is left and close the file."""
        await self._flush(blocks=self._pending_bytes >= BATCH_BYTES // 2)
        self._file.close()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield what was written, a mebibyte at a time; only once it is finished."""
        for start in range(0, self.size_bytes, BATCH_BYTES):
            yield await self._read(start)

    def discard(self) -> None:
        """Close and remove the file, unless the store has taken it."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    async def _flush(self, *, blocks: bool) -> None:
        batch = b"".join(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        try:
            if blocks:
                await in_thread(self._append, batch)
            else:
                self._append(batch)
        except OSError as error:
            raise StorageUnavailable from error

    async def _read(self, start: int) -> bytes:
        try:
            if self.size_bytes >= BATCH_BYTES // 2:
                return await in_thread(self._read_batch, start)
            return self._read_batch(start)
        except OSError as error:
            raise StorageUnavailable from error

    def _read_batch(self, start: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(BATCH_BYTES)

    def _append(self, batch: bytes) -> None:
        self._hash.update(batch)
        view = memoryview(batch)
        while view:
            view = view[self._file.write(view) :]


def _new_locked_folder(parent: Path) -> tuple[Path, int]:
    # A process that clears leftovers may lock the new folder first; then make another.
    while True:
        folder = parent / uuid4().hex
        folder.mkdir(mode=0o700, parents=True)
        lock = _lock_folder(folder)
        if lock is not None:
            return folder, lock


def _lock_folder(folder: Path) -> int | None:
    """Return the descriptor that holds the folder's lock, or None when another process does."""
    try:
        descriptor = os.open(folder / _LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
