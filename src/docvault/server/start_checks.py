"""The checks of `docvault doctor` at the start of a process (decision 0085)."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from docvault.db.sessions import UnsuitableDatabase
from docvault.domain.findings import Finding, Severity
from docvault.services.diagnosis import check_database, check_surroundings
from docvault.services.resources import Resources

log = logging.getLogger(__name__)


async def require_database(resources: Resources) -> None:
    """Raise `UnsuitableDatabase` if nothing could be served; log what else is wrong."""
    for finding in await check_database(resources):
        if finding.severity is Severity.FATAL:
            raise UnsuitableDatabase(str(finding))
        _log(finding)


@asynccontextmanager
async def surroundings_checked(
    resources: Resources, *, processes: int, is_worker: bool = False
) -> AsyncIterator[None]:
    """Check everything else in the background, and log what is wrong once.

    A dependency that is down does not delay the start, and may come up later.
    """
    task = asyncio.create_task(_check(resources, processes, is_worker=is_worker))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _check(resources: Resources, processes: int, *, is_worker: bool) -> None:
    try:
        async for finding in check_surroundings(
            resources, processes=processes, is_worker=is_worker
        ):
            _log(finding)
    except Exception:
        log.exception("the checks of the start failed")


def _log(finding: Finding) -> None:
    if finding.severity >= Severity.PROBLEM:
        log.warning("%s", finding)
