"""One docvault at a time on a data directory."""

import fcntl
import os
from pathlib import Path
from types import TracebackType


class DataDirInUse(Exception):
    """Another docvault runs on this data directory; `pid` is its process id when it is known."""

    def __init__(self, data_dir: Path, pid: str) -> None:
        self.pid = pid
        where = f" (process {pid})" if pid else ""
        super().__init__(f"docvault is already running on {data_dir}{where}")


class DataDirLock:
    """Holds the data directory until it is released or the process ends.

    The kernel lets go of the lock when the process dies, so a file that was left behind by a
    kill locks nobody out.
    """

    def __init__(self, data_dir: Path) -> None:
        # Everything inside is for its owner alone; the folder itself can be passed through, for
        # PostgreSQL's unprivileged account when docvault runs as root.
        data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._descriptor = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pid = os.read(self._descriptor, 20).decode(errors="replace").strip()
            os.close(self._descriptor)
            raise DataDirInUse(data_dir, pid) from None
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, str(os.getpid()).encode())

    def __enter__(self) -> "DataDirLock":
        """Nothing more to do: making it took the lock."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go."""
        os.close(self._descriptor)
