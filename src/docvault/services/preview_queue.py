"""Fair scheduling of the few previews that are rendered at once."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

PLACES = 2
DEMOTED_SECONDS = 600

_Line = dict[UUID, deque[asyncio.Future[None]]]


class PreviewQueue:
    """Serves owners round-robin, each in at most one place at a time.

    Background turns are those ahead of demand and those of demoted owners. One begins only when
    no other turn waits or runs, so that a place stays free for the next owner.
    """

    def __init__(self) -> None:
        # Waiting turns by owner; the next owner comes first.
        self._foreground: _Line = {}
        self._background: _Line = {}
        self._running: set[UUID] = set()
        # When each demotion ends.
        self._demoted: dict[UUID, float] = {}

    @asynccontextmanager
    async def turn(self, owner: UUID, *, ahead: bool = False) -> AsyncIterator[None]:
        """Hold a place within the block; turns `ahead` of demand run in the background."""
        is_background = ahead or self.is_demoted(owner)
        await self._begin(owner, self._background if is_background else self._foreground)
        try:
            yield
        finally:
            self._end(owner)

    def demote(self, owner: UUID) -> None:
        """Move an owner and all their waiting turns to the background for some minutes."""
        now = time.monotonic()
        self._demoted = {other: end for other, end in self._demoted.items() if end > now}
        self._demoted[owner] = now + DEMOTED_SECONDS
        waiting = self._foreground.pop(owner, None)
        if waiting:
            self._background.setdefault(owner, deque()).extend(waiting)

    def is_demoted(self, owner: UUID) -> bool:
        """Return whether the owner is in the background now."""
        return self._demoted.get(owner, 0) > time.monotonic()

    async def _begin(self, owner: UUID, line: _Line) -> None:
        called = asyncio.get_running_loop().create_future()
        line.setdefault(owner, deque()).append(called)
        self._call()
        try:
            await called
        except asyncio.CancelledError:
            if called.done() and not called.cancelled():
                # The turn was granted at the moment of the cancellation.
                self._end(owner)
            raise

    def _end(self, owner: UUID) -> None:
        self._running.remove(owner)
        for line in (self._foreground, self._background):
            if owner in line:
                # Move the owner behind all others.
                line[owner] = line.pop(owner)
        self._call()

    def _call(self) -> None:
        """Grant turns as long as there are free places."""
        while len(self._running) < PLACES and self._call_from(self._foreground):
            pass
        if not self._running:
            self._call_from(self._background)

    def _call_from(self, line: _Line) -> bool:
        for owner in [owner for owner in line if owner not in self._running]:
            waiting = deque(called for called in line.pop(owner) if not called.done())
            if not waiting:
                continue
            called = waiting.popleft()
            if waiting:
                line[owner] = waiting
            self._running.add(owner)
            called.set_result(None)
            return True
        return False
