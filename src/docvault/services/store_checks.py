"""Whether the store does what docvault needs: one small object is written, read and deleted."""

import time
from collections.abc import Awaitable, Callable
from uuid import uuid4

from docvault.domain.findings import Finding, passed
from docvault.errors import StorageUnavailable
from docvault.services.resources import Resources
from docvault.storage.base import PROBE_FOLDER, BlobMissing

_BODY = b"docvault"
# Other processes may be checking at the same time.
_LEFTOVER_SECONDS = 3600
_ADVICE = "allow what docs/how-to/object-stores.md lists, and lift locks"


async def check_store(resources: Resources) -> list[Finding]:
    """Try every operation; raises `StorageUnavailable` if the store does not respond."""
    await resources.store.check()
    findings = await _try_operations(resources, f"{PROBE_FOLDER}/{uuid4().hex}")
    if not findings:
        flaws = await resources.store.find_flaws()
        findings = [Finding("store", flaw.problem, flaw.advice) for flaw in flaws]
    return findings or [passed("store")]


async def _try_operations(resources: Resources, key: str) -> list[Finding]:
    findings = []
    for done, operation in _OPERATIONS.items():
        try:
            await operation(resources, key)
        except StorageUnavailable as error:
            cause = error.cause or error.detail
            findings.append(Finding("store", f"objects cannot be {done}: {cause}", _ADVICE))
            if operation is _write:
                break
    return findings


async def _write(resources: Resources, key: str) -> None:
    spooled = resources.spool.create()
    try:
        await spooled.write(_BODY)
        await spooled.finish()
        await resources.store.put(key, spooled.path)
    finally:
        spooled.discard()


async def _read(resources: Resources, key: str) -> None:
    try:
        reader = await resources.store.open(key)
    except BlobMissing:
        raise StorageUnavailable(cause="what was written is missing") from None
    try:
        body = b"".join([chunk async for chunk in reader.chunks(0, reader.size_bytes)])
    finally:
        await reader.close()
    if body != _BODY:
        raise StorageUnavailable(cause="they differ from what was written")


async def _list(resources: Resources, key: str) -> None:
    found = [blob async for blob in resources.store.list_folder(PROBE_FOLDER)]
    if key not in {blob.key for blob in found}:
        raise StorageUnavailable(cause="what was written is missing")
    for blob in found:
        if time.time() - blob.written_at > _LEFTOVER_SECONDS:
            await resources.store.delete(blob.key)


async def _delete(resources: Resources, key: str) -> None:
    await resources.store.delete(key)
    try:
        reader = await resources.store.open(key)
    except BlobMissing:
        return
    await reader.close()
    raise StorageUnavailable(cause="they remain, as under an object lock")


_OPERATIONS: dict[str, Callable[[Resources, str], Awaitable[None]]] = {
    "written": _write,
    "read": _read,
    "listed": _list,
    "deleted": _delete,
}
