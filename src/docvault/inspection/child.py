"""The child process of `inspector`: inspects untrusted files, one after another.

Its standard input is a socket to the server; `protocol` defines what is sent. It is run by its
path. It imports everything it will need, then limits itself, and only then reads the first byte of
a file. It exits when the server closes the socket or is killed.
"""

import codecs
import io
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import BinaryIO

if __name__ == "__main__":
    # The folder of docvault, since this file is run by its path; last, so that it hides no module.
    sys.path.append(__file__.rsplit(os.sep, 3)[0])

from docvault import inspection, sandbox
from docvault.inspection.protocol import (
    BLOCK_FOLLOWS,
    MAX_REQUEST_BYTES,
    READY,
    BlockWanted,
    Failed,
    Reply,
    Request,
    encode_reply,
)
from docvault.inspection.ranged_file import BLOCK_BYTES, RangedFile
from docvault.inspection.result import Content, CorruptContent, ExtensionMismatch, UnknownContent

# User and system time together, for one file.
CPU_SECONDS = 2.0
ADDRESS_SPACE = 256 * 1024 * 1024
EXIT_OUT_OF_MEMORY = 66

Inspect = Callable[[BinaryIO, int, str], Content]


def main(inspect: Inspect = inspection.inspect) -> None:
    """Serve requests from standard input until the server closes it."""
    channel = socket.socket(fileno=0)
    # Python imports a codec at its first use, but no file can be opened later.
    for codec in ("ascii", "cp437", "latin-1", "utf-16", "utf-16-be", "utf-16-le"):
        codecs.lookup(codec)
    _warm_up(inspect)
    # The default action ends the process even within a single call of `re` or `zlib`.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    sandbox.limit_resources(address_space=ADDRESS_SPACE)
    sandbox.forbid_system_calls()
    channel.sendall(READY)
    while serve_one(channel, inspect):
        pass


def _warm_up(inspect: Inspect) -> None:
    """Inspect an encrypted PDF: qpdf opens its source of random numbers at the first use."""
    from pikepdf import Encryption, Pdf  # noqa: PLC0415 - the server imports this module too

    smallest = io.BytesIO()
    with Pdf.new() as pdf:
        pdf.save(smallest, encryption=Encryption(owner="", user=""))
    inspect(smallest, smallest.tell(), "")


def serve_one(channel: socket.socket, inspect: Inspect) -> bool:
    """Inspect one file; return False once the server has closed the socket."""
    line, descriptors, _, _ = socket.recv_fds(channel, MAX_REQUEST_BYTES, 1)
    if not line:
        return False
    request = Request.decode(line)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    with _open_file(channel, request, descriptors) as file:
        reply = _inspect(inspect, file, request)
    signal.setitimer(signal.ITIMER_PROF, 0)
    channel.sendall(encode_reply(reply))
    return True


def _open_file(channel: socket.socket, request: Request, descriptors: list[int]) -> BinaryIO:
    if descriptors:
        return open(descriptors[0], "rb")  # noqa: PTH123 - there is no path
    blocks = _Blocks(channel, request.size_bytes)
    return io.BufferedReader(RangedFile(blocks.read, request.size_bytes))


def _inspect(inspect: Inspect, file: BinaryIO, request: Request) -> Reply:
    try:
        return inspect(file, request.size_bytes, request.filename)
    except (UnknownContent, CorruptContent, ExtensionMismatch) as refusal:
        return refusal
    except MemoryError:
        # The next file gets a new process.
        os._exit(EXIT_OUT_OF_MEMORY)
    except Exception as error:  # noqa: BLE001 - parsers fail in any way; a message could quote the file
        return Failed(type(error).__name__)


class _Blocks:
    """Reads the blocks of a remote file through the server."""

    def __init__(self, channel: socket.socket, size_bytes: int) -> None:
        self._channel = channel
        self._size_bytes = size_bytes

    def read(self, number: int) -> bytes:
        """Request a block from the server; raises `OSError` if it cannot be read."""
        self._channel.sendall(encode_reply(BlockWanted(number)))
        if self._receive(1) != BLOCK_FOLLOWS:
            raise OSError("the store has failed")
        return self._receive(min(BLOCK_BYTES, self._size_bytes - number * BLOCK_BYTES))

    def _receive(self, length: int) -> bytes:
        received = bytearray()
        while len(received) < length:
            chunk = self._channel.recv(length - len(received))
            if not chunk:
                os._exit(0)
            received += chunk
        return bytes(received)


if __name__ == "__main__":
    main()
