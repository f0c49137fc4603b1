"""Waiting for events: one query a second for all waiting requests of a process."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from docvault.domain.events import EventCursor, EventLog
from docvault.errors import DatabaseUnavailable

Read = Callable[[], Awaitable[EventLog]]
POLL_SECONDS = 1.0
# Further requests do not wait, because each connection costs memory.
MAX_WAITING = 200


class EventPoll:
    """Lets requests wait for events, without a connection to the database while they do."""

    def __init__(self) -> None:
        self._waiting = 0
        self._tick: asyncio.Task[EventLog | None] | None = None

    async def wait(
        self,
        read: Read,
        cursor: EventCursor,
        seconds: float,
        is_stopping: Callable[[], bool],
    ) -> bool:
        """Return true as soon as events follow the cursor.

        False after `seconds`, when the process stops, or if too many requests wait already.
        """
        if self._waiting >= MAX_WAITING:
            return False
        self._waiting += 1
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while not is_stopping():
                        log = await self._next(read)
                        if log is not None and EventCursor(log.log, log.latest) != cursor:
                            return True
            return False
        finally:
            self._waiting -= 1
            if not self._waiting:
                await self._stop()

    async def _stop(self) -> None:
        """Stop polling when no request waits: a stopping process closes the database."""
        tick, self._tick = self._tick, None
        if tick is not None:
            tick.cancel()
            await asyncio.wait({tick})

    async def _next(self, read: Read) -> EventLog | None:
        """Return the log after the next poll, which all waiting requests share."""
        if self._tick is None or self._tick.done():
            self._tick = asyncio.create_task(_poll(read))
        # A request that is cancelled must not cancel it for the others.
        return await asyncio.shield(self._tick)


async def _poll(read: Read) -> EventLog | None:
    await asyncio.sleep(POLL_SECONDS)
    try:
        return await read()
    except DatabaseUnavailable:
        # A request that keeps failing gets the error from its own read.
        return None
