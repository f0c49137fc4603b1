"""Checks of a deployment: what is wrong, and what to do about it."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from docvault.db.engine import Database
from docvault.db.health import DatabaseState, read_database_state
from docvault.errors import DocvaultError, ServiceUnavailable
from docvault.services.resources import Resources
from docvault.storage.base import BlobExists, BlobMissing

CHECK_SECONDS = 10
MAX_CLOCK_SKEW_SECONDS = 5
# Two inspectors, one preview of the costliest kind, and the process itself.
MIN_MEMORY_BYTES = (2 * 256 + 640 + 256) * 1024**2
# Below this a burst of uploads fills the disk (`docs/how-to/size-and-scale.md`).
SPOOL_UPLOADS = 2
_Result = TypeVar("_Result")
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check; without a problem all is well."""

    check: str
    problem: str | None = None
    advice: str | None = None

    def __str__(self) -> str:
        """Return the finding as one line."""
        if self.problem is None:
            return f"{self.check}: ok"
        return f"{self.check}: {self.problem}" + (f"; {self.advice}" if self.advice else "")


async def diagnose(resources: Resources) -> AsyncIterator[Finding]:
    """Yield at least one finding for each part of the deployment.

    Writes and deletes one small blob of no customer.
    """
    database = await _attempt("database", lambda: _read_database(resources.database))
    if isinstance(database, Finding):
        yield database
    else:
        for finding in _judge_database(database, resources.settings.database_pool_size):
            yield finding
    yield await _attempt("store", lambda: _probe_store(resources))
    yield _check_spool(resources)
    async for finding in _check_issuers(resources):
        yield finding
    if resources.scanner is not None:
        version = await _attempt("scanner", resources.scanner.version)
        yield version if isinstance(version, Finding) else Finding("scanner")
    yield _check_memory(_CGROUP_LIMIT)


async def _attempt(check: str, work: Callable[[], Awaitable[_Result]]) -> _Result | Finding:
    """Return the result, or why there is none."""
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await work()
    except ServiceUnavailable as error:
        return Finding(check, error.cause or error.detail)
    except DocvaultError as error:
        return Finding(check, error.detail)
    except TimeoutError:
        return Finding(check, f"no response within {CHECK_SECONDS} seconds")


async def _read_database(database: Database) -> DatabaseState:
    state = await read_database_state(database)
    await database.require_sessions()
    return state


def _judge_database(state: DatabaseState, pool_size: int) -> list[Finding]:
    findings = []
    if not state.is_migrated:
        findings.append(Finding("database", "it is not at this version", "run `docvault migrate`"))
    if state.is_read_only:
        findings.append(Finding("database", "it is read-only", "connect to the primary"))
    if state.free_connections < pool_size:
        findings.append(
            Finding(
                "database",
                f"{state.free_connections} connections are free, and a process opens {pool_size}",
                "raise max_connections or lower DOCVAULT_DATABASE_POOL_SIZE",
            )
        )
    skew = abs((datetime.now(UTC) - state.now).total_seconds())
    clock = Finding("clock")
    if skew > MAX_CLOCK_SKEW_SECONDS:
        problem = f"it differs by {skew:.0f} seconds from the database's"
        clock = Finding("clock", problem, "synchronize both machines")
    return [*(findings or [Finding("database")]), clock]


async def _probe_store(resources: Resources) -> Finding:
    """Write, overwrite, read and delete one blob."""
    store, key = resources.store, f"{uuid4()}/{uuid4().hex}"
    await store.check()
    with tempfile.TemporaryDirectory(dir=store.spool_dir) as folder:
        await store.put(key, _write_file(Path(folder) / "first"))
        try:
            await store.put(key, _write_file(Path(folder) / "second"))
            return Finding(
                "store",
                "it replaces objects in spite of If-None-Match",
                "use a store that honors conditional writes, or large uploads go through docvault",
            )
        except BlobExists:
            pass
        finally:
            await store.delete(key)
    try:
        reader = await store.open(key)
    except BlobMissing:
        return Finding("store")
    await reader.close()
    return Finding("store", "deleted objects remain", "remove the bucket's object lock")


def _write_file(path: Path) -> Path:
    path.write_bytes(path.name.encode())
    return path


def _check_spool(resources: Resources) -> Finding:
    folder = resources.settings.spool_dir or resources.store.spool_dir
    needed = SPOOL_UPLOADS * resources.settings.max_upload_bytes
    free = shutil.disk_usage(folder).free
    if free >= needed:
        return Finding("spool")
    problem = f"only {free // 1024**2} MiB are free"
    return Finding("spool", problem, "free some, or choose another folder (DOCVAULT_SPOOL_DIR)")


async def _check_issuers(resources: Resources) -> AsyncIterator[Finding]:
    for trusted in resources.tokens.trusted:
        await trusted.keys.refresh()
        check = f"issuer {trusted.issuer.name}"
        if trusted.keys.failure is None:
            yield Finding(check)
        else:
            yield Finding(check, f"its keys cannot be fetched: {trusted.keys.failure}")


def _check_memory(limit_file: Path) -> Finding:
    """Compare the limit of the control group (version 2), if there is one."""
    try:
        limit = limit_file.read_text().strip()
    except OSError:
        return Finding("memory")
    if limit == "max" or int(limit) >= MIN_MEMORY_BYTES:
        return Finding("memory")
    return Finding(
        "memory",
        f"the limit is {int(limit) // 1024**2} MiB",
        f"allow at least {MIN_MEMORY_BYTES // 1024**2} MiB, or previews and inspections are killed",
    )
