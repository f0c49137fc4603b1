"""Folders of a single process, locked so that leftovers of killed processes can be removed."""

import fcntl
import os
import shutil
import stat
from pathlib import Path
from uuid import uuid4

_LOCK_NAME = ".lock"


class ProcessDirectory:
    """A new folder below a parent, locked for as long as this process lives.

    Raises `OSError` if it cannot be created.
    """

    def __init__(self, parent: Path, prefix: str = "") -> None:
        self._parent = parent
        self._prefix = prefix
        # A process that removes leftovers may lock the new folder first; then create another.
        while True:
            self.path = parent / f"{prefix}{uuid4().hex}"
            self.path.mkdir(mode=0o700, parents=True)
            lock = _lock_folder(self.path)
            if lock is not None:
                self._lock = lock
                return

    def remove_leftovers(self) -> int:
        """Remove the folders of dead processes; return how many."""
        removed = 0
        for folder in self._parent.glob(f"{self._prefix}*"):
            if folder == self.path or not _belongs_to_us(folder):
                continue
            lock = _lock_folder(folder)
            if lock is None:
                continue
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)
            removed += 1
        return removed

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _belongs_to_us(folder: Path) -> bool:
    """Check whether it is a folder of this account: in a shared parent others can plant links."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def _lock_folder(folder: Path) -> int | None:
    """Return the descriptor that holds the folder's lock, or None if another process has it."""
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
