"""Blocking calls in threads, and what must not happen to them."""

import asyncio
import threading

import pytest

from docvault.storage.threads import in_thread


async def test_the_result_comes_back() -> None:
    assert await in_thread(max, 1, 2) == 2


async def test_an_error_comes_back() -> None:
    with pytest.raises(ZeroDivisionError):
        await in_thread(divmod, 1, 0)


async def test_a_cancelled_caller_waits_for_the_thread_before_it_cleans_up() -> None:
    begun, finish, events = threading.Event(), threading.Event(), []

    def work() -> None:
        begun.set()
        finish.wait(5)
        events.append("thread ended")

    async def caller() -> None:
        try:
            await in_thread(work)
        finally:
            events.append("cleaned up")

    task = asyncio.create_task(caller())
    await asyncio.to_thread(begun.wait, 5)
    task.cancel()
    await asyncio.sleep(0.05)
    finish.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert events == ["thread ended", "cleaned up"]
