"""Scanning what is uploaded, and again what is stored when the signatures change (D25)."""

import logging
import time
from collections.abc import AsyncIterator
from datetime import timedelta

from docvault import metrics
from docvault.auth.principals import Access, System
from docvault.errors import (
    CustomerBeingErased,
    CustomerUnknown,
    MalwareDetected,
    ScannerUnavailable,
    StorageUnavailable,
)
from docvault.models import new_id
from docvault.repositories.scans import ScannedFile
from docvault.repositories.unit import Unit
from docvault.rules.scans import (
    NOT_SCANNED,
    ScanState,
    ScanVerdict,
    is_quarantined,
    state_after_failure,
)
from docvault.scanning.clamd import SCAN_SECONDS, Scanner, ScanRefused, ScanResult
from docvault.schemas.audit_events import AuditAction
from docvault.services.customers import lock_customer
from docvault.services.resources import Resources
from docvault.services.work import Work
from docvault.storage.base import BlobMissing, BlobReader
from docvault.storage.spool import SpoolFile

log = logging.getLogger(__name__)

# What a store that is not much slower than that delivers while it is scanned.
STORE_BYTES_PER_SECOND = 4 * 1024 * 1024
# One run of the job; it then lets others have its place in the worker.
RUN_SECONDS = 10
WINDOW = 100
# Without new signatures: catches what was missed or had no verdict.
REPEAT_AFTER = timedelta(days=1)


async def scan_spooled(
    resources: Resources, spooled: SpoolFile, *, pointer: str | None
) -> ScanVerdict:
    """Return the verdict on a file that arrived.

    Raises `MalwareDetected`, and `ScannerUnavailable` when there is no verdict.
    """
    return await _scan_upload(resources, spooled.chunks(), SCAN_SECONDS, pointer)


async def scan_arrived(resources: Resources, reader: BlobReader) -> ScanVerdict:
    """Return the verdict on bytes that went to the store by themselves; see `scan_spooled`."""
    return await _scan_upload(resources, *_stored_bytes(reader), pointer=None)


async def _scan_upload(
    resources: Resources, chunks: AsyncIterator[bytes], seconds: float, pointer: str | None
) -> ScanVerdict:
    if resources.scanner is None:
        return NOT_SCANNED
    try:
        result = await _scan(resources.scanner, "upload", chunks, seconds)
    except ScanRefused:
        raise ScannerUnavailable("The malware scanner has no verdict on this file.") from None
    if result.malware is not None:
        log.warning("an infected file was refused", extra={"malware": result.malware})
        raise MalwareDetected(pointer=pointer)
    return ScanVerdict(ScanState.CLEAN, result.scanned_with)


async def _scan(
    scanner: Scanner, kind: str, chunks: AsyncIterator[bytes], seconds: float
) -> ScanResult:
    label = "failed"
    try:
        result = await scanner.scan(chunks, seconds=seconds)
        label = "clean" if result.malware is None else "infected"
    finally:
        metrics.SCANS.labels(kind, label).inc()
    return result


def _stored_bytes(reader: BlobReader) -> tuple[AsyncIterator[bytes], float]:
    """Return the bytes and how many seconds it may take to scan them."""
    size = reader.size_bytes
    return reader.chunks(0, size), SCAN_SECONDS + size / STORE_BYTES_PER_SECOND


async def rescan(resources: Resources) -> bool:
    """Go on with scanning stored files again; return whether there is more to do at once.

    Files that were scanned with the present signatures are left out. Raises when the scanner
    or the store fails: the file that this came up with has no verdict then and is passed by, so
    that one that brings down the scanner does not keep the others waiting.
    """
    if resources.scanner is None:
        return False
    scanned_with = await resources.scanner.version()
    await resources.store.check()
    deadline = time.monotonic() + RUN_SECONDS
    async with resources.unit(Access.everyone()) as unit:
        current = await unit.scans.enter_pass(scanned_with, REPEAT_AFTER)
    if current is None:
        return False
    position = current.position
    while True:
        async with resources.unit(Access.everyone()) as unit:
            files = await unit.scans.next_files(position, WINDOW)
            if not files:
                await unit.scans.finish_pass()
                return False
        for file in files:
            if file.verdict.scanned_with == scanned_with:
                continue
            await _rescan_file(resources, resources.scanner, file)
            # Asked after a file, so that each run comes further.
            if time.monotonic() > deadline:
                return True
        position = files[-1].id
        async with resources.unit(Access.everyone()) as unit:
            await unit.scans.advance(position)
        if time.monotonic() > deadline:
            return True


async def _rescan_file(resources: Resources, scanner: Scanner, file: ScannedFile) -> None:
    """Scan one stored file and keep the verdict."""
    failed = ScanVerdict(state_after_failure(file.verdict.state), None)
    try:
        verdict = await _scan_stored(resources, scanner, file)
    except (ScanRefused, BlobMissing):
        verdict = failed
    except (ScannerUnavailable, StorageUnavailable):
        await _save(resources, file, failed)
        raise
    await _save(resources, file, verdict)


async def _scan_stored(resources: Resources, scanner: Scanner, file: ScannedFile) -> ScanVerdict:
    reader = await resources.store.open(file.blob_key)
    try:
        result = await _scan(scanner, "rescan", *_stored_bytes(reader))
    finally:
        await reader.close()
    if result.malware is None:
        return ScanVerdict(ScanState.CLEAN, result.scanned_with)
    log.warning(
        "a stored file is infected", extra={"malware": result.malware, "blob_key": file.blob_key}
    )
    return ScanVerdict(ScanState.INFECTED, result.scanned_with)


async def _save(resources: Resources, file: ScannedFile, verdict: ScanVerdict) -> None:
    """Keep a verdict and the progress, with an audit event when it changes who gets the bytes."""
    try:
        async with resources.unit(Access.everyone()) as unit:
            if is_quarantined(verdict.state) == is_quarantined(file.verdict.state):
                await unit.scans.save(file.id, verdict)
            else:
                await _change_quarantine(resources, unit, file, verdict)
            await unit.scans.advance(file.id)
    except (CustomerUnknown, CustomerBeingErased):
        # The file goes with its customer, about whom nothing may be written any more.
        return


async def _change_quarantine(
    resources: Resources, unit: Unit, file: ScannedFile, verdict: ScanVerdict
) -> None:
    customer = await lock_customer(unit, file.customer_id)
    if not await unit.scans.save(file.id, verdict):
        return
    found = is_quarantined(verdict.state)
    work = Work(System(), new_id(), resources.keyring, resources.settings, unit)
    await work.record(
        AuditAction.DOCUMENT_QUARANTINE if found else AuditAction.DOCUMENT_RELEASE,
        customer=customer,
        document_type=file.type_key,
        version=file.version,
        changes={f"files/{file.number}/scan": {"old": file.verdict.state, "new": verdict.state}},
    )
