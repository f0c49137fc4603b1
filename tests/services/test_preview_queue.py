"""The order of turns in the preview queue."""

import asyncio
from uuid import UUID, uuid4

import pytest

from docvault.services import preview_queue
from docvault.services.preview_queue import PLACES, PreviewQueue

ANNA, BEN, CARL, DORA = uuid4(), uuid4(), uuid4(), uuid4()


class Queue:
    """Tasks that wait for a turn and keep it until the test ends them."""

    def __init__(self) -> None:
        self.turns = PreviewQueue()
        self.begun: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, asyncio.Event] = {}

    async def enter(self, name: str, owner: UUID, *, ahead: bool = False) -> None:
        """Start a task that waits for a turn."""
        self._ends[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._run(name, owner, ahead=ahead))
        await asyncio.sleep(0)

    async def end(self, name: str) -> None:
        """End the turn of a task."""
        self._ends[name].set()
        await self.tasks[name]
        await asyncio.sleep(0)

    async def cancel(self, name: str) -> None:
        """Cancel a waiting task."""
        self.tasks[name].cancel()
        await asyncio.wait([self.tasks[name]])
        await asyncio.sleep(0)

    async def _run(self, name: str, owner: UUID, *, ahead: bool) -> None:
        async with self.turns.turn(owner, ahead=ahead):
            self.begun.append(name)
            await self._ends[name].wait()


@pytest.fixture
def queue() -> Queue:
    return Queue()


async def test_concurrency_is_limited_to_places(queue: Queue) -> None:
    assert PLACES == 2
    for name, owner in (("a1", ANNA), ("b1", BEN), ("c1", CARL)):
        await queue.enter(name, owner)
    assert queue.begun == ["a1", "b1"]
    await queue.end("a1")
    assert queue.begun == ["a1", "b1", "c1"]


async def test_owner_has_one_place(queue: Queue) -> None:
    await queue.enter("a1", ANNA)
    await queue.enter("a2", ANNA)
    assert queue.begun == ["a1"]
    await queue.end("a1")
    assert queue.begun == ["a1", "a2"]


async def test_owners_alternate_regardless_of_queue_length(queue: Queue) -> None:
    for name, owner in (("d1", DORA), ("a1", ANNA), ("a2", ANNA), ("a3", ANNA)):
        await queue.enter(name, owner)
    for name, owner in (("b1", BEN), ("c1", CARL)):
        await queue.enter(name, owner)
    for name in ("a1", "b1", "c1", "a2"):
        assert queue.begun[-1] == name
        await queue.end(name)
    assert queue.begun[-1] == "a3"


async def test_cancelled_waiter_is_skipped(queue: Queue) -> None:
    for name, owner in (("d1", DORA), ("a1", ANNA), ("b1", BEN), ("c1", CARL)):
        await queue.enter(name, owner)
    await queue.cancel("b1")
    await queue.end("a1")
    assert queue.begun == ["d1", "a1", "c1"]


async def test_cancellation_keeps_owners_next_turn(queue: Queue) -> None:
    for name, owner in (("d1", DORA), ("a1", ANNA), ("b1", BEN), ("b2", BEN), ("c1", CARL)):
        await queue.enter(name, owner)
    await queue.cancel("b1")
    await queue.end("a1")
    assert queue.begun == ["d1", "a1", "b2"]


async def test_waiter_cancelled_when_called_passes_turn_on(queue: Queue) -> None:
    await queue.enter("d1", DORA)
    async with queue.turns.turn(ANNA):
        await queue.enter("b1", BEN)
        await queue.enter("c1", CARL)
    # It has been woken, but has not run yet.
    await queue.cancel("b1")
    assert queue.begun == ["d1", "c1"]


class TestBackground:
    """Background turns: renderings ahead of demand, and demoted owners."""

    async def test_background_work_never_uses_all_places(self, queue: Queue) -> None:
        await queue.enter("a1", ANNA, ahead=True)
        await queue.enter("b1", BEN, ahead=True)
        assert queue.begun == ["a1"]
        await queue.enter("c1", CARL)
        assert queue.begun == ["a1", "c1"]

    async def test_background_work_waits_for_all_others(self, queue: Queue) -> None:
        for name, owner in (("a1", ANNA), ("b1", BEN)):
            await queue.enter(name, owner)
        await queue.enter("c1", CARL, ahead=True)
        await queue.enter("d1", DORA)
        await queue.end("a1")
        assert queue.begun == ["a1", "b1", "d1"]
        await queue.end("b1")
        assert queue.begun == ["a1", "b1", "d1"]
        await queue.end("d1")
        assert queue.begun == ["a1", "b1", "d1", "c1"]

    async def test_demoted_owner_waits_for_all_others(self, queue: Queue) -> None:
        queue.turns.demote(ANNA)
        for name, owner in (("b1", BEN), ("c1", CARL), ("a1", ANNA), ("d1", DORA)):
            await queue.enter(name, owner)
        await queue.end("b1")
        assert queue.begun == ["b1", "c1", "d1"]
        await queue.end("c1")
        assert queue.begun == ["b1", "c1", "d1"]
        await queue.end("d1")
        assert queue.begun == ["b1", "c1", "d1", "a1"]

    async def test_demoted_owners_share_one_place(self, queue: Queue) -> None:
        for owner in (ANNA, BEN):
            queue.turns.demote(owner)
        await queue.enter("a1", ANNA)
        await queue.enter("b1", BEN)
        assert queue.begun == ["a1"]

    async def test_queued_waiters_of_owner_are_demoted(self, queue: Queue) -> None:
        for name, owner in (("d1", DORA), ("a1", ANNA), ("a2", ANNA), ("b1", BEN)):
            await queue.enter(name, owner)
        queue.turns.demote(ANNA)
        await queue.enter("c1", CARL)
        await queue.end("a1")
        await queue.end("b1")
        assert queue.begun == ["d1", "a1", "b1", "c1"]
        await queue.end("c1")
        await queue.end("d1")
        assert queue.begun == ["d1", "a1", "b1", "c1", "a2"]

    async def test_demotion_expires(self, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
        assert preview_queue.DEMOTED_SECONDS >= 120
        monkeypatch.setattr(preview_queue, "DEMOTED_SECONDS", 0.01)
        queue.turns.demote(ANNA)
        assert queue.turns.is_demoted(ANNA)
        await asyncio.sleep(0.02)
        assert not queue.turns.is_demoted(ANNA)
