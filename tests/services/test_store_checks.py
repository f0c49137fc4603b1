"""The check of the store: every operation is tried."""

import dataclasses
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from tests.factories.stored import overwrite

from docvault.domain.findings import Severity
from docvault.errors import StorageUnavailable
from docvault.services.resources import Resources
from docvault.services.store_checks import check_store
from docvault.storage.base import PROBE_FOLDER, BlobReader, BlobStore, StoredBlob
from docvault.storage.filesystem import FilesystemBlobStore

pytestmark = pytest.mark.req("B-224")


class UnsuitableStore:
    """A filesystem store that does not do one thing."""

    def __init__(self, store: FilesystemBlobStore) -> None:
        self._store = store
        self.spool_dir = store.spool_dir

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


class KeepingStore(UnsuitableStore):
    """A store that locks its objects."""

    async def delete(self, key: str) -> None:
        pass


class RefusingStore(UnsuitableStore):
    """A store whose key may not write."""

    async def put(self, key: str, source: Path) -> None:
        del key, source
        raise StorageUnavailable(cause="S3 responded AccessDenied (403)")


class WritingStore(UnsuitableStore):
    """A store whose key may not read, list or delete."""

    async def open(self, key: str) -> BlobReader:
        del key
        raise StorageUnavailable(cause="S3 responded AccessDenied (403)")

    async def list_folder(self, folder: str) -> AsyncIterator[StoredBlob]:
        if folder:
            raise StorageUnavailable(cause="S3 responded AccessDenied (403)")
        yield StoredBlob(folder, 0, 0)

    async def delete(self, key: str) -> None:
        del key
        raise StorageUnavailable(cause="S3 responded AccessDenied (403)")


async def problems(resources: Resources, store: UnsuitableStore) -> list[str]:
    unsuitable = dataclasses.replace(resources, store=cast("BlobStore", store))
    return [
        one.problem
        for one in await check_store(unsuitable)
        if one.severity is Severity.PROBLEM and "in memory" not in one.problem
    ]


async def test_check_leaves_nothing_in_store(resources: Resources) -> None:
    await check_store(resources)
    assert [blob async for blob in resources.store.list_folder(PROBE_FOLDER)] == []
    assert [blob async for blob in resources.store.list_blobs()] == []


@pytest.mark.own_store("it changes the time of a file")
async def test_leftovers_of_killed_process_are_removed(
    resources: Resources, tmp_path: Path
) -> None:
    names = ["0" * 32, "1" * 32]
    for name in names:
        await overwrite(resources, f"{PROBE_FOLDER}/{name}", b"docvault")
    os.utime(tmp_path / "data" / "blobs" / PROBE_FOLDER / names[0], (0, 0))
    await check_store(resources)
    left = [blob.key async for blob in resources.store.list_folder(PROBE_FOLDER)]
    assert left == [f"{PROBE_FOLDER}/{names[1]}"]


@pytest.mark.own_store("it wraps a filesystem store")
@pytest.mark.parametrize(
    ("store", "expected"),
    [
        (
            KeepingStore,
            ["objects cannot be deleted: they remain, as under an object lock"],
        ),
        (RefusingStore, ["objects cannot be written: S3 responded AccessDenied (403)"]),
        (
            WritingStore,
            [
                f"objects cannot be {done}: S3 responded AccessDenied (403)"
                for done in ("read", "listed", "deleted")
            ],
        ),
    ],
)
async def test_what_store_does_not_do_is_reported(
    resources: Resources,
    blob_store: FilesystemBlobStore,
    store: type[UnsuitableStore],
    expected: list[str],
) -> None:
    assert await problems(resources, store(blob_store)) == expected
