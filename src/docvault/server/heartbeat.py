"""Heartbeats: how the supervisor knows that the event loop of a process is running.

The process writes one byte per second to a pipe, from its event loop. A thread would continue to
write while the loop is blocked and no request is handled.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

BEAT_SECONDS = 1.0
# How long a process may be silent: after a heartbeat, and before the first one, while it starts.
SILENCE_SECONDS = 30.0
START_SECONDS = 180.0
# At most this much of the time between two checks counts. If it was longer, the supervisor itself
# did not run (suspended, or without CPU time), and has yet to read the heartbeats of that time.
LONGEST_STEP_SECONDS = 0.5
READ_BYTES = 65536


class Pulse:
    """The supervisor's end of the pipe of one process.

    Close `write_end` once the process has inherited it.
    """

    def __init__(self) -> None:
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self._limit = START_SECONDS
        self.silent_seconds = 0.0

    def is_lost(self, seconds: float) -> bool:
        """Add the seconds since the last check; return whether the silence is too long."""
        with suppress(BlockingIOError):
            # After the process has ended, there is nothing to read, which is no error.
            if os.read(self._read_end, READ_BYTES):
                self._limit = SILENCE_SECONDS
                self.silent_seconds = 0.0
                return False
        self.silent_seconds += min(seconds, LONGEST_STEP_SECONDS)
        return self.silent_seconds > self._limit

    def close(self) -> None:
        """Close the supervisor's end of the pipe."""
        os.close(self._read_end)


@asynccontextmanager
async def send_heartbeats(descriptor: int | None) -> AsyncIterator[None]:
    """Write heartbeats to a descriptor while the block runs; None if there is no supervisor."""
    if descriptor is None:
        yield
        return
    os.set_blocking(descriptor, False)
    task = asyncio.create_task(_beat(descriptor))
    try:
        yield
    finally:
        task.cancel()


async def _beat(descriptor: int) -> None:
    while True:
        # Blocked: the supervisor is suspended. Broken: it has died; see `exit_when_parent_dies`.
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(descriptor, b".")
        await asyncio.sleep(BEAT_SECONDS)
