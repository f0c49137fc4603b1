"""An inspector that behaves as the name of a file requests, with the limits of a real one."""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

# The location of docvault, as for the real child.
sys.path.append(str(Path(__file__).resolve().parents[2] / "src"))

from docvault import inspection
from docvault.inspection import child
from docvault.inspection.result import Content


def burn(_: BinaryIO) -> None:
    """Use CPU time endlessly."""
    while True:
        pass


def burn_unwatched(file: BinaryIO) -> None:
    """Disable the timer first, as a file that has compromised the process could."""
    signal.setitimer(signal.ITIMER_PROF, 0)
    burn(file)


def read_again_and_again(file: BinaryIO) -> None:
    """Read parts of a large file that are far from each other, for a while."""
    for _ in range(20):
        for megabyte in range(16):
            file.seek(megabyte << 20)
            file.read(1)
        time.sleep(0.01)


ACTIONS: dict[str, Callable[[BinaryIO], object]] = {
    "burn.txt": burn,
    "burn-unwatched.txt": burn_unwatched,
    "sleep.txt": lambda _: time.sleep(60),
    "nap.txt": lambda _: time.sleep(0.5),
    "memory.txt": lambda _: bytes(1 << 30),
    "exit.txt": lambda _: os._exit(0),
    "raise.txt": lambda _: dict[str, str]()["missing"],
    "lie.txt": lambda _: os.write(0, b"content\tapplication/x-sh\tpassive\t\n"),
    "talk.txt": lambda _: os.write(0, b"x" * 10_000),
    "open.txt": lambda _: os.open(__file__, os.O_RDONLY),
    "socket.txt": lambda _: socket.socket(),
    "fork.txt": lambda _: os.fork(),
    "kill.txt": lambda _: os.kill(os.getppid(), 0),
    "read.txt": read_again_and_again,
}


def inspect(file: BinaryIO, size_bytes: int, filename: str) -> Content:
    """Behave as the name requests, then inspect the file."""
    ACTIONS.get(filename, id)(file)
    return inspection.inspect(file, size_bytes, filename)


if __name__ == "__main__":
    child.main(inspect)
