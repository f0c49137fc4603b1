"""Which file system a folder is on."""

from pathlib import Path

_MOUNTS = Path("/proc/self/mounts")
_IN_MEMORY = {"tmpfs", "ramfs"}


def is_in_memory(folder: Path) -> bool:
    """Return whether the folder is on a file system in memory; False where that is unknown."""
    try:
        lines = _MOUNTS.read_text().splitlines()
    except OSError:
        return False
    kinds = {}
    for line in lines:
        _, place, kind, *_ = line.split(" ")
        # Blanks are octal escapes. A later mount hides an earlier one at the same place.
        kinds[Path(place.replace("\\040", " "))] = kind
    path = folder.resolve()
    return next((kinds[at] for at in (path, *path.parents) if at in kinds), None) in _IN_MEMORY
