"""The order in which waiters get the lock."""

import asyncio
from uuid import UUID, uuid4

import pytest

from docvault.fair_lock import FairLock

ANNA, BEN, CARL = uuid4(), uuid4(), uuid4()


class Queue:
    """Tasks that wait for the lock, each released by the test."""

    def __init__(self, places: int = 1, wait_seconds: float | None = None) -> None:
        self.lock = FairLock(places, wait_seconds)
        self.acquired: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._releases: dict[str, asyncio.Event] = {}

    async def request(self, name: str, owner: UUID) -> None:
        """Request the lock, after earlier requests."""
        self._releases[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._take(name, owner))
        await asyncio.sleep(0)

    async def release(self, name: str) -> None:
        """Release a lock that is held."""
        self._releases[name].set()
        await self.tasks[name]
        await asyncio.sleep(0)

    async def _take(self, name: str, owner: UUID) -> None:
        async with self.lock.hold(owner):
            self.acquired.append(name)
            await self._releases[name].wait()


@pytest.fixture
def queue() -> Queue:
    return Queue()


async def test_lock_is_exclusive(queue: Queue) -> None:
    await queue.request("a1", ANNA)
    await queue.request("b1", BEN)
    assert queue.acquired == ["a1"]
    await queue.release("a1")
    assert queue.acquired == ["a1", "b1"]
    await queue.release("b1")
    await queue.request("a2", ANNA)
    assert queue.acquired == ["a1", "b1", "a2"]
    await queue.release("a2")


async def test_owners_alternate_regardless_of_queue_length(queue: Queue) -> None:
    for name, owner in (("a1", ANNA), ("a2", ANNA), ("a3", ANNA), ("b1", BEN), ("c1", CARL)):
        await queue.request(name, owner)
    for name in ("a1", "a2", "b1", "c1", "a3"):
        assert queue.acquired[-1] == name
        await queue.release(name)


async def test_cancelled_waiter_is_skipped(queue: Queue) -> None:
    for name, owner in (("a1", ANNA), ("b1", BEN), ("c1", CARL)):
        await queue.request(name, owner)
    queue.tasks["b1"].cancel()
    await queue.release("a1")
    assert queue.acquired == ["a1", "c1"]
    await queue.release("c1")


async def test_waiter_cancelled_when_called_passes_lock_on(queue: Queue) -> None:
    async with queue.lock.hold(ANNA):
        await queue.request("b1", BEN)
        await queue.request("c1", CARL)
    # Woken up, but not run yet.
    queue.tasks["b1"].cancel()
    await asyncio.wait([queue.tasks["b1"]])
    await asyncio.sleep(0)
    assert queue.acquired == ["c1"]
    await queue.release("c1")


async def test_places_go_to_different_owners() -> None:
    queue = Queue(places=2)
    for name, owner in (("a1", ANNA), ("a2", ANNA), ("b1", BEN), ("c1", CARL)):
        await queue.request(name, owner)
    assert queue.acquired == ["a1", "b1"]
    await queue.release("b1")
    # Anna has waited longer than Carl, but already holds the lock.
    assert queue.acquired == ["a1", "b1", "c1"]
    await queue.release("c1")
    assert queue.acquired == ["a1", "b1", "c1"]
    await queue.release("a1")
    assert queue.acquired == ["a1", "b1", "c1", "a2"]
    await queue.release("a2")


async def test_timed_out_waiter_is_skipped() -> None:
    queue = Queue(wait_seconds=0.05)
    await queue.request("a1", ANNA)
    await queue.request("b1", BEN)
    with pytest.raises(TimeoutError):
        await queue.tasks["b1"]
    await queue.request("c1", CARL)
    await queue.release("a1")
    assert queue.acquired == ["a1", "c1"]
    await queue.release("c1")
