"""Blocking calls in a thread that nobody pulls a descriptor away from."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


async def in_thread(function: Callable[..., Result], *args: object) -> Result:
    """Run a blocking call in a thread; when cancelled, wait for it to end before going on.

    Otherwise the caller's clean-up would close a descriptor that the thread still uses, and
    its number may by then belong to another file.
    """
    call = asyncio.ensure_future(asyncio.to_thread(function, *args))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        await asyncio.wait([call])
        raise
