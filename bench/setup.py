"""The directories of a scenario, and its durations."""

import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Setup:
    """One run of one scenario.

    Databases and logs are in `scratch`; the files stored by docvault and its peers are in
    `store`, which may be in memory.
    """

    scratch: Path
    store: Path
    quick: bool

    @property
    def rounds(self) -> int:
        """The number of turns per contestant; the medians are over these."""
        return 1 if self.quick else 5

    @property
    def seconds(self) -> float:
        """The duration of a turn of load."""
        return 0.5 if self.quick else 4.0

    def folder(self, name: str) -> Path:
        """Return a directory for databases and logs that the account of PostgreSQL can enter."""
        return _open_folder(self.scratch / name)

    def store_folder(self, name: str) -> Path:
        """Return a folder for stored files."""
        return _open_folder(self.store / name)

    def empty_store(self, name: str) -> None:
        """Delete the files stored by a peer without a database, which could fill the memory."""
        shutil.rmtree(self.store / name, ignore_errors=True)
        self.store_folder(name)


class Missing(Exception):
    """A peer is not available on this machine; the message becomes part of the result."""


def _open_folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)
    return folder
