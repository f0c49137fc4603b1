"""One large body at a time, sent and received with minimal work for the client."""

import socket
import time
from collections.abc import Iterable
from pathlib import Path

from bench.processes import MEBIBYTE

SECONDS = 300


def send(port: int, head: bytes, path: Path, frame: tuple[bytes, bytes] = (b"", b"")) -> float:
    """Send a file as the body of a request; return the seconds until the response arrives.

    `frame` is sent before and after the file. Raises `RuntimeError` unless the response is 2xx.
    """
    with (
        socket.create_connection(("127.0.0.1", port), SECONDS) as connection,
        path.open("rb") as file,
    ):
        started = time.perf_counter()
        connection.sendall(head + frame[0])
        connection.sendfile(file)
        connection.sendall(frame[1])
        _read_response(connection)
        return time.perf_counter() - started


def receive(port: int, request: bytes, size_bytes: int) -> float:
    """Receive a body of a known size; return the seconds it took."""
    buffer = bytearray(MEBIBYTE)
    with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
        started = time.perf_counter()
        connection.sendall(request)
        head, received = _read_response(connection)
        if b"content-length: %d\r\n" % size_bytes not in head.lower():
            raise RuntimeError(f"a response of another size: {head!r}")
        while received < size_bytes:
            count = connection.recv_into(buffer)
            if not count:
                raise RuntimeError(f"the response ended after {received} bytes")
            received += count
        return time.perf_counter() - started


def write_file(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a file to send."""
    with path.open("wb") as file:
        file.writelines(chunks)


def _read_response(connection: socket.socket) -> tuple[bytes, int]:
    """Return the head of a response, and the number of body bytes received with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65_536)
        if not more:
            raise RuntimeError(f"expected a response, got {data!r}")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    if head.split(b" ", 2)[1][:1] != b"2":
        raise RuntimeError(f"refused: {data[:2000]!r}")
    return head + b"\r\n", len(body)
