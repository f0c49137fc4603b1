"""`docvault backup` and `docvault restore`."""

import asyncio
import os
from importlib.metadata import version
from pathlib import Path

from docvault.auth.keyring import secret_key, secrets_dir
from docvault.cli.failures import CommandFailed
from docvault.cli.resources import check_database
from docvault.db.backups import (
    DatabaseInUse,
    ReferencedBlob,
    check_is_unused,
    import_tables,
)
from docvault.db.migrate import UnknownRevision, migrate, migrate_to
from docvault.embedded.deployment import connect_or_start_database
from docvault.observability.logs import configure_logging
from docvault.server.startup import open_resources
from docvault.services.backups import (
    BackupError,
    BackupReport,
    back_up,
    database_folder,
    read_manifest,
    restore_store,
)
from docvault.services.verification import Findings
from docvault.settings import Settings

_KEYS = "keys"
_KEY_FILE = "secret-key"
_SIGNING_KEY = "jwt-signing-key.json"


def make_backup(folder: Path) -> str:
    """Create or update the backup in a folder; return what was done as a sentence."""
    os.umask(0o077)
    settings = Settings()

    configure_logging("warning")
    check_database(settings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Not migrated first: operators make a backup before they migrate.
        with connect_or_start_database(settings) as url:
            report = asyncio.run(_back_up(settings, url, folder))
        _copy_keys(settings, folder / _KEYS)
    except (BackupError, OSError) as error:
        raise CommandFailed(str(error)) from None
    return (
        f"{report.copied} files copied, {report.kept} kept, {report.removed} removed, "
        f"{report.records} records of erasures"
    )


def restore_backup(folder: Path) -> str:
    """Restore into an empty deployment; return what was done as a sentence."""
    settings = Settings()
    configure_logging("warning")
    try:
        manifest = read_manifest(folder)
        _restore_keys(settings, folder / _KEYS)
        with connect_or_start_database(settings) as url:
            check_is_unused(url)
            migrate_to(url, manifest.database.revision)
            tables = database_folder(folder, manifest)
            blobs = import_tables(url, tables, manifest.database)
            migrate(url)
            reapplied, findings = asyncio.run(_restore_store(settings, url, folder, blobs))
    except BackupError as error:
        raise CommandFailed(str(error)) from None
    except UnknownRevision:
        raise CommandFailed("the backup was made by a newer version of docvault") from None
    except DatabaseInUse:
        raise CommandFailed("the database is in use; restore into an empty one") from None
    if findings.missing or findings.corrupt:
        raise CommandFailed("files are missing or corrupt in the store: run docvault verify")
    return f"{findings.checked} files restored, {reapplied} erasures applied again"


async def _back_up(settings: Settings, url: str, folder: Path) -> BackupReport:
    async with open_resources(settings, url) as resources:
        return await back_up(resources, url, folder, version=version("docvault"))


async def _restore_store(
    settings: Settings, url: str, folder: Path, blobs: list[ReferencedBlob]
) -> tuple[int, Findings]:
    async with open_resources(settings, url) as resources:
        return await restore_store(resources, folder, blobs)


def _copy_keys(settings: Settings, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / _KEY_FILE).write_text(secret_key(settings))
    signing_key = settings.data_dir / "secrets" / _SIGNING_KEY
    if signing_key.exists():
        (folder / _SIGNING_KEY).write_text(signing_key.read_text())


def _restore_keys(settings: Settings, folder: Path) -> None:
    """Restore the keys that no setting holds; raises `BackupError` if one differs."""
    kept = (folder / _KEY_FILE).read_text()
    if settings.secret_key is None:
        _write_key(settings, _KEY_FILE, kept)
    if secret_key(settings) != kept:
        raise BackupError(
            f"DOCVAULT_SECRET_KEY must be that of the backup, which is in {folder / _KEY_FILE}"
        )
    if (folder / _SIGNING_KEY).exists():
        _write_key(settings, _SIGNING_KEY, (folder / _SIGNING_KEY).read_text())


def _write_key(settings: Settings, name: str, text: str) -> None:
    path = secrets_dir(settings.data_dir) / name
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(text)
