"""One large body at a time, sent and received with as little work for the client as can be."""

import socket
import time
from collections.abc import Iterable
from pathlib import Path

from bench.processes import MEBIBYTE

SECONDS = 300


def send(port: int, head: bytes, path: Path, frame: tuple[bytes, bytes] = (b"", b"")) -> float:
    """Send a file as the body of a request; return the seconds until the answer is here.

    `frame` is what stands before and after the file. Raises `RuntimeError` unless it is a 2xx.
    """
    with (
        socket.create_connection(("127.0.0.1", port), SECONDS) as connection,
        path.open("rb") as file,
    ):
        started = time.perf_counter()
        connection.sendall(head + frame[0])
        connection.sendfile(file)
        connection.sendall(frame[1])
        _read_answer(connection)
        return time.perf_counter() - started


def receive(port: int, request: bytes, size_bytes: int) -> float:
    """Receive a body of a known size; return the seconds it took."""
    buffer = bytearray(MEBIBYTE)
    with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
        started = time.perf_counter()
        connection.sendall(request)
        head, received = _read_answer(connection)
        if b"content-length: %d\r\n" % size_bytes not in head.lower():
            raise RuntimeError(f"an answer of another size: {head!r}")
        while received < size_bytes:
            count = connection.recv_into(buffer)
            if not count:
                raise RuntimeError(f"the answer ends after {received} bytes")
            received += count
        return time.perf_counter() - started


def write_file(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a file to send."""
    with path.open("wb") as file:
        file.writelines(chunks)


def _read_answer(connection: socket.socket) -> tuple[bytes, int]:
    """Return the head of an answer, and how many bytes of its body came with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65_536)
        if not more:
            raise RuntimeError(f"no answer but {data!r}")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    if head.split(b" ", 2)[1][:1] != b"2":
        raise RuntimeError(f"refused: {data[:2000]!r}")
    return head + b"\r\n", len(body)
