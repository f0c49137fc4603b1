"""What is particular to the S3 store; what all stores promise is in `test_blob_store.py`."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from tests.fixtures.faultproxy import FaultProxy, Faults
from tests.fixtures.s3proxy import S3Fault, S3Proxy
from tests.fixtures.storage import BUCKET, S3Server, opened

from docvault import breaker
from docvault.errors import StorageUnavailable
from docvault.storage import s3
from docvault.storage.base import BlobExists, BlobMissing
from docvault.storage.s3 import PART_BYTES, S3BlobStore, S3Location


def a_file(folder: Path, body: bytes) -> Path:
    path = folder / uuid4().hex
    path.write_bytes(body)
    return path


def a_key() -> str:
    return f"{uuid4()}/{uuid4().hex}"


async def read(store: S3BlobStore, key: str) -> bytes:
    reader = await store.open(key)
    try:
        return b"".join([chunk async for chunk in reader.chunks(0, reader.size_bytes)])
    finally:
        await reader.close()


class TestLargeBlobs:
    """Uploads in parts."""

    async def test_a_blob_of_several_parts_comes_back_byte_for_byte(
        self, s3_store: S3BlobStore, tmp_path: Path
    ) -> None:
        body, key = os.urandom(2 * PART_BYTES + 7), a_key()
        await s3_store.put(key, a_file(tmp_path, body))
        assert await read(s3_store, key) == body

    async def test_a_large_blob_is_not_replaced(
        self, s3_store: S3BlobStore, tmp_path: Path
    ) -> None:
        key, first = a_key(), os.urandom(PART_BYTES + 1)
        await s3_store.put(key, a_file(tmp_path, first))
        with pytest.raises(BlobExists):
            await s3_store.put(key, a_file(tmp_path, os.urandom(PART_BYTES + 1)))
        assert await read(s3_store, key) == first

    async def test_a_refused_upload_leaves_no_parts(
        self, s3_server: S3Server, s3_store: S3BlobStore, tmp_path: Path
    ) -> None:
        key = a_key()
        await s3_store.put(key, a_file(tmp_path, b"first"))
        with pytest.raises(BlobExists):
            await s3_store.put(key, a_file(tmp_path, os.urandom(PART_BYTES + 1)))
        uploads = s3_server.client().list_multipart_uploads(Bucket=BUCKET, Prefix=s3_store._prefix)
        assert uploads.get("Uploads", []) == []


async def test_stale_multipart_uploads_are_aborted(
    s3_server: S3Server, s3_store: S3BlobStore
) -> None:
    client, place = s3_server.client(), {"Bucket": BUCKET, "Prefix": s3_store._prefix}
    client.create_multipart_upload(Bucket=BUCKET, Key=s3_store._prefix + a_key())
    await s3_store.abort_stale_uploads(timedelta(hours=1))
    assert len(client.list_multipart_uploads(**place)["Uploads"]) == 1
    await s3_store.abort_stale_uploads(timedelta(seconds=-60))
    assert client.list_multipart_uploads(**place).get("Uploads", []) == []


@pytest.mark.req("R-101")
async def test_every_version_of_a_deleted_blob_goes(s3_server: S3Server, tmp_path: Path) -> None:
    client, bucket, key = s3_server.client(), "with-versions", a_key()
    client.create_bucket(Bucket=bucket)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    async with opened(s3_server, S3Location(bucket, "", s3_server.endpoint_url)) as store:
        await store.put(key, a_file(tmp_path, b"secret"))
        client.delete_object(Bucket=bucket, Key=key)
        await store.delete(key)
    left = client.list_object_versions(Bucket=bucket)
    assert left.get("Versions", []) + left.get("DeleteMarkers", []) == []


async def test_a_store_that_does_not_answer_is_unavailable(
    s3_server: S3Server, tmp_path: Path
) -> None:
    async with opened(s3_server, S3Location("nowhere", "", "http://127.0.0.1:9")) as store:
        with pytest.raises(StorageUnavailable):
            await store.put(a_key(), a_file(tmp_path, b"x"))
        with pytest.raises(StorageUnavailable):
            await store.check()


async def test_a_missing_bucket_is_unavailable(s3_server: S3Server) -> None:
    async with opened(s3_server, S3Location("nowhere", "", s3_server.endpoint_url)) as store:
        with pytest.raises(StorageUnavailable):
            await store.check()


async def test_signed_urls_lead_where_clients_know_the_store(s3_server: S3Server) -> None:
    location = S3Location(
        BUCKET, "", s3_server.endpoint_url, public_endpoint_url="https://files.example.org"
    )
    async with opened(s3_server, location) as store:
        signed = await store.presign_put(a_key(), 1, "00" * 32, 60)
        url = await store.presign_get(
            a_key(), media_type="text/plain", disposition="attachment", seconds=60
        )
    assert signed.url.startswith(f"https://files.example.org/{BUCKET}/")
    assert url.startswith(f"https://files.example.org/{BUCKET}/")


async def test_a_signed_put_asks_for_the_encryption_at_rest(s3_server: S3Server) -> None:
    location = S3Location(BUCKET, "", s3_server.endpoint_url, "aws:kms", "key-1")
    async with opened(s3_server, location) as store:
        signed = await store.presign_put(a_key(), 1, "00" * 32, 60)
    for name in set(signed.headers) - {"Content-Length", "If-None-Match"}:
        assert name in signed.url
    assert signed.headers["x-amz-server-side-encryption"] == "aws:kms"
    assert signed.headers["x-amz-server-side-encryption-aws-kms-key-id"] == "key-1"


async def test_nobody_waits_for_a_store_that_keeps_failing(
    s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "OPEN_SECONDS", 1.0)
    port = int(s3_server.endpoint_url.rpartition(":")[2])
    with FaultProxy(("127.0.0.1", port)) as proxy:
        location = S3Location(BUCKET, f"{uuid4()}/", f"http://127.0.0.1:{proxy.port}")
        async with opened(s3_server, location) as store:
            key = a_key()
            await store.put(key, a_file(tmp_path, b"x"))
            proxy.faults = Faults(refuse=True)
            proxy.reset_all()
            for _ in range(breaker.FAILURES):
                with pytest.raises(StorageUnavailable):
                    await store.open(key)
            proxy.faults = Faults()
            asked = proxy.connections_accepted
            with pytest.raises(StorageUnavailable):
                await store.open(key)
            assert proxy.connections_accepted == asked
            await asyncio.sleep(1)
            assert await read(store, key) == b"x"


async def test_a_write_to_a_silent_store_is_given_up(
    s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "READ_SECONDS", 0.5)
    port = int(s3_server.endpoint_url.rpartition(":")[2])
    with FaultProxy(("127.0.0.1", port)) as proxy:
        location = S3Location(BUCKET, f"{uuid4()}/", f"http://127.0.0.1:{proxy.port}")
        async with opened(s3_server, location) as store:
            proxy.faults = Faults(blackhole=True)
            async with asyncio.timeout(s3.TOTAL_SECONDS / 2):
                with pytest.raises(StorageUnavailable):
                    await store.put(a_key(), a_file(tmp_path, b"x"))


class TestMisbehaviour:
    """What a store can do to single requests; the proxy stands between us and a real one."""

    @pytest.fixture
    def proxy(self, s3_server: S3Server) -> Iterator[S3Proxy]:
        with S3Proxy(("127.0.0.1", int(s3_server.endpoint_url.rpartition(":")[2]))) as proxy:
            yield proxy

    @pytest.fixture
    async def store(self, s3_server: S3Server, proxy: S3Proxy) -> AsyncIterator[S3BlobStore]:
        async with opened(s3_server, S3Location(BUCKET, f"{uuid4()}/", proxy.url)) as store:
            yield store

    @pytest.mark.parametrize("fault", [S3Fault.ERROR, S3Fault.SLOW_DOWN])
    async def test_a_request_is_tried_twice(
        self, store: S3BlobStore, proxy: S3Proxy, fault: S3Fault
    ) -> None:
        proxy.choose = lambda _method, _target: fault
        with pytest.raises(StorageUnavailable):
            await store.open(a_key())
        assert proxy.requests["HEAD"] == 2

    async def test_one_error_goes_unnoticed(
        self, store: S3BlobStore, proxy: S3Proxy, tmp_path: Path
    ) -> None:
        key = a_key()
        proxy.choose = lambda method, _: S3Fault.ERROR if proxy.requests[method] == 1 else None
        await store.put(key, a_file(tmp_path, b"x"))
        assert await read(store, key) == b"x"
        assert proxy.happened[S3Fault.ERROR] == 3

    async def test_a_write_whose_answer_is_lost_is_not_taken_for_a_success(
        self, store: S3BlobStore, proxy: S3Proxy, tmp_path: Path
    ) -> None:
        key = a_key()
        proxy.choose = lambda method, _: S3Fault.LOST_ANSWER if method == "PUT" else None
        with pytest.raises((StorageUnavailable, BlobExists)):
            await store.put(key, a_file(tmp_path, b"x"))
        proxy.heal()
        assert await read(store, key) == b"x"

    async def test_a_multipart_upload_that_only_seems_complete_is_not_taken_for_a_success(
        self, store: S3BlobStore, proxy: S3Proxy, tmp_path: Path
    ) -> None:
        key = a_key()
        proxy.choose = lambda method, target: (
            S3Fault.FALSE_SUCCESS if method == "POST" and "uploadId=" in target else None
        )
        with pytest.raises(StorageUnavailable):
            await store.put(key, a_file(tmp_path, os.urandom(PART_BYTES + 1)))
        assert proxy.happened[S3Fault.FALSE_SUCCESS] == 2
        proxy.heal()
        with pytest.raises(BlobMissing):
            await store.open(key)

    @pytest.mark.parametrize("size", [10, PART_BYTES + 1])
    async def test_bytes_that_change_on_their_way_into_the_store_are_refused(
        self, store: S3BlobStore, proxy: S3Proxy, tmp_path: Path, size: int
    ) -> None:
        key = a_key()
        proxy.choose = lambda method, _: S3Fault.WRONG_UPLOAD if method == "PUT" else None
        with pytest.raises(StorageUnavailable):
            await store.put(key, a_file(tmp_path, os.urandom(size)))
        assert proxy.happened[S3Fault.WRONG_UPLOAD] > 0
        proxy.heal()
        with pytest.raises(BlobMissing):
            await store.open(key)

    @pytest.mark.parametrize("size", [10, 3_000_000])
    async def test_a_read_that_ends_too_early_fails(
        self, store: S3BlobStore, proxy: S3Proxy, tmp_path: Path, size: int
    ) -> None:
        key = a_key()
        await store.put(key, a_file(tmp_path, os.urandom(size)))
        proxy.choose = lambda method, _: S3Fault.TRUNCATED if method == "GET" else None
        with pytest.raises(StorageUnavailable):
            await read(store, key)
