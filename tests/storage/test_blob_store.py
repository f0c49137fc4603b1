"""The contract of every blob store, run against each backend."""

import asyncio
import hashlib
import os
import time
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from botocore.exceptions import ClientError
from tests.fixtures.memory_store import MemoryBlobStore

from docvault.storage.base import (
    CHUNK_BYTES,
    LEDGER_FOLDER,
    OTHER_FOLDERS,
    BlobExists,
    BlobMissing,
    BlobReader,
    BlobStore,
)
from docvault.storage.filesystem import FilesystemBlobStore
from docvault.storage.s3 import PART_BYTES, S3BlobStore

MEBIBYTE = 1024 * 1024


S3_STORES = ["s3_store", "moto_store", "rclone_store"]
STORES = ["filesystem", "memory", *S3_STORES]
# rclone keeps no promise about concurrent changes: two writes of one key, or a write while the last
# object beside it is deleted. docs/how-to/object-stores.md calls it unsuited for that reason.
SAFE_STORES = [store for store in STORES if store != "rclone_store"]
# What they do not do. The tests fail if one begins to do it.
IGNORED_CONDITIONS = {
    "moto_store": ["checksums"],
    "rclone_store": ["checksums", "If-None-Match"],
}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    """An empty store of each backend."""
    if request.param == "filesystem":
        return FilesystemBlobStore(tmp_path / "blobs")
    if request.param in S3_STORES:
        s3_store: BlobStore = request.getfixturevalue(request.param)
        return s3_store
    spool = tmp_path / "spool"
    spool.mkdir()
    return MemoryBlobStore(spool)


@pytest.fixture
def ignored(request: pytest.FixtureRequest) -> list[str]:
    """The conditions that the store of the test ignores."""
    return IGNORED_CONDITIONS.get(request.node.callspec.params["store"], [])


def new_key(customer: UUID | None = None) -> str:
    return f"{customer or uuid4()}/{uuid4().hex}"


def spooled(store: BlobStore, body: bytes) -> Path:
    """A file in the spool, as an upload leaves it."""
    path = store.spool_dir / uuid4().hex
    path.write_bytes(body)
    return path


async def put(store: BlobStore, body: bytes, key: str | None = None) -> str:
    key = key or new_key()
    await store.put(key, spooled(store, body))
    return key


async def read(reader: BlobReader, start: int = 0, length: int | None = None) -> bytes:
    length = reader.size_bytes - start if length is None else length
    try:
        return b"".join([chunk async for chunk in reader.chunks(start, length)])
    finally:
        await reader.close()


async def content(store: BlobStore, key: str) -> bytes:
    return await read(await store.open(key))


class TestPut:
    """BlobStore.put()."""

    @pytest.mark.req("R-009")
    @pytest.mark.parametrize("size", [1, 4095, MEBIBYTE - 1, MEBIBYTE, MEBIBYTE + 1, 3 * MEBIBYTE])
    async def test_bytes_round_trip(self, store: BlobStore, size: int) -> None:
        body = os.urandom(size)
        key = await put(store, body)
        assert hashlib.sha256(await content(store, key)).digest() == hashlib.sha256(body).digest()

    async def test_empty_blob_is_stored(self, store: BlobStore) -> None:
        key = await put(store, b"")
        assert (await store.open(key)).size_bytes == 0

    async def test_key_is_never_overwritten(self, store: BlobStore, ignored: list[str]) -> None:
        key = await put(store, b"first")
        if "If-None-Match" in ignored:
            await put(store, b"second", key)
            assert await content(store, key) == b"second"
            return
        with pytest.raises(BlobExists):
            await put(store, b"second", key)
        assert await content(store, key) == b"first"

    @pytest.mark.parametrize("store", SAFE_STORES, indirect=True)
    async def test_one_concurrent_put_of_same_key_succeeds(self, store: BlobStore) -> None:
        key, bodies = new_key(), [bytes([n]) * 1000 for n in range(8)]
        results = await asyncio.gather(
            *(put(store, body, key) for body in bodies), return_exceptions=True
        )
        assert [r for r in results if not isinstance(r, BlobExists)] == [key]
        assert await content(store, key) in bodies

    async def test_blobs_of_customers_are_separate(self, store: BlobStore) -> None:
        customer = uuid4()
        keys = [await put(store, bytes([n]), new_key(customer)) for n in range(3)]
        assert [await content(store, key) for key in keys] == [b"\0", b"\1", b"\2"]

    async def test_identical_bytes_are_stored_twice(self, store: BlobStore) -> None:
        """No deduplication: a customer's bytes can be deleted without affecting others (A-18)."""
        one, two = await put(store, b"same"), await put(store, b"same")
        await store.delete(one)
        assert await content(store, two) == b"same"


class TestOpen:
    """BlobStore.open()."""

    async def test_unknown_key_is_missing(self, store: BlobStore) -> None:
        with pytest.raises(BlobMissing):
            await store.open(new_key())

    async def test_unknown_key_of_same_customer_is_missing(self, store: BlobStore) -> None:
        customer = uuid4()
        await put(store, b"x", new_key(customer))
        with pytest.raises(BlobMissing):
            await store.open(new_key(customer))

    async def test_size_is_known_before_reading(self, store: BlobStore) -> None:
        reader = await store.open(await put(store, b"x" * 1234))
        assert reader.size_bytes == 1234
        await reader.close()

    @pytest.mark.parametrize(
        ("start", "length"),
        [(0, 1), (0, 10), (5, 1), (MEBIBYTE - 1, 2), (MEBIBYTE, MEBIBYTE), (2 * MEBIBYTE + 6, 1)],
    )
    async def test_any_range_can_be_read(self, store: BlobStore, start: int, length: int) -> None:
        body = os.urandom(2 * MEBIBYTE + 7)
        reader = await store.open(await put(store, body))
        assert await read(reader, start, length) == body[start : start + length]

    async def test_readers_are_independent(self, store: BlobStore) -> None:
        key = await put(store, b"0123456789")
        one, two = await store.open(key), await store.open(key)
        assert await read(one, 0, 5) == b"01234"
        assert await read(two, 5, 5) == b"56789"

    async def test_started_read_survives_deletion(self, store: BlobStore) -> None:
        body = os.urandom(2 * MEBIBYTE)
        key = await put(store, body)
        reader = await store.open(key)
        chunks = reader.chunks(0, len(body))
        first = await anext(chunks)
        await store.delete(key)
        assert first + b"".join([chunk async for chunk in chunks]) == body

    @pytest.mark.req("B-054")
    async def test_chunk_size_is_limited(self, store: BlobStore) -> None:
        body = os.urandom(2 * MEBIBYTE + 1)
        reader = await store.open(await put(store, body))
        chunks = [chunk async for chunk in reader.chunks(1, len(body) - 1)]
        await reader.close()
        assert b"".join(chunks) == body[1:]
        assert max(map(len, chunks)) <= CHUNK_BYTES


class TestDelete:
    """BlobStore.delete()."""

    async def test_deleted_bytes_are_gone(self, store: BlobStore) -> None:
        key = await put(store, b"x")
        await store.delete(key)
        with pytest.raises(BlobMissing):
            await store.open(key)

    async def test_deletion_is_idempotent(self, store: BlobStore) -> None:
        key = await put(store, b"x")
        await store.delete(key)
        await store.delete(key)
        await store.delete(new_key())
        assert [blob async for blob in store.list_blobs()] == []

    async def test_other_blobs_are_kept(self, store: BlobStore) -> None:
        customer = uuid4()
        deleted, kept = [await put(store, b"x", new_key(customer)) for _ in range(2)]
        await store.delete(deleted)
        assert await content(store, kept) == b"x"

    async def test_concurrent_deletions_are_safe(self, store: BlobStore) -> None:
        customer = uuid4()
        keys = [await put(store, b"x", new_key(customer)) for _ in range(10)]
        await asyncio.gather(*(store.delete(key) for key in keys * 3))
        assert [blob async for blob in store.list_blobs()] == []

    @pytest.mark.parametrize("store", SAFE_STORES, indirect=True)
    async def test_put_during_deletion_of_last_blob_succeeds(self, store: BlobStore) -> None:
        customer = uuid4()
        for _ in range(30):
            old = await put(store, b"old", new_key(customer))
            new = new_key(customer)
            await asyncio.gather(store.delete(old), put(store, b"new", new))
            assert await content(store, new) == b"new"
            await store.delete(new)


class TestListBlobs:
    """BlobStore.list_blobs()."""

    async def test_empty_store_lists_nothing(self, store: BlobStore) -> None:
        assert [blob async for blob in store.list_blobs()] == []

    async def test_every_blob_is_listed_once_with_metadata(self, store: BlobStore) -> None:
        customer = uuid4()
        bodies = {
            await put(store, bytes(n), new_key(customer if n % 2 else None)): n for n in range(1, 8)
        }
        listed = [blob async for blob in store.list_blobs()]
        assert {blob.key: blob.size_bytes for blob in listed} == bodies
        assert len(listed) == len(bodies)
        assert all(abs(blob.written_at - time.time()) < 60 for blob in listed)

    async def test_spool_files_are_not_listed(self, store: BlobStore) -> None:
        spooled(store, b"in transit")
        assert [blob async for blob in store.list_blobs()] == []

    async def test_ledger_records_are_not_listed(self, store: BlobStore) -> None:
        await put(store, b"record", record := f"{LEDGER_FOLDER}/{uuid4().hex}")
        assert [blob async for blob in store.list_blobs()] == []
        assert await content(store, record) == b"record"


class TestListFolder:
    """BlobStore.list_folder()."""

    async def test_missing_folder_is_empty(self, store: BlobStore) -> None:
        for folder in (LEDGER_FOLDER, str(uuid4())):
            assert [blob async for blob in store.list_folder(folder)] == []

    async def test_only_requested_folder_is_listed(self, store: BlobStore) -> None:
        customer = uuid4()
        keys = {await put(store, b"x", new_key(customer)) for _ in range(3)}
        records = {
            await put(store, b"x", f"{LEDGER_FOLDER}/{uid.hex}") for uid in (uuid4(), customer)
        }
        await put(store, b"x")
        assert {blob.key async for blob in store.list_folder(str(customer))} == keys
        assert {blob.key async for blob in store.list_folder(LEDGER_FOLDER)} == records


class TestCheck:
    """BlobStore.check()."""

    async def test_working_store_passes_check(self, store: BlobStore) -> None:
        await store.check()

    @pytest.mark.req("B-211")
    async def test_what_store_ignores_is_found(self, store: BlobStore, ignored: list[str]) -> None:
        flaws = [flaw.problem for flaw in await store.find_flaws()]
        expected = [f"it ignores {' and '.join(ignored)}"] if ignored else []
        assert [flaw for flaw in flaws if "in memory" not in flaw] == expected
        for folder in OTHER_FOLDERS:
            assert [blob async for blob in store.list_folder(folder)] == []


class TestParts:
    """S3BlobStore.put() of large files, and abort_stale_uploads()."""

    @pytest.fixture(params=S3_STORES)
    def in_parts(self, request: pytest.FixtureRequest) -> S3BlobStore:
        """An empty store of each kind that takes files in parts."""
        store: S3BlobStore = request.getfixturevalue(request.param)
        return store

    @pytest.mark.req("B-211")
    async def test_large_file_round_trips(self, in_parts: S3BlobStore) -> None:
        body = os.urandom(2 * PART_BYTES + 7)
        key = await put(in_parts, body)
        reader = await in_parts.open(key)
        assert await read(reader, PART_BYTES - 1, 2) == body[PART_BYTES - 1 : PART_BYTES + 1]
        assert await content(in_parts, key) == body
        await in_parts.delete(key)
        assert [blob async for blob in in_parts.list_blobs()] == []

    @pytest.mark.req("B-211")
    async def test_interrupted_upload_is_aborted(self, in_parts: S3BlobStore) -> None:
        names = in_parts._object(new_key())
        upload = (await in_parts._client.create_multipart_upload(**names))["UploadId"]
        # Once more: there is none any more, and some stores call that an error.
        for _ in range(2):
            await in_parts.abort_stale_uploads(timedelta(seconds=-60))
        with pytest.raises(ClientError, match="NoSuchUpload"):
            await in_parts._client.list_parts(**names, UploadId=upload)


class TestPresign:
    """BlobStore.presign_put() and presign_get()."""

    @pytest.mark.req("B-210")
    async def test_signed_put_accepts_exact_bytes_once(
        self, store: BlobStore, ignored: list[str]
    ) -> None:
        key, body = new_key(), os.urandom(1000)
        digest = hashlib.sha256(body).hexdigest()
        signed = await store.presign_put(key, len(body), digest, 60)
        if ignored or not isinstance(store, S3BlobStore):
            assert signed is None
            return
        assert signed is not None
        async with httpx.AsyncClient() as client:
            for headers, sent, status in (
                (signed.headers | {"Content-Length": "1001"}, body + b"x", 403),
                (signed.headers, os.urandom(1000), 400),
                ({}, body, 403),
                (signed.headers, body, 200),
                (signed.headers, body, 412),
            ):
                response = await client.put(signed.url, content=sent, headers=headers)
                assert response.status_code == status, response.text
        assert await content(store, key) == body
        assert (await store.open(key)).sha256 == digest

    async def test_signed_get_has_requested_headers(self, store: BlobStore) -> None:
        key = await put(store, b"hello")
        url = await store.presign_get(
            key, media_type="text/csv", disposition='attachment; filename="a.csv"', seconds=60
        )
        if not isinstance(store, S3BlobStore):
            assert url is None
            return
        assert url is not None
        async with httpx.AsyncClient() as client:
            response = await client.get(url)
        assert (response.content, response.headers["content-type"]) == (b"hello", "text/csv")
        assert response.headers["content-disposition"] == 'attachment; filename="a.csv"'

    async def test_only_filesystem_blobs_have_paths(self, store: BlobStore, tmp_path: Path) -> None:
        path = store.relative_path(await put(store, b"hello"))
        if isinstance(store, FilesystemBlobStore):
            assert path is not None
            assert (tmp_path / "blobs" / path).read_bytes() == b"hello"
        else:
            assert path is None
