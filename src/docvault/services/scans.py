"""Malware scans of uploads, and of stored files when the signatures change (D25)."""

import logging
import time
from collections.abc import AsyncIterator
from datetime import timedelta

from docvault.domain.audit import AuditAction
from docvault.domain.scans import (
    NOT_SCANNED,
    ScanState,
    ScanVerdict,
    is_quarantined,
    state_after_failure,
)
from docvault.errors import (
    CustomerBeingErased,
    CustomerNotFound,
    MalwareDetected,
    ScannerUnavailable,
    StorageUnavailable,
)
from docvault.observability import metrics
from docvault.repositories.scans import ScannedFile
from docvault.repositories.unit_of_work import UnitOfWork
from docvault.scanning.clamd import SCAN_SECONDS, Scanner, ScanRefused, ScanResult
from docvault.services.customers import lock_customer
from docvault.services.resources import Resources
from docvault.storage.base import BlobMissing, BlobReader
from docvault.storage.spool import SpoolFile

log = logging.getLogger(__name__)

# The least read rate of the store that the time limit of a scan allows for.
STORE_BYTES_PER_SECOND = 4 * 1024 * 1024
# The length of one run of the job; then other jobs get their turn.
RUN_SECONDS = 10
WINDOW = 100
# After this time all files are scanned again even without new signatures, for those that were
# missed or have no verdict.
REPEAT_AFTER = timedelta(days=1)


async def scan_spooled(
    resources: Resources, spooled: SpoolFile, *, pointer: str | None
) -> ScanVerdict:
    """Scan a received file.

    Raises `MalwareDetected`, and `ScannerUnavailable` if there is no verdict.
    """
    return await _scan_upload(resources, spooled.chunks(), SCAN_SECONDS, pointer)


async def scan_stored(resources: Resources, reader: BlobReader) -> ScanVerdict:
    """Scan bytes that were uploaded directly to the store; see `scan_spooled`."""
    return await _scan_upload(resources, *_stored_bytes(reader), pointer=None)


async def _scan_upload(
    resources: Resources, chunks: AsyncIterator[bytes], seconds: float, pointer: str | None
) -> ScanVerdict:
    if resources.scanner is None:
        return NOT_SCANNED
    try:
        result = await _scan(resources.scanner, "upload", chunks, seconds)
    except ScanRefused:
        raise ScannerUnavailable("The malware scanner could not scan this file.") from None
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
    """Return the bytes and how many seconds the scan may take."""
    size = reader.size_bytes
    return reader.chunks(0, size), SCAN_SECONDS + size / STORE_BYTES_PER_SECOND


async def rescan(resources: Resources) -> bool:
    """Continue scanning stored files again; return whether there is more to do at once.

    Files that were scanned with the current signatures are skipped. If the scanner or the store
    fails, the file that triggered the failure is marked `error` and skipped, so that it does not
    block the others; then the error is raised.
    """
    if resources.scanner is None:
        return False
    scanned_with = await resources.scanner.version()
    await resources.store.check()
    deadline = time.monotonic() + RUN_SECONDS
    async with resources.transaction(resources.system_context()) as uow:
        current = await uow.scans.enter_pass(scanned_with, REPEAT_AFTER)
    if current is None:
        return False
    position = current.position
    while True:
        async with resources.transaction(resources.system_context()) as uow:
            files = await uow.scans.next_files(position, WINDOW)
            if not files:
                await uow.scans.finish_pass()
                return False
        for file in files:
            if file.verdict.scanned_with == scanned_with:
                continue
            await _rescan_file(resources, resources.scanner, file)
            # Checked after a file, so that every run makes progress.
            if time.monotonic() > deadline:
                return True
        position = files[-1].id
        async with resources.transaction(resources.system_context()) as uow:
            await uow.scans.advance(position)
        if time.monotonic() > deadline:
            return True


async def _rescan_file(resources: Resources, scanner: Scanner, file: ScannedFile) -> None:
    """Scan one stored file and save the verdict."""
    failed = ScanVerdict(state_after_failure(file.verdict.state), None)
    try:
        verdict = await _rescan_stored(resources, scanner, file)
    except (ScanRefused, BlobMissing):
        verdict = failed
    except (ScannerUnavailable, StorageUnavailable):
        await _save(resources, file, failed)
        raise
    await _save(resources, file, verdict)


async def _rescan_stored(resources: Resources, scanner: Scanner, file: ScannedFile) -> ScanVerdict:
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
    """Save a verdict and the progress, with an audit event if the quarantine changes."""
    try:
        async with resources.transaction(resources.system_context()) as uow:
            if is_quarantined(verdict.state) == is_quarantined(file.verdict.state):
                await uow.scans.save(file.id, verdict)
            else:
                await _change_quarantine(uow, file, verdict)
            await uow.scans.advance(file.id)
    except (CustomerNotFound, CustomerBeingErased):
        # The customer is being erased, with the file; nothing may be written any more.
        return


async def _change_quarantine(uow: UnitOfWork, file: ScannedFile, verdict: ScanVerdict) -> None:
    customer = await lock_customer(uow, file.customer_id)
    if not await uow.scans.save(file.id, verdict):
        return
    found = is_quarantined(verdict.state)
    await uow.audit(
        AuditAction.DOCUMENT_QUARANTINE if found else AuditAction.DOCUMENT_RELEASE,
        customer=customer,
        document_type=file.type_key,
        version=file.version,
        changes={f"files/{file.number}/scan": {"old": file.verdict.state, "new": verdict.state}},
        event_data={"file": file.number},
    )
