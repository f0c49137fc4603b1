"""A lock that is handed to waiting owners round-robin; see also `services.preview_queue`."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID


class FairLock:
    """An async lock for up to `limit` holders, at most one of each owner.

    Waiters are served round-robin by owner, so one owner's backlog does not delay the others.
    Waiting longer than `wait_seconds` raises `TimeoutError`.
    """

    def __init__(self, limit: int = 1, wait_seconds: float | None = None) -> None:
        self._limit = limit
        self._wait_seconds = wait_seconds
        self._holders: set[UUID] = set()
        # In the order in which owners are served.
        self._waiters: dict[UUID, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def hold(self, owner: UUID) -> AsyncIterator[None]:
        """Acquire the lock for an owner, and release it when the block ends."""
        await self._acquire(owner)
        try:
            yield
        finally:
            self._release(owner)

    async def _acquire(self, owner: UUID) -> None:
        if len(self._holders) < self._limit and owner not in self._holders:
            self._holders.add(owner)
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(owner, deque()).append(waiter)
        try:
            async with asyncio.timeout(self._wait_seconds):
                await waiter
        except (asyncio.CancelledError, TimeoutError):
            if waiter.done() and not waiter.cancelled():
                # The lock was handed over at the very moment of giving up.
                self._release(owner)
            raise

    def _release(self, owner: UUID) -> None:
        self._holders.discard(owner)
        # A copy: handing over removes entries.
        for waiting in list(self._waiters):
            if waiting not in self._holders and self._hand_over(waiting):
                return

    def _hand_over(self, owner: UUID) -> bool:
        """Give the lock to the owner's longest waiter; return False if all have given up."""
        queue = self._waiters.pop(owner)
        while queue:
            waiter = queue.popleft()
            if waiter.done():
                continue
            if queue:
                # To the end of the line, behind all other owners.
                self._waiters[owner] = queue
            self._holders.add(owner)
            waiter.set_result(None)
            return True
        return False
