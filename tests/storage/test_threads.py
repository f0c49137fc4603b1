"""Blocking calls in threads, and their cancellation."""

import asyncio
import threading

import pytest

from docvault.storage.threads import run_in_thread


async def test_result_is_returned() -> None:
    assert await run_in_thread(max, 1, 2) == 2


async def test_exception_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        await run_in_thread(divmod, 1, 0)


async def test_cancelled_caller_waits_for_thread_before_cleanup() -> None:
    begun, finish, events = threading.Event(), threading.Event(), []

    def work() -> None:
        begun.set()
        finish.wait(5)
        events.append("thread ended")

    async def caller() -> None:
        try:
            await run_in_thread(work)
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
