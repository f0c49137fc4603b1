"""Whether the process lives, and whether it can serve."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

from fastapi import APIRouter, Request, Response
from sqlalchemy import text

from docvault.api.problems import error_responses
from docvault.api.responses import JsonResponse
from docvault.errors import (
    DatabaseUnavailable,
    Overloaded,
    ScannerUnavailable,
    StorageUnavailable,
)
from docvault.migrations import current_revision, head_revision
from docvault.services.resources import Resources
from docvault.storage.base import BlobStore

router = APIRouter()

DATABASE_SECONDS = 1
STORE_SECONDS = 2
# How long the store and the scanner count as there once they were.
CHECK_SECONDS = 5


@router.get("/livez", summary="Is the process alive?", operation_id="read_liveness")
async def read_liveness() -> Response:
    """Touch nothing: 200 as long as the process answers."""
    return JsonResponse(b'{"status":"ok"}')


@router.get(
    "/readyz",
    summary="Can the process serve?",
    operation_id="read_readiness",
    responses=error_responses(
        [DatabaseUnavailable, StorageUnavailable, ScannerUnavailable, Overloaded]
    ),
)
async def read_readiness(request: Request) -> Response:
    """Ask the database, its migrations, the blob store and the malware scanner, if there is one."""
    resources: Resources = request.app.state.resources
    if getattr(request.app.state, "stopping", False):
        raise Overloaded("The process is stopping.")
    await _check_database(resources)
    await _check(request, "store", partial(_check_store, resources.store))
    if resources.scanner is not None:
        await _check(request, "scanner", resources.scanner.version)
    return JsonResponse(b'{"status":"ok"}')


async def _check_database(resources: Resources) -> None:
    try:
        async with asyncio.timeout(DATABASE_SECONDS):
            async with resources.database.transaction() as session:
                await session.execute(text("SELECT 1"))
                revision = await current_revision(session)
    except TimeoutError:
        raise DatabaseUnavailable from None
    if revision != head_revision():
        raise DatabaseUnavailable("The database is not migrated to this version.")


async def _check(request: Request, name: str, check: Callable[[], Awaitable[object]]) -> None:
    """Check at most every five seconds what is slow to answer."""
    state = request.app.state
    checked_at = getattr(state, f"{name}_checked_at", -CHECK_SECONDS)
    if time.monotonic() - checked_at >= CHECK_SECONDS:
        await check()
        setattr(state, f"{name}_checked_at", time.monotonic())


async def _check_store(store: BlobStore) -> None:
    try:
        async with asyncio.timeout(STORE_SECONDS):
            await store.check()
    except TimeoutError:
        raise StorageUnavailable from None
