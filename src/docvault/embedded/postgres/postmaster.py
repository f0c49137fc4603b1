"""The server process that runs on a cluster, by its lock file ``postmaster.pid``."""

import os
import sys
from pathlib import Path
from typing import Final, NamedTuple

from docvault.embedded.postgres.account import Account

# Line numbers in the lock file; the first line is the pid.
SOCKET_DIRECTORY_LINE: Final = 4
_STATUS_LINE: Final = 7


class Postmaster(NamedTuple):
    """A running server process."""

    pid: int
    socket_directory: Path
    ready: bool


def find_postmaster(data: Path) -> Postmaster | None:
    """Return the server that runs on a cluster, whoever started it."""
    lines = read_lock_file(data)
    if not lines or not lines[0].isdecimal() or not is_postmaster(int(lines[0]), data):
        return None
    ready = len(lines) > _STATUS_LINE and lines[_STATUS_LINE].strip() == "ready"
    directory = lines[SOCKET_DIRECTORY_LINE] if len(lines) > SOCKET_DIRECTORY_LINE else ""
    return Postmaster(int(lines[0]), Path(directory), ready)


def is_postmaster(pid: int, data: Path) -> bool:
    """Check whether a process is alive and the server of this cluster; pids are reused."""
    if sys.platform != "linux":
        shown = Account.of(os.geteuid()).run("/bin/ps", "-o", "args=", "-p", str(pid))
        return f"postgres -D {data} " in shown.stdout
    process = Path("/proc", str(pid))
    try:
        named = (process / "comm").read_text() == "postgres\n"
        return named and (process / "cwd").samefile(data)
    except OSError:
        return False


def read_lock_file(data: Path) -> list[str]:
    """Return the lines of a cluster's lock file; none if there is no lock file."""
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []
