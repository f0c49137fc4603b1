"""Liveness and readiness checks."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

from fastapi import APIRouter, Request, Response

from docvault.api.http.problems import error_responses
from docvault.api.http.responses import JsonResponse
from docvault.auth.tokens import TokenVerifier
from docvault.db.health import read_database_state
from docvault.errors import (
    DatabaseUnavailable,
    HeaderTooLarge,
    MalformedRequest,
    ScannerUnavailable,
    ServiceUnavailable,
    StorageUnavailable,
)
from docvault.schemas.health import LivenessRead, ReadinessRead
from docvault.services.resources import Resources
from docvault.storage.base import BlobStore

router = APIRouter()

_GENERAL_ERRORS = (MalformedRequest, HeaderTooLarge)

DATABASE_SECONDS = 1
STORE_SECONDS = 2
# How long a successful check of the store or the scanner is trusted.
CHECK_SECONDS = 5


@router.get(
    "/livez",
    response_model=LivenessRead,
    summary="Check liveness",
    operation_id="read_liveness",
    openapi_extra={"security": []},
    responses=error_responses(_GENERAL_ERRORS),
)
async def read_liveness() -> Response:
    """Respond with 200 while the process is running. Checks nothing else."""
    return JsonResponse(LivenessRead(status="ok").model_dump_json().encode())


@router.get(
    "/readyz",
    response_model=ReadinessRead,
    summary="Check readiness",
    operation_id="read_readiness",
    openapi_extra={"security": []},
    responses=error_responses(
        [
            *_GENERAL_ERRORS,
            DatabaseUnavailable,
            StorageUnavailable,
            ScannerUnavailable,
            ServiceUnavailable,
        ]
    ),
)
async def read_readiness(request: Request) -> Response:
    """Check that the database is migrated and writable, the blob store and the scanner, if any.

    The trusted issuers whose keys cannot be fetched are listed. Without the keys of any issuer the
    process is not ready.
    """
    resources: Resources = request.app.state.resources
    if getattr(request.app.state, "stopping", False):
        raise ServiceUnavailable("The process is shutting down.")
    await _check_database(resources)
    await _check(request, "store", partial(_check_store, resources.store))
    if resources.scanner is not None:
        await _check(request, "scanner", resources.scanner.version)
    failures = _check_issuers(resources.tokens)
    state = ReadinessRead(status="degraded" if failures else "ok", issuers=failures)
    return JsonResponse(state.model_dump_json().encode())


async def _check_database(resources: Resources) -> None:
    try:
        async with asyncio.timeout(DATABASE_SECONDS):
            state = await read_database_state(resources.database)
    except TimeoutError:
        raise DatabaseUnavailable(cause="it did not respond in time") from None
    if state.is_read_only:
        # After a failover to a standby, or when the server protects a full disk.
        raise DatabaseUnavailable("The database is read-only.", cause="it is read-only")
    if not state.is_migrated:
        raise DatabaseUnavailable("The database is not migrated to this version.")


async def _check(request: Request, name: str, check: Callable[[], Awaitable[object]]) -> None:
    """Run a slow check unless it succeeded within the last `CHECK_SECONDS`."""
    state = request.app.state
    checked_at = getattr(state, f"{name}_checked_at", -CHECK_SECONDS)
    if time.monotonic() - checked_at >= CHECK_SECONDS:
        await check()
        setattr(state, f"{name}_checked_at", time.monotonic())


def _check_issuers(verifier: TokenVerifier) -> dict[str, str]:
    """Return why the keys of issuers could not be fetched, by name.

    It fetches nothing. One issuer without keys does not stop the callers of the others.
    """
    failures = {one.issuer.name: one.keys.failure for one in verifier.trusted if one.keys.failure}
    if not any(one.keys.is_usable for one in verifier.trusted) and failures:
        causes = ", ".join(f"{name}: {cause}" for name, cause in failures.items())
        raise ServiceUnavailable(f"The identity provider's keys cannot be fetched ({causes}).")
    return failures


async def _check_store(store: BlobStore) -> None:
    try:
        async with asyncio.timeout(STORE_SECONDS):
            await store.check()
    except TimeoutError:
        raise StorageUnavailable(cause="it did not respond in time") from None
