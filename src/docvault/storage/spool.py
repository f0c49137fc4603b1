"""The spool: files being received, hashed and inspected before they are stored (D1, step b)."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from docvault.errors import StorageUnavailable
from docvault.process_directory import ProcessDirectory
from docvault.storage.threads import run_in_thread

# Batches of this size are hashed and written in a thread. Starting that costs about as much as
# hashing 50 KiB, so less than half a batch is handled in place.
BATCH_BYTES = 1024 * 1024


class Spool:
    """This process's own folder of files being received."""

    def __init__(self, parent: Path) -> None:
        try:
            self._directory = ProcessDirectory(parent)
        except OSError as error:
            raise StorageUnavailable from error
        self._folder = self._directory.path

    @property
    def folder(self) -> Path:
        """The folder of this process."""
        return self._folder

    def create(self) -> "SpoolFile":
        """Create an empty file."""
        try:
            return SpoolFile(self._folder / uuid4().hex)
        except OSError as error:
            raise StorageUnavailable from error

    def remove_leftovers(self) -> int:
        """Remove the folders of dead processes; return how many."""
        return self._directory.remove_leftovers()

    def close(self) -> None:
        """Remove this process's folder."""
        self._directory.close()


class SpoolFile:
    """A file being received; its size and digest are computed while it is written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size_bytes = 0
        self._hash = hashlib.sha256()
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._writing: asyncio.Future[None] | None = None
        self._file: BinaryIO = path.open("xb", buffering=0)
        path.chmod(0o600)

    @property
    def sha256(self) -> str:
        """The SHA-256 of the content in hexadecimal; final after `finish`."""
        return self._hash.hexdigest()

    async def write(self, data: bytes) -> None:
        """Append bytes; while one batch is hashed and written, the next one is collected."""
        self.size_bytes += len(data)
        self._pending.append(data)
        self._pending_bytes += len(data)
        if self._pending_bytes >= BATCH_BYTES:
            await self._wait_for_write()
            self._write_in_thread()

    async def finish(self) -> None:
        """Write what is left and close the file."""
        await self._wait_for_write()
        if self._pending_bytes >= BATCH_BYTES // 2:
            self._write_in_thread()
            await self._wait_for_write()
        else:
            try:
                self._append(self._take_pending())
            except OSError as error:
                raise StorageUnavailable from error
        self._file.close()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the content, one mebibyte at a time; call `finish` first."""
        for start in range(0, self.size_bytes, BATCH_BYTES):
            yield await self._read(start)

    def discard(self) -> None:
        """Close and remove the file; does nothing if the store has moved it."""
        if self._writing is None:
            self._file.close()
        elif self._writing.done():
            self._close_after(self._writing)
        else:
            # The thread still uses the descriptor; see `run_in_thread`.
            self._writing.add_done_callback(self._close_after)
        self.path.unlink(missing_ok=True)

    def _close_after(self, writing: "asyncio.Future[None]") -> None:
        # Retrieved, so that asyncio does not log an exception that no longer matters.
        writing.exception()
        self._file.close()

    def _write_in_thread(self) -> None:
        loop = asyncio.get_running_loop()
        # Not a task: cancelling all tasks must not make it look as if the thread had ended.
        self._writing = loop.run_in_executor(None, self._append, self._take_pending())

    def _take_pending(self) -> list[bytes]:
        batch, self._pending, self._pending_bytes = self._pending, [], 0
        return batch

    async def _wait_for_write(self) -> None:
        if self._writing is None:
            return
        try:
            await asyncio.shield(self._writing)
        except OSError as error:
            raise StorageUnavailable from error
        self._writing = None

    async def _read(self, start: int) -> bytes:
        try:
            if self.size_bytes >= BATCH_BYTES // 2:
                return await run_in_thread(self._read_batch, start)
            return self._read_batch(start)
        except OSError as error:
            raise StorageUnavailable from error

    def _read_batch(self, start: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(BATCH_BYTES)

    def _append(self, pieces: list[bytes]) -> None:
        batch = b"".join(pieces)
        self._hash.update(batch)
        view = memoryview(batch)
        while view:
            view = view[self._file.write(view) :]
