"""The event log after a restore: new events must not get positions that were already read.

The store records the last position, where no restore of the database undoes it (decision 0088).
"""

import logging
from contextlib import suppress

from docvault.domain.events import EventLog
from docvault.services.resources import Resources
from docvault.storage.base import EVENTS_FOLDER, BlobExists

_log = logging.getLogger(__name__)


async def begin_log(resources: Resources) -> None:
    """Begin a new log, so that every follower starts again."""
    async with resources.transaction(resources.system_context()) as uow:
        await uow.events.begin_log()


async def check_log(resources: Resources) -> None:
    """Begin a new log if the database is behind the store, otherwise record its last position."""
    # Before the database is read: what another worker records meanwhile is no sign of a restore.
    marks = [blob.key async for blob in resources.store.list_folder(EVENTS_FOLDER)]
    async with resources.autocommit(resources.system_context()) as uow:
        log = await uow.events.log()
    reached = max((_position(key) for key in marks if key.startswith(_prefix(log))), default=0)
    if reached > log.latest:
        _log.warning("the database was restored: a new event log begins")
        await begin_log(resources)
    elif reached < log.latest:
        await _write_mark(resources, log)
        for key in marks:
            await resources.store.delete(key)


async def _write_mark(resources: Resources, log: EventLog) -> None:
    spooled = resources.spool.create()
    try:
        await spooled.finish()
        # Another worker may have written the same mark.
        with suppress(BlobExists):
            await resources.store.put(f"{_prefix(log)}{log.latest:016x}", spooled.path)
    finally:
        spooled.discard()


def _prefix(log: EventLog) -> str:
    return f"{EVENTS_FOLDER}/{log.log.hex[:16]}"


def _position(key: str) -> int:
    return int(key[-16:], 16)
