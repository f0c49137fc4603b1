"""Checks of a deployment: what is wrong, and what to do about it (decision 0085).

`docvault doctor` runs all of them. A process that starts checks the database before it serves, and
the store, the machine and the scanner while it serves; it fetches the keys of issuers anyway.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

from docvault.db.health import (
    DatabaseSetup,
    DatabaseState,
    read_database_setup,
    read_database_state,
)
from docvault.domain.findings import Finding, Severity, passed
from docvault.errors import DocvaultError, ServiceUnavailable
from docvault.scanning.clamd import Scanner
from docvault.services.machine_checks import check_memory, check_spool, read_memory_limit
from docvault.services.resources import Resources
from docvault.services.store_checks import check_store

CHECK_SECONDS = 10
MAX_CLOCK_SKEW_SECONDS = 5
NAMES_LISTED = 3


async def diagnose(resources: Resources) -> AsyncIterator[Finding]:
    """Yield at least one finding for each part of the deployment.

    Writes and deletes small objects of no customer.
    """
    for finding in await check_database(resources):
        yield finding
    async for finding in check_surroundings(resources, processes=1, is_worker=False):
        yield finding
    async for finding in _check_issuers(resources):
        yield finding


async def check_database(resources: Resources) -> list[Finding]:
    """Check whether the database serves this version and role, and its clock."""

    async def check() -> list[Finding]:
        await resources.database.require_sessions()
        state = await read_database_state(resources.database)
        setup = await read_database_setup(resources.database)
        findings = [
            *_judge_state(state, resources.settings.database_pool_size),
            *(_judge_setup(setup) if state.is_migrated else []),
        ]
        return [*(findings or [passed("database")]), _judge_clock(state.now)]

    advice = None if resources.settings.embedded else "check DOCVAULT_DATABASE_URL"
    return await _attempt("database", check, advice, Severity.FATAL)


async def check_surroundings(
    resources: Resources, *, processes: int, is_worker: bool
) -> AsyncIterator[Finding]:
    """Check what is around these processes: store, spool, scanner and memory."""
    in_s3 = resources.settings.effective_storage_url.startswith("s3:")
    advice = "check DOCVAULT_S3_ENDPOINT_URL and AWS_…" if in_s3 else None
    for finding in await _attempt("store", lambda: check_store(resources), advice):
        yield finding
    for finding in await _attempt("spool", lambda: check_spool(resources)):
        yield finding
    if (scanner := resources.scanner) is not None:
        for finding in await _attempt(
            "scanner", lambda: _check_scanner(scanner), "check DOCVAULT_CLAMD_URL"
        ):
            yield finding
    yield check_memory(
        processes,
        resources.store.write_memory_bytes,
        is_worker=is_worker,
        limit=read_memory_limit(),
    )


async def _attempt(
    check: str,
    work: Callable[[], Awaitable[list[Finding]]],
    advice: str | None = None,
    severity: Severity = Severity.PROBLEM,
) -> list[Finding]:
    """Return what a check finds, or why it failed and what to do then."""
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await work()
    except ServiceUnavailable as error:
        return [Finding(check, error.cause or error.detail, advice, severity)]
    except DocvaultError as error:
        return [Finding(check, error.detail, advice, severity)]
    except TimeoutError:
        return [Finding(check, f"no response within {CHECK_SECONDS} seconds", advice, severity)]


def _judge_setup(setup: DatabaseSetup) -> list[Finding]:
    findings = []
    if setup.forbidden:
        findings.append(
            Finding(
                "database",
                f"the role may not use {_list_some(setup.forbidden)}",
                "grant it what docs/how-to/postgresql.md lists",
                Severity.FATAL,
            )
        )
    if not setup.has_checksums:
        findings.append(
            Finding(
                "database",
                "data checksums are off, so PostgreSQL does not notice damaged pages",
                "stop it and run `pg_checksums --enable`",
                Severity.HINT,
            )
        )
    return findings


def _list_some(names: list[str]) -> str:
    more = len(names) - NAMES_LISTED
    return ", ".join(names[:NAMES_LISTED]) + (f" and {more} more" if more > 0 else "")


def _judge_state(state: DatabaseState, pool_size: int) -> list[Finding]:
    findings = []
    if state.is_newer:
        findings.append(
            Finding("database", "it was migrated by a newer version", "run that version")
        )
    if not state.is_migrated:
        findings.append(
            Finding(
                "database", "it is not at this version", "run `docvault migrate`", Severity.FATAL
            )
        )
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
    return findings


def _judge_clock(now: datetime) -> Finding:
    skew = abs((datetime.now(UTC) - now).total_seconds())
    if skew <= MAX_CLOCK_SKEW_SECONDS:
        return passed("clock")
    problem = f"it differs by {skew:.0f} seconds from the database's"
    return Finding("clock", problem, "synchronize both machines")


async def _check_scanner(scanner: Scanner) -> list[Finding]:
    await scanner.version()
    return [passed("scanner")]


async def _check_issuers(resources: Resources) -> AsyncIterator[Finding]:
    for trusted in resources.tokens.trusted:
        await trusted.keys.refresh()
        check = f"issuer {trusted.issuer.name}"
        if trusted.keys.failure is None:
            yield passed(check)
        else:
            yield Finding(
                check,
                f"its keys cannot be fetched: {trusted.keys.failure}",
                "check its address in the settings and the way to it",
            )
