"""One place that many wait for, given to each owner in turn."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID


class Turns:
    """Lets one in at a time. However many wait for one owner, the next turn is another's."""

    def __init__(self) -> None:
        self._is_taken = False
        # The owner whose turn is next comes first.
        self._waiting: dict[UUID, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def turn(self, owner: UUID) -> AsyncIterator[None]:
        """Wait for a turn, and end it with the block."""
        await self._begin(owner)
        try:
            yield
        finally:
            self._end()

    async def _begin(self, owner: UUID) -> None:
        if not self._is_taken:
            self._is_taken = True
            return
        called = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(called)
        try:
            await called
        except asyncio.CancelledError:
            if called.done() and not called.cancelled():
                # Called at the very moment of giving up.
                self._end()
            raise

    def _end(self) -> None:
        while self._waiting:
            owner, queue = next(iter(self._waiting.items()))
            del self._waiting[owner]
            called = queue.popleft()
            if queue:
                self._waiting[owner] = queue
            if not called.done():
                called.set_result(None)
                return
        self._is_taken = False
