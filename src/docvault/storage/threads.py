"""Run blocking I/O in a thread; wait for it even when cancelled."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


async def run_in_thread(function: Callable[..., Result], *args: object) -> Result:
    """Run a blocking call in a thread; when cancelled, wait until it has ended.

    Otherwise the caller's cleanup would close a descriptor that the thread still uses, and whose
    number may by then belong to another file.
    """
    call = asyncio.ensure_future(asyncio.to_thread(function, *args))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        await asyncio.wait([call])
        raise
