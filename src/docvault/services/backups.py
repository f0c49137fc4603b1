"""A backup of everything in a folder, and restoring one into an empty deployment (decision 0082).

    backup.json      which folder has the database, and what its files are
    database-…/      a file for each table
    blobs/           the bytes, under their keys; never changed: the next backup adds new ones
    ledger/          the records of erasures
    keys/            the secret key, and the local signing key if there is one

The folder holds a single state, the latest. What no row refers to any more is removed from it, so
that the next backup no longer contains an erased customer.
"""

import asyncio
import hashlib
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ValidationError

from docvault.db.backups import DatabaseCopy, ReferencedBlob, damaged_tables, export_tables
from docvault.services.erasures import reapply_erasures
from docvault.services.event_log import begin_log
from docvault.services.resources import Resources
from docvault.services.verification import Findings, verify
from docvault.storage.base import LEDGER_FOLDER, BlobExists, BlobMissing

FORMAT = 1
# Each try has fewer files left to copy than the one before, and so less time for deletions.
TRIES = 5
_MANIFEST = "backup.json"
_BLOBS = "blobs"
_LEDGER = "ledger"
_READ_BYTES = 1024 * 1024


class BackupError(Exception):
    """The backup cannot be made or used; the message says why."""


class Manifest(BaseModel):
    """The description of a backup."""

    format: int = FORMAT
    version: str
    created_at: datetime
    folder: str
    database: DatabaseCopy


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What a backup did, in numbers of files."""

    copied: int
    kept: int
    removed: int
    records: int


def read_manifest(folder: Path) -> Manifest:
    """Return the description of a backup whose tables are intact; raises `BackupError`."""
    try:
        manifest = Manifest.model_validate_json((folder / _MANIFEST).read_text())
    except OSError as error:
        raise BackupError(f"there is no backup in {folder}: {error.strerror}") from None
    except ValidationError:
        raise BackupError(
            f"{folder / _MANIFEST} is damaged, or was made by a newer version"
        ) from None
    if manifest.format != FORMAT:
        raise BackupError("the backup was made by a newer version of docvault")
    if damaged := damaged_tables(database_folder(folder, manifest), manifest.database):
        raise BackupError(f"the backup is damaged: tables {', '.join(damaged)}")
    return manifest


def database_folder(folder: Path, manifest: Manifest) -> Path:
    """Return where the tables of a backup are."""
    return folder / Path(manifest.folder).name


async def back_up(
    resources: Resources, database_url: str, folder: Path, *, version: str
) -> BackupReport:
    """Create or update the backup in a folder, while the service runs."""
    created_at = datetime.now(UTC)
    tables = folder / f"database-{created_at:%Y%m%dT%H%M%S%f}"
    copied = 0
    for _ in range(TRIES):
        shutil.rmtree(tables, ignore_errors=True)
        tables.mkdir(parents=True)
        database, blobs = await asyncio.to_thread(export_tables, database_url, tables)
        new, is_complete = await _copy_blobs(resources, blobs, folder / _BLOBS)
        copied += new
        if is_complete:
            break
        # A job has deleted bytes since these rows were read.
    else:
        shutil.rmtree(tables)
        raise BackupError("files are missing in the store: run docvault verify")
    # After the rows: an erasure since then is in the ledger, and applied again by a restore.
    records = await _copy_ledger(resources, folder / _LEDGER)
    manifest = Manifest(
        version=version, created_at=created_at, folder=tables.name, database=database
    )
    _replace(folder / _MANIFEST, manifest.model_dump_json(indent=2).encode())
    removed = _remove_unused(folder, tables.name, {blob.key for blob in blobs})
    return BackupReport(copied, len(blobs) - copied, removed, records)


async def restore_store(
    resources: Resources, folder: Path, blobs: list[ReferencedBlob]
) -> tuple[int, Findings]:
    """Store the bytes and the ledger, and apply the erasures again; return how many were.

    Then verify the result. Events begin a new log, because those since the backup are lost.
    """
    await begin_log(resources)
    for blob in blobs:
        await _store(resources, blob.key, folder / _BLOBS / blob.key, blob.sha256)
    for record in sorted((folder / _LEDGER).glob("*")):
        await _store(resources, f"{LEDGER_FOLDER}/{record.name}", record)
    reapplied = await reapply_erasures(resources)
    findings = await verify(resources, rehash=True, progress=lambda _: None)
    return reapplied, findings


async def _copy_blobs(
    resources: Resources, blobs: list[ReferencedBlob], folder: Path
) -> tuple[int, bool]:
    """Copy what is not there yet; return how many, and whether all were found."""
    copied, is_complete = 0, True
    for blob in blobs:
        path = folder / blob.key
        if path.is_file() and path.stat().st_size == blob.size_bytes:
            continue
        try:
            body_digest = await _fetch(resources, blob.key, path)
        except BlobMissing:
            is_complete = False
            continue
        if body_digest != blob.sha256:
            path.unlink()
            raise BackupError(f"{blob.key} is corrupt in the store: run docvault verify --rehash")
        copied += 1
    return copied, is_complete


async def _copy_ledger(resources: Resources, folder: Path) -> int:
    count = 0
    async for record in resources.store.list_folder(LEDGER_FOLDER):
        path = folder / record.key.removeprefix(f"{LEDGER_FOLDER}/")
        if not path.exists():
            await _fetch(resources, record.key, path)
        count += 1
    return count


async def _fetch(resources: Resources, key: str, path: Path) -> str:
    """Write the bytes of a key into a file, which appears complete; return their digest."""
    reader = await resources.store.open(key)
    digest = hashlib.sha256()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}")
    try:
        with draft.open("wb") as file:
            async for chunk in reader.chunks(0, reader.size_bytes):
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
    finally:
        await reader.close()
    draft.rename(path)
    return digest.hexdigest()


async def _store(resources: Resources, key: str, path: Path, sha256: str | None = None) -> None:
    """Store a file of the backup, unless its key has bytes already."""
    spooled = resources.spool.create()
    try:
        try:
            with path.open("rb") as file:
                while data := file.read(_READ_BYTES):
                    await spooled.write(data)
        except OSError as error:
            raise BackupError(f"the backup is damaged: {path.name}: {error.strerror}") from None
        await spooled.finish()
        if sha256 is not None and spooled.sha256 != sha256:
            raise BackupError(f"the backup is damaged: {path}")
        with suppress(BlobExists):
            await resources.store.put(key, spooled.path)
    finally:
        spooled.discard()


def _replace(path: Path, body: bytes) -> None:
    draft = path.with_name(f".{path.name}")
    with draft.open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)


def _remove_unused(folder: Path, tables: str, keys: set[str]) -> int:
    """Remove earlier databases, and bytes that no row refers to; return how many of these."""
    for earlier in folder.glob("database-*"):
        if earlier.name != tables:
            shutil.rmtree(earlier)
    removed = 0
    for path in (folder / _BLOBS).glob("*/*"):
        if str(path.relative_to(folder / _BLOBS)) not in keys:
            path.unlink()
            removed += 1
    for customer in (folder / _BLOBS).glob("*"):
        with suppress(OSError):
            customer.rmdir()
    return removed
