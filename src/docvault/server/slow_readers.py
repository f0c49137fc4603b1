"""Disconnecting clients that do not read their responses."""

import asyncio
import fcntl
import socket
import struct
import termios

CHECK_SECONDS = 5.0
# The same as `send_timeout` in deploy/nginx.conf.
STALL_SECONDS = 30.0
# As for request bodies: a file of 25 MiB may take nearly an hour, but not forever.
RATE_SECONDS = 60.0
MIN_BYTES_PER_SECOND = 8 * 1024

# With SO_LINGER at zero, the kernel drops unsent bytes immediately instead of after minutes.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class ReaderWatch:
    """Resets a connection whose client does not read, or reads far too slowly.

    Only time during which bytes wait for the client counts, so a slow response does not. Read means
    acknowledged by the client's kernel. Bytes accepted by our own kernel do not count as read: its
    buffer holds megabytes, which take minutes on a slow line.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._written = 0
        self._written_at_check = 0
        # The number of bytes read at the last progress and at the start of the current window, and
        # when these were.
        self._read, self._read_at = 0, 0.0
        self._window_read, self._window_began = 0, 0.0

    def add_written(self, number: int) -> None:
        """Count bytes that were sent to the client."""
        self._written += number
        if self._timer is None:
            self._restart(self._written - number)
            self._wait()

    def stop(self) -> None:
        """Stop watching, since the connection is closed."""
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self) -> None:
        self._written_at_check = self._written
        self._timer = self._loop.call_later(CHECK_SECONDS, self._check)

    def _restart(self, read: int) -> None:
        self._read = self._window_read = read
        self._read_at = self._window_began = self._loop.time()

    def _check(self) -> None:
        self._timer = None
        unread = self._count_unread()
        if not unread:
            return
        read = self._written - unread
        if read >= self._written_at_check:
            # The client has read everything that waited at the last check, so it keeps up.
            self._restart(read)
        elif self._is_too_slow(read):
            self._reset()
            return
        self._wait()

    def _is_too_slow(self, read: int) -> bool:
        now = self._loop.time()
        if read > self._read:
            self._read, self._read_at = read, now
        elif now - self._read_at >= STALL_SECONDS:
            return True
        seconds = now - self._window_began
        if seconds < RATE_SECONDS:
            return False
        is_slow = read - self._window_read < seconds * MIN_BYTES_PER_SECOND
        self._window_read, self._window_began = read, now
        return is_slow

    def _count_unread(self) -> int:
        """Return the number of bytes that the client has not acknowledged yet."""
        held = self._transport.get_write_buffer_size()
        descriptor = self._transport.get_extra_info("socket").fileno()
        if descriptor < 0:
            return held
        unacknowledged = fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4))
        return held + int(struct.unpack("i", unacknowledged)[0])

    def _reset(self) -> None:
        connection = self._transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()
