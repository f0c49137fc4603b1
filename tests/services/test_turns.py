"""Whose turn is next."""

import asyncio
from uuid import UUID, uuid4

import pytest

from docvault.services.turns import Turns

ANNA, BEN, CARL = uuid4(), uuid4(), uuid4()


class Queue:
    """Tasks that wait for a turn, each ended when the test says so."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.begun: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, asyncio.Event] = {}

    async def come(self, name: str, owner: UUID) -> None:
        """Ask for a turn, behind those that came before."""
        self._ends[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._take(name, owner))
        await asyncio.sleep(0)

    async def end(self, name: str) -> None:
        """End a turn that has begun."""
        self._ends[name].set()
        await self.tasks[name]
        await asyncio.sleep(0)

    async def _take(self, name: str, owner: UUID) -> None:
        async with self.turns.turn(owner):
            self.begun.append(name)
            await self._ends[name].wait()


@pytest.fixture
def queue() -> Queue:
    return Queue()


async def test_one_at_a_time(queue: Queue) -> None:
    await queue.come("a1", ANNA)
    await queue.come("b1", BEN)
    assert queue.begun == ["a1"]
    await queue.end("a1")
    assert queue.begun == ["a1", "b1"]
    await queue.end("b1")
    await queue.come("a2", ANNA)
    assert queue.begun == ["a1", "b1", "a2"]
    await queue.end("a2")


async def test_owners_take_turns_however_many_wait_for_one(queue: Queue) -> None:
    for name, owner in (("a1", ANNA), ("a2", ANNA), ("a3", ANNA), ("b1", BEN), ("c1", CARL)):
        await queue.come(name, owner)
    for name in ("a1", "a2", "b1", "c1", "a3"):
        assert queue.begun[-1] == name
        await queue.end(name)


async def test_who_gives_up_waiting_is_passed_over(queue: Queue) -> None:
    for name, owner in (("a1", ANNA), ("b1", BEN), ("c1", CARL)):
        await queue.come(name, owner)
    queue.tasks["b1"].cancel()
    await queue.end("a1")
    assert queue.begun == ["a1", "c1"]
    await queue.end("c1")


async def test_who_gives_up_when_called_hands_it_on(queue: Queue) -> None:
    async with queue.turns.turn(ANNA):
        await queue.come("b1", BEN)
        await queue.come("c1", CARL)
    # Called, but it has not run yet.
    queue.tasks["b1"].cancel()
    await asyncio.wait([queue.tasks["b1"]])
    await asyncio.sleep(0)
    assert queue.begun == ["c1"]
    await queue.end("c1")
