"""Raw HTTP clients, to stall, trickle or disconnect where no library would."""

import asyncio
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil
from tests.fixtures.faultproxy import reset
from tests.torture.deployments import Deployment
from tests.torture.model import Content
from tests.torture.outages import POOL, connections, spool_files

BOUNDARY = "t0rture"
# So small that a response of some hundred KiB does not fit into the socket buffers.
RECEIVE_BYTES = 16 * 1024
QUIET_SECONDS = 20
# The maximum number of connections that docvault keeps open to an S3 store.
STORE_CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class RawRequest:
    """The bytes of a request."""

    head: bytes
    body: bytes = b""

    @property
    def whole(self) -> bytes:
        """Head and body."""
        return self.head + self.body


def upload_request(deployment: Deployment, path: str, content: Content) -> RawRequest:
    """Return a request that uploads one file."""
    opening = (
        f"--{BOUNDARY}\r\n"
        f'Content-Disposition: form-data; name="file"; filename="{content.filename}"\r\n\r\n'
    )
    body = opening.encode() + content.body + f"\r\n--{BOUNDARY}--\r\n".encode()
    head = (
        f"PUT {path} HTTP/1.1\r\nHost: docvault.test\r\n"
        f"Authorization: Bearer {deployment.staff_token()}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return RawRequest(head.encode(), body)


def download_request(deployment: Deployment, path: str) -> RawRequest:
    """Return a request that downloads a document's file."""
    head = (
        f"GET {path}/content HTTP/1.1\r\nHost: docvault.test\r\n"
        f"Authorization: Bearer {deployment.staff_token()}\r\n\r\n"
    )
    return RawRequest(head.encode())


class RawConnection:
    """One connection to a deployment's server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, deployment: Deployment) -> "RawConnection":
        """Connect."""
        assert deployment.client is not None
        url = urlsplit(str(deployment.client.base_url))
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(connection, (url.hostname, url.port))
        return cls(*await asyncio.open_connection(sock=connection, limit=RECEIVE_BYTES))

    async def send(self, data: bytes) -> None:
        """Send bytes; ignore that the server may have closed the connection."""
        with suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def response(self) -> tuple[int, dict[str, str]] | None:
        """Return status and headers of the response, None if there is none."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines if line)
        return int(first.split(" ")[1]), headers

    async def read(self, size: int) -> int:
        """Read up to `size` bytes; return how many were read."""
        received = 0
        while received < size:
            with suppress(ConnectionError):
                if chunk := await self.reader.read(size - received):
                    received += len(chunk)
                    continue
            break
        return received

    async def close(self) -> None:
        """Close the connection."""
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()

    async def reset(self) -> None:
        """Reset the connection."""
        reset(self.writer)
        with suppress(ConnectionError):
            await self.writer.wait_closed()

    def end_sending(self) -> None:
        """Half-close the connection: send no more, but keep reading."""
        with suppress(OSError):
            self.writer.write_eof()


def server_process(deployment: Deployment) -> psutil.Process:
    """Return the server's process."""
    assert deployment.process is not None
    return psutil.Process(deployment.process.pid)


def descriptors(deployment: Deployment, store_port: int, pool: int) -> int:
    """Count the server's open files outside its pools, which have limits of their own."""
    process = server_process(deployment)
    to_store = [c for c in process.net_connections() if c.raddr and c.raddr.port == store_port]
    to_database = connections(deployment)
    assert len(to_store) <= STORE_CONNECTIONS
    assert to_database <= pool
    return int(process.num_fds()) - len(to_store) - to_database


async def settled(
    deployment: Deployment, store_port: int, limit: int | None, *, pool: int = POOL
) -> int:
    """Wait until the server has closed everything; return its number of open files."""
    deadline = time.monotonic() + QUIET_SECONDS
    found = descriptors(deployment, store_port, pool)
    while time.monotonic() < deadline:
        await asyncio.sleep(0.1)
        last, found = found, descriptors(deployment, store_port, pool)
        is_quiet = found == last if limit is None else found <= limit
        if is_quiet and not spool_files(deployment):
            break
    return found
