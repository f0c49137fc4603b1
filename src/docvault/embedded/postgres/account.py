"""The operating system account that the server runs as."""

import os
import pwd
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

# The server inherits nothing of docvault's environment: that holds secrets, and PG* variables
# would change the server's settings.
_ENVIRONMENT: Final = {"PATH": os.defpath, "LC_ALL": "C"}


class EmbeddedPostgresError(Exception):
    """The embedded server cannot be started; the message tells the operator why."""


@dataclass(frozen=True)
class Account:
    """The operating system account the server runs as.

    Runs commands as that account, and creates files that belong to it.
    """

    name: str
    uid: int
    gid: int

    @classmethod
    def of(cls, uid: int) -> Self:
        """Look an account up; raises `EmbeddedPostgresError` if the user id has no name."""
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            raise EmbeddedPostgresError(
                f"The user id {uid} has no account name, which PostgreSQL needs."
            ) from None
        return cls(entry.pw_name, entry.pw_uid, entry.pw_gid)

    def spawn(self, command: list[str], output: int) -> subprocess.Popen[bytes]:
        """Start a command that writes to the descriptor `output`."""
        # A session of its own: Ctrl-C in the terminal must reach docvault only, which stops the
        # server after everything that uses it.
        return subprocess.Popen(  # noqa: S603 - the programs of the wheel, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            **self._identity(),
        )

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; standard error is part of `stdout`."""
        return subprocess.run(  # noqa: S603 - the programs of the wheel, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            **self._identity(),
        )

    def can_enter(self, directory: Path) -> bool:
        """Check as the account itself whether it can enter a directory."""
        return self.run("/bin/sh", "-c", 'test -x "$0"', str(directory)).returncode == 0

    def can_run(self, programs: Path) -> bool:
        """Check whether the account can execute the server's programs and load their libraries."""
        try:
            # --show creates nothing, but executes postgres to get its version.
            shown = self.run(str(programs / "initdb"), "--show", "--pgdata=/nonexistent")
        except PermissionError:
            return False
        return shown.returncode == 0

    def owns_privately(self, directory: Path) -> bool:
        """Check whether a path is a directory that only the account (and root) can enter."""
        try:
            found = directory.lstat()
        except FileNotFoundError:
            return False
        private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
        return private and found.st_uid == self.uid

    def create_file(self, path: Path) -> int:
        """Replace a file with an empty one owned by the account (0600); return its descriptor."""
        path.unlink(missing_ok=True)
        # O_EXCL also refuses a symbolic link, through which the account could direct root's write.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.fchown(descriptor, self.uid, -1)
        return descriptor

    def _identity(self) -> dict[str, Any]:
        common = {"cwd": "/", "env": _ENVIRONMENT}
        if self.uid == os.geteuid():
            return common
        return {**common, "user": self.uid, "group": self.gid, "extra_groups": []}


def make_private(home: Path, account: Account) -> None:
    """Create a folder if it does not exist, and make it the account's own (0700)."""
    home.mkdir(mode=0o700, exist_ok=True)
    if not account.owns_privately(home):
        os.chown(home, account.uid, -1, follow_symlinks=False)
        home.chmod(0o700)
