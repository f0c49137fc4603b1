"""Whether the process lives, and whether it can serve."""

import asyncio
import time

from fastapi import APIRouter, Request, Response
from sqlalchemy import text

from docvault.api.problems import error_responses
from docvault.api.responses import JsonResponse
from docvault.errors import DatabaseUnavailable, Overloaded, StorageUnavailable
from docvault.migrations import current_revision, head_revision
from docvault.services.resources import Resources

router = APIRouter()

DATABASE_SECONDS = 1
STORE_SECONDS = 2
STORE_CHECK_SECONDS = 5


@router.get("/livez", summary="Is the process alive?", operation_id="read_liveness")
async def read_liveness() -> Response:
    """Touch nothing: 200 as long as the process answers."""
    return JsonResponse(b'{"status":"ok"}')


@router.get(
    "/readyz",
    summary="Can the process serve?",
    operation_id="read_readiness",
    responses=error_responses([DatabaseUnavailable, StorageUnavailable, Overloaded]),
)
async def read_readiness(request: Request) -> Response:
    """Ask the database, its migrations and the blob store."""
    resources: Resources = request.app.state.resources
    if getattr(request.app.state, "stopping", False):
        raise Overloaded("The process is stopping.")
    await _check_database(resources)
    await _check_store(request, resources)
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


async def _check_store(request: Request, resources: Resources) -> None:
    """Check the store at most every five seconds."""
    state = request.app.state
    if time.monotonic() - getattr(state, "store_checked_at", -STORE_CHECK_SECONDS) < (
        STORE_CHECK_SECONDS
    ):
        return
    try:
        async with asyncio.timeout(STORE_SECONDS):
            await resources.store.check()
    except TimeoutError:
        raise StorageUnavailable from None
    state.store_checked_at = time.monotonic()
