"""Where a scenario keeps its things, and how long it takes."""

import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Setup:
    """One run of one scenario.

    Databases and logs go to `scratch`; what servers store of the files, docvault and peers
    alike, goes to `store`, which may be in memory.
    """

    scratch: Path
    store: Path
    quick: bool

    @property
    def rounds(self) -> int:
        """How often each contestant has its turn; the medians are over these."""
        return 1 if self.quick else 5

    @property
    def seconds(self) -> float:
        """How long a turn of load takes."""
        return 0.5 if self.quick else 4.0

    def folder(self, name: str) -> Path:
        """Return a folder for databases and logs that the account of PostgreSQL can enter."""
        return _open_folder(self.scratch / name)

    def store_folder(self, name: str) -> Path:
        """Return a folder for stored files."""
        return _open_folder(self.store / name)

    def empty_store(self, name: str) -> None:
        """Remove what a peer without a database has stored, which could fill the memory."""
        shutil.rmtree(self.store / name, ignore_errors=True)
        self.store_folder(name)


class Missing(Exception):
    """A peer that cannot be had on this machine; the message says why, and gets into the result."""


def _open_folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)
    return folder
