"""A backup has everything, and restores into an empty deployment."""

import dataclasses
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psycopg
import pytest
from tests.factories import files
from tests.factories.setups import make_customer, make_type, upload_of
from tests.factories.stored import flipped, overwrite, stored_bytes
from tests.fixtures.database import EMPTY, FIRST_ROWS, Tables

from docvault.db.backups import DatabaseInUse, check_is_unused, import_tables
from docvault.server.startup import open_resources
from docvault.services.backups import (
    BackupError,
    BackupReport,
    back_up,
    database_folder,
    read_manifest,
    restore_store,
)
from docvault.services.blobs import delete_queued_blobs
from docvault.services.erasures import finish_erasures
from docvault.services.resources import Resources
from docvault.storage.base import StoredBlob

pytestmark = [
    pytest.mark.req("B-219"),
    pytest.mark.own_store("restores into a second store"),
]


def path_of(number: int) -> str:
    return f"/v1/admin/customers/customer-{number}/documents/contract"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backup"


@pytest.fixture
async def documents(admin: httpx.AsyncClient) -> None:
    """Three customers with a document each."""
    await make_type(admin, "Contract")
    for number in range(3):
        await make_customer(admin, f"customer-{number}")
        await admin.put(path_of(number), **upload_of(files.pdf(f"page {number}")))


@pytest.fixture
async def elsewhere(
    resources: Resources, database_url: str, tmp_path: Path
) -> AsyncIterator[Resources]:
    """The same keys and settings with another store."""
    settings = resources.settings.model_copy(update={"data_dir": tmp_path / "elsewhere"})
    shutil.copytree(resources.settings.data_dir / "secrets", settings.data_dir / "secrets")
    async with open_resources(settings, database_url) as opened:
        yield dataclasses.replace(opened, inspectors=resources.inspectors)


async def copy(resources: Resources, url: str, folder: Path) -> BackupReport:
    return await back_up(resources, url, folder, version="0")


def empty(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(EMPTY)
        connection.execute(FIRST_ROWS)


async def restore(resources: Resources, url: str, folder: Path) -> int:
    """Restore; return how many erasures were applied again."""
    manifest = read_manifest(folder)
    blobs = import_tables(url, database_folder(folder, manifest), manifest.database)
    reapplied, findings = await restore_store(resources, folder, blobs)
    assert not findings.missing
    assert not findings.corrupt
    return reapplied


@pytest.mark.usefixtures("documents")
class TestRestore:
    async def test_every_row_and_byte_is_back(
        self, resources: Resources, elsewhere: Resources, database_url: str, folder: Path
    ) -> None:
        await copy(resources, database_url, folder)
        tables = Tables(database_url)
        before = tables.rows()
        log = before.pop("event_log")
        stored = {b.key: await stored_bytes(resources, b.key) async for b in all_blobs(resources)}
        empty(database_url)
        await restore(elsewhere, database_url, folder)
        after = tables.rows()
        assert after.pop("event_log") != log
        assert after == before
        assert {
            b.key: await stored_bytes(elsewhere, b.key) async for b in all_blobs(elsewhere)
        } == stored
        assert len(stored) == 3

    async def test_numbers_go_on_where_they_were(
        self, resources: Resources, elsewhere: Resources, database_url: str, folder: Path
    ) -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("SELECT setval('fact_numbers', 77)")
            await copy(resources, database_url, folder)
            empty(database_url)
            connection.execute("SELECT setval('fact_numbers', 1)")
            await restore(elsewhere, database_url, folder)
            assert connection.execute("SELECT nextval('fact_numbers')").fetchone() == (78,)

    async def test_erasure_since_backup_is_applied_again(
        self,
        admin: httpx.AsyncClient,
        resources: Resources,
        elsewhere: Resources,
        database_url: str,
        folder: Path,
    ) -> None:
        await copy(resources, database_url, folder)
        saved = folder.with_name("saved")
        shutil.copytree(folder, saved)
        await admin.delete("/v1/admin/customers/customer-1")
        await finish_erasures(resources)
        await copy(resources, database_url, folder)
        # The ledger is the only part of the later backup that is left.
        shutil.copytree(folder / "ledger", saved / "ledger", dirs_exist_ok=True)
        empty(database_url)
        assert await restore(elsewhere, database_url, saved) == 1
        assert (await admin.get(path_of(1))).status_code == 404
        assert (await admin.get(path_of(2))).status_code == 200

    async def test_used_database_is_not_replaced(
        self, resources: Resources, database_url: str, folder: Path
    ) -> None:
        await copy(resources, database_url, folder)
        with pytest.raises(DatabaseInUse):
            check_is_unused(database_url)
        empty(database_url)
        check_is_unused(database_url)

    async def test_damaged_file_is_reported(
        self, resources: Resources, elsewhere: Resources, database_url: str, folder: Path
    ) -> None:
        await copy(resources, database_url, folder)
        damaged = next((folder / "blobs").glob("*/*"))
        damaged.write_bytes(flipped(damaged.read_bytes()))
        empty(database_url)
        with pytest.raises(BackupError, match="damaged"):
            await restore(elsewhere, database_url, folder)

    async def test_damaged_table_is_reported(
        self, resources: Resources, database_url: str, folder: Path
    ) -> None:
        await copy(resources, database_url, folder)
        table = next(iter(found(folder, "database-*/customers.copy")))
        table.write_bytes(table.read_bytes() + b"\n")
        with pytest.raises(BackupError, match="customers"):
            read_manifest(folder)


def test_folder_without_backup_is_reported(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="there is no backup"):
        read_manifest(tmp_path)


@pytest.mark.usefixtures("documents")
class TestBackUp:
    async def test_only_new_files_are_copied(
        self, admin: httpx.AsyncClient, resources: Resources, database_url: str, folder: Path
    ) -> None:
        assert await copy(resources, database_url, folder) == BackupReport(3, 0, 0, 0)
        await admin.put(path_of(0), **upload_of(files.pdf("another")))
        assert await copy(resources, database_url, folder) == BackupReport(1, 3, 0, 0)
        assert len(found(folder, "database-*")) == 1

    async def test_erased_customer_leaves_backup(
        self, admin: httpx.AsyncClient, resources: Resources, database_url: str, folder: Path
    ) -> None:
        await copy(resources, database_url, folder)
        await admin.delete("/v1/admin/customers/customer-1")
        await finish_erasures(resources)
        assert await copy(resources, database_url, folder) == BackupReport(0, 2, 1, 1)
        kept = b"".join(path.read_bytes() for path in found(folder, "**/*") if path.is_file())
        assert b"customer-1" not in kept
        assert len(list((folder / "blobs").glob("*"))) == 2

    async def test_file_deleted_while_copying_is_in_neither_rows_nor_files(
        self,
        admin: httpx.AsyncClient,
        resources: Resources,
        database_url: str,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        open_blob = type(resources.store).open
        is_first = True

        async def delete_first(store: object, key: str) -> object:
            nonlocal is_first
            if is_first:
                is_first = False
                await admin.delete(path_of(0))
                await admin.delete(path_of(1))
                await delete_queued_blobs(resources)
            return await open_blob(store, key)  # type: ignore[arg-type]  # it is the store

        monkeypatch.setattr(type(resources.store), "open", delete_first)
        report = await copy(resources, database_url, folder)
        assert (report.copied, len(list((folder / "blobs").glob("*/*")))) == (1, 1)

    async def test_missing_file_is_reported_and_earlier_backup_kept(
        self, admin: httpx.AsyncClient, resources: Resources, database_url: str, folder: Path
    ) -> None:
        await copy(resources, database_url, folder)
        before = (folder / "backup.json").read_bytes()
        await admin.put(path_of(0), **upload_of(files.pdf("another")))
        kept = {str(p.relative_to(folder / "blobs")) for p in (folder / "blobs").glob("*/*")}
        (key,) = {blob.key async for blob in all_blobs(resources)} - kept
        await resources.store.delete(key)
        with pytest.raises(BackupError, match="missing"):
            await copy(resources, database_url, folder)
        assert (folder / "backup.json").read_bytes() == before
        read_manifest(folder)

    async def test_corrupt_file_is_reported(
        self, resources: Resources, database_url: str, folder: Path
    ) -> None:
        key = await anext(blob.key async for blob in all_blobs(resources))
        await overwrite(resources, key, flipped(await stored_bytes(resources, key)))
        with pytest.raises(BackupError, match="corrupt"):
            await copy(resources, database_url, folder)
        assert not (folder / "blobs" / key).exists()


def found(folder: Path, pattern: str) -> list[Path]:
    return list(folder.glob(pattern))


def all_blobs(resources: Resources) -> AsyncIterator[StoredBlob]:
    return resources.store.list_blobs()
