"""The lock that keeps two docvaults off the same data directory."""

import fcntl
import os
from pathlib import Path
from types import TracebackType


class DataDirInUse(Exception):
    """Another docvault runs on this data directory; `pid` is its process id, if known."""

    def __init__(self, data_dir: Path, pid: str) -> None:
        self.pid = pid
        where = f" (process {pid})" if pid else ""
        super().__init__(f"docvault is already running on {data_dir}{where}")


class DataDirLock:
    """A lock on a data directory, held from construction until the `with` block ends.

    The kernel releases it when the process dies, so a leftover lock file does no harm.
    """

    def __init__(self, data_dir: Path) -> None:
        # Everything inside is private. The folder itself can be traversed by other accounts: when
        # docvault runs as root, PostgreSQL runs as another one.
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
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)
