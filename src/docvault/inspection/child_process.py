"""The server's side of a child process: the process and the socket to it."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from docvault.inspection.child import CPU_SECONDS, EXIT_OUT_OF_MEMORY
from docvault.inspection.protocol import (
    BLOCK_FOLLOWS,
    MAX_LINE_BYTES,
    NO_BLOCK,
    READY,
    BlockWanted,
    Outcome,
    ProtocolViolation,
    Reply,
    Request,
    decode_reply,
)

START_SECONDS = 30.0
# The child's own timer ends it after CPU_SECONDS. This is for a child that has disabled it.
CPU_MARGIN_SECONDS = 1.0
CHECK_SECONDS = 0.5
# For a child that hangs. Even a busy machine does the work of CPU_SECONDS in a fraction of this. A
# slow store may need more for a large file; then the client has to retry.
WALL_SECONDS = 60.0

ReadBlock = Callable[[int], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Source:
    """The file to inspect: either local, at a path, or remote, read in blocks by `read_block`."""

    request: Request
    path: Path | None = None
    read_block: ReadBlock | None = None


class InspectorLost(Exception):
    """The child must be replaced; `reason` is a label of `metrics.INSPECTORS_REPLACED`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Child:
    """A running child process, which inspects one file at a time."""

    def __init__(self, process: "subprocess.Popen[bytes]", channel: "_Channel") -> None:
        self._process = process
        self._channel = channel
        # Why the child was killed by `_check`.
        self._killed_for: str | None = None
        # Why the outcome for the current file will be dropped.
        self._failure: BaseException | None = None

    @classmethod
    async def start(cls, program: Path) -> "Child":
        """Start a child and wait until it has limited itself; raises `OSError` or `InspectorLost`.

        Do not call this in a thread: the kernel kills the child when its parent thread ends.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            channel = await _Channel.connect(ours)
            try:
                process = _spawn(program, theirs)
            except BaseException:
                channel.close()
                raise
        child = cls(process, channel)
        try:
            async with asyncio.timeout(START_SECONDS):
                await child._wait_until_ready()
        except BaseException:
            await child.close()
            raise
        return child

    def is_alive(self) -> bool:
        """Return whether the child has not closed its socket, as it does by exiting."""
        return not self._channel.is_closed

    async def inspect(self, source: Source) -> Outcome:
        """Return the outcome for a file.

        Raises `InspectorLost`, or the exception of `read_block` or of opening the file; after these
        the child can still be used. When cancelled, it waits for the outcome before it raises:
        killing the child and starting another one would cost more.
        """
        cpu_limit = self._cpu_seconds() + CPU_SECONDS + CPU_MARGIN_SECONDS
        self._check_later(cpu_limit, time.monotonic() + WALL_SECONDS)
        self._failure = None
        try:
            self._send(source)
            return await self._wait_for_outcome(source)
        except ProtocolViolation:
            raise InspectorLost("nonsense") from None
        finally:
            self._next_check.cancel()

    async def close(self) -> None:
        """Kill the process and wait until it has ended."""
        self._process.kill()
        self._channel.close()
        await asyncio.to_thread(self._process.wait)

    async def _wait_until_ready(self) -> None:
        try:
            line = await self._read_line()
        except ProtocolViolation:
            line = b""
        if line != READY.strip():
            raise InspectorLost("nonsense")

    def _send(self, source: Source) -> None:
        line = source.request.encode()
        if source.path is None:
            self._channel.write(line)
            return
        descriptor = os.open(source.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._channel.send_descriptor(line, descriptor)
        finally:
            os.close(descriptor)

    async def _wait_for_outcome(self, source: Source) -> Outcome:
        while isinstance(reply := await self._read_reply(source.request), BlockWanted):
            if source.read_block is None or reply.number >= source.request.blocks:
                raise ProtocolViolation
            self._channel.write(await self._read_block(source.read_block, reply.number))
        if self._failure is not None:
            raise self._failure
        return reply

    async def _read_reply(self, request: Request) -> Reply:
        while True:
            try:
                return decode_reply(await self._read_line(), request)
            except asyncio.CancelledError as error:
                self._failure = error

    async def _read_block(self, read_block: ReadBlock, number: int) -> bytes:
        """Return the message with a block, or `NO_BLOCK` after any failure."""
        if self._failure is None:
            try:
                async with asyncio.timeout(WALL_SECONDS):
                    return BLOCK_FOLLOWS + await read_block(number)
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - raised at the end
                self._failure = error
        return NO_BLOCK

    async def _read_line(self) -> bytes:
        try:
            return await self._channel.read_line()
        except ConnectionError:
            raise InspectorLost(await self._find_cause_of_death()) from None

    async def _find_cause_of_death(self) -> str:
        # Ends a child that only closed its socket; has no effect on one that has exited.
        self._process.kill()
        code = await asyncio.to_thread(self._process.wait)
        if code == -signal.SIGPROF:
            return "cpu"
        if code == EXIT_OUT_OF_MEMORY:
            return "memory"
        return self._killed_for or ("killed" if code == -signal.SIGKILL else "crashed")

    def _check_later(self, cpu_limit: float, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        self._next_check = loop.call_later(CHECK_SECONDS, self._check, cpu_limit, deadline)

    def _check(self, cpu_limit: float, deadline: float) -> None:
        """Kill the child if its own limits have not stopped it."""
        if self._cpu_seconds() > cpu_limit:
            self._killed_for = "cpu"
        elif time.monotonic() > deadline:
            self._killed_for = "stalled"
        else:
            self._check_later(cpu_limit, deadline)
            return
        self._process.kill()

    def _cpu_seconds(self) -> float:
        """Return the CPU time of the child so far."""
        if sys.platform != "linux":
            return 0.0
        try:
            # The clock id that clock_getcpuclockid(3) returns for a process.
            return time.clock_gettime((~self._process.pid << 3) | 2)
        except OSError:
            # It has ended, which the closed socket will show.
            return 0.0


def _spawn(program: Path, channel: socket.socket) -> "subprocess.Popen[bytes]":
    # By path, not by -m: isolated mode (-I) sees no package that only PYTHONPATH points at.
    return subprocess.Popen(  # noqa: S603 - our own command line
        [sys.executable, "-I", "-B", str(program)],
        stdin=channel.fileno(),
        stdout=subprocess.DEVNULL,
        # Discarded: a traceback could quote the file.
        stderr=subprocess.DEVNULL,
        env={},
        cwd="/",
        start_new_session=True,
    )


class _Channel(asyncio.Protocol):
    """The server's end of the socket: reads lines, writes bytes and file descriptors."""

    def __init__(self, ours: socket.socket) -> None:
        # A duplicate to send descriptors with, which the transport, the owner of `ours`, cannot.
        self._socket = ours.dup()
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._waiting: asyncio.Future[None] | None = None
        self.is_closed = False

    @classmethod
    async def connect(cls, ours: socket.socket) -> "_Channel":
        """Create a channel, which then owns the socket."""
        loop = asyncio.get_running_loop()
        ours.setblocking(False)
        channel = cls(ours)
        try:
            await loop.create_connection(lambda: channel, sock=ours)
        except BaseException:
            channel.close()
            ours.close()
            raise
        return channel

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._received += data
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        del exc
        self.is_closed = True
        self._wake()

    async def read_line(self) -> bytes:
        """Return the next line without its newline.

        Raises `ConnectionError` or `ProtocolViolation`.
        """
        while b"\n" not in self._received:
            if self.is_closed:
                raise ConnectionResetError
            if len(self._received) > MAX_LINE_BYTES:
                raise ProtocolViolation
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        line, _, self._received = self._received.partition(b"\n")
        return line

    def write(self, data: bytes) -> None:
        """Send bytes; if the child has ended, the next `read_line` raises."""
        if self._transport is not None:
            self._transport.write(data)

    def send_descriptor(self, line: bytes, descriptor: int) -> None:
        """Send a line and a descriptor; if the child has ended, the next `read_line` raises."""
        with suppress(ConnectionError):
            if socket.send_fds(self._socket, [line], [descriptor]) < len(line):
                raise ProtocolViolation

    def close(self) -> None:
        """Close the connection."""
        self.is_closed = True
        self._socket.close()
        if self._transport is not None:
            self._transport.abort()
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
