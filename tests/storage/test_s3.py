"""Behaviour specific to the S3 store; the common contract is in `test_blob_store.py`."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import aioboto3
import httpx
import pytest
from tests.fixtures.faultproxy import FaultProxy, Faults
from tests.fixtures.s3proxy import S3Fault, S3Proxy
from tests.fixtures.seaweedfs import BUCKET, S3Server
from tests.fixtures.storage import opened

from docvault import circuit_breaker
from docvault.errors import StorageUnavailable
from docvault.storage import s3, s3_errors
from docvault.storage.base import BlobExists, BlobMissing
from docvault.storage.s3 import PART_BYTES, S3BlobStore, S3Location, open_s3_store


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
    """Multipart uploads."""

    async def test_multipart_blob_round_trips(self, s3_store: S3BlobStore, tmp_path: Path) -> None:
        body, key = os.urandom(2 * PART_BYTES + 7), a_key()
        await s3_store.put(key, a_file(tmp_path, body))
        assert await read(s3_store, key) == body

    async def test_large_blob_is_not_replaced(self, s3_store: S3BlobStore, tmp_path: Path) -> None:
        key, first = a_key(), os.urandom(PART_BYTES + 1)
        await s3_store.put(key, a_file(tmp_path, first))
        with pytest.raises(BlobExists):
            await s3_store.put(key, a_file(tmp_path, os.urandom(PART_BYTES + 1)))
        assert await read(s3_store, key) == first

    async def test_rejected_upload_leaves_no_parts(
        self, s3_server: S3Server, s3_store: S3BlobStore, tmp_path: Path
    ) -> None:
        key = a_key()
        await s3_store.put(key, a_file(tmp_path, b"first"))
        with pytest.raises(BlobExists):
            await s3_store.put(key, a_file(tmp_path, os.urandom(PART_BYTES + 1)))
        uploads = s3_server.client().list_multipart_uploads(Bucket=BUCKET, Prefix=s3_store._prefix)
        assert uploads.get("Uploads", []) == []

    @pytest.mark.req("B-217")
    async def test_large_bodies_in_flight_are_bounded(
        self, s3_store: S3BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The least that S3 takes.
        monkeypatch.setattr(s3, "PART_BYTES", 5 * 1024 * 1024)
        in_flight: Counter[str] = Counter()
        most = 0

        def counted(name: str) -> None:
            send = getattr(s3_store._client, name)

            async def count(**request: object) -> object:
                nonlocal most
                in_flight["bodies"] += 1
                most = max(most, in_flight["bodies"])
                try:
                    return await send(**request)
                finally:
                    in_flight["bodies"] -= 1

            monkeypatch.setattr(s3_store._client, name, count)

        counted("upload_part")
        counted("put_object")
        sizes = [*[s3.PART_BYTES] * 10, 2 * s3.PART_BYTES]
        files = [a_file(tmp_path, os.urandom(size)) for size in sizes]
        await asyncio.gather(*(s3_store.put(a_key(), file) for file in files))
        assert most == s3.LARGE_BODIES_IN_FLIGHT


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
async def test_all_versions_of_deleted_blob_are_removed(
    s3_server: S3Server, tmp_path: Path
) -> None:
    client, bucket, key = s3_server.client(), "with-versions", a_key()
    client.create_bucket(Bucket=bucket)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    async with opened(s3_server, S3Location(bucket, "", s3_server.endpoint_url)) as store:
        await store.put(key, a_file(tmp_path, b"secret"))
        client.delete_object(Bucket=bucket, Key=key)
        await store.delete(key)
    left = client.list_object_versions(Bucket=bucket)
    assert left.get("Versions", []) + left.get("DeleteMarkers", []) == []


async def test_unresponsive_store_is_unavailable(s3_server: S3Server, tmp_path: Path) -> None:
    async with opened(s3_server, S3Location("nowhere", "", "http://127.0.0.1:9")) as store:
        with pytest.raises(StorageUnavailable):
            await store.put(a_key(), a_file(tmp_path, b"x"))
        with pytest.raises(StorageUnavailable) as caught:
            await store.check()
        assert caught.value.cause == "nothing listens at its address"


async def test_bytes_of_unexpected_size_are_not_stored(
    s3_store: S3BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = s3_store._client.head_object

    async def one_byte_less(**request: str) -> dict[str, Any]:
        head: dict[str, Any] = await ask(**request)
        return head | {"ContentLength": head["ContentLength"] - 1}

    monkeypatch.setattr(s3_store._client, "head_object", one_byte_less)
    with pytest.raises(StorageUnavailable):
        await s3_store.put(a_key(), a_file(tmp_path, b"bytes"))


async def test_missing_bucket_is_unavailable(s3_server: S3Server) -> None:
    async with opened(s3_server, S3Location("nowhere", "", s3_server.endpoint_url)) as store:
        with pytest.raises(StorageUnavailable):
            await store.check()


@pytest.mark.req("B-208")
@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "canary"}, "clock is wrong"),
        ({"AWS_ACCESS_KEY_ID": "canary"}, "the key is wrong or lacks a permission"),
        ({"bucket": "canary"}, "the bucket does not exist"),
        ({"endpoint_url": "http://canary.invalid"}, "its host name is unknown"),
        ({"endpoint_url": "http://127.0.0.1:9"}, "nothing listens at its address"),
        ({"endpoint_url": "https"}, "TLS failed"),
    ],
)
async def test_cause_of_failure_is_reported_without_names(
    s3_server: S3Server, tmp_path: Path, change: dict[str, str], cause: str
) -> None:
    endpoint = change.get("endpoint_url", s3_server.endpoint_url)
    if endpoint == "https":
        endpoint = s3_server.endpoint_url.replace("http:", "https:")
    location = S3Location(change.get("bucket", BUCKET), "", endpoint)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (s3_server.environment() | change).items():
            patch.setenv(name.upper(), value)
        # The tests share one session, which has read the credentials already.
        patch.setattr(aioboto3, "Session", aioboto3.session.Session)
        async with open_s3_store(location, tmp_path) as store:
            with pytest.raises(StorageUnavailable) as caught:
                await store.check()
    assert caught.value.cause is not None
    assert cause in caught.value.cause
    assert "canary" not in caught.value.cause


@pytest.mark.req("B-208")
async def test_missing_credentials_are_reported(s3_server: S3Server, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_REGION", "us-east-1")
        patch.setattr(aioboto3, "Session", aioboto3.session.Session)
        location = S3Location(BUCKET, "", s3_server.endpoint_url)
        async with open_s3_store(location, tmp_path) as store:
            with pytest.raises(StorageUnavailable) as caught:
                await store.check()
    assert caught.value.cause is not None
    assert "there are no credentials" in caught.value.cause


async def test_signed_urls_use_public_endpoint(s3_server: S3Server) -> None:
    location = S3Location(
        BUCKET, "", s3_server.endpoint_url, public_endpoint_url="https://files.example.org"
    )
    async with opened(s3_server, location) as store:
        signed = await store.presign_put(a_key(), 1, "00" * 32, 60)
        url = await store.presign_get(
            a_key(), media_type="text/plain", disposition="attachment", seconds=60
        )
    assert signed is not None
    assert url is not None
    assert signed.url.startswith(f"https://files.example.org/{BUCKET}/")
    assert url.startswith(f"https://files.example.org/{BUCKET}/")


@pytest.mark.req("B-063")
async def test_headers_of_signed_put_are_overridden(
    s3_store: S3BlobStore,
) -> None:
    key, body = a_key(), b"bytes"
    signed = await s3_store.presign_put(key, len(body), sha256(body).hexdigest(), 60)
    own = {
        "Content-Encoding": "deflate",
        "Content-Language": "de",
        "Expires": "Thu, 01 Jan 2099 00:00:00 GMT",
        "Cache-Control": "public, max-age=9999",
        "Content-Type": "text/html",
        "Content-Disposition": "inline",
    }
    url = await s3_store.presign_get(
        key, media_type="text/plain", disposition="attachment", seconds=60
    )
    assert signed is not None
    assert url is not None
    async with httpx.AsyncClient() as client:
        put = await client.put(signed.url, content=body, headers=signed.headers | own)
        got = await client.get(url)
    assert (put.status_code, got.status_code, got.content) == (200, 200, body)
    assert {name: got.headers[name] for name in map(str.lower, own)} == {
        "content-encoding": "identity",
        "content-language": "und",
        "expires": "Thu, 01 Jan 1970 00:00:00 GMT",
        "cache-control": "private, no-cache",
        "content-type": "text/plain",
        "content-disposition": "attachment",
    }
    reader = await s3_store.open(key)
    assert reader.content_encoding == "deflate"


@pytest.mark.req("B-210")
@pytest.mark.parametrize(
    ("ignored", "name"), [("IfNoneMatch", "If-None-Match"), ("ChecksumSHA256", "checksums")]
)
async def test_store_that_ignores_condition_gets_no_signed_uploads(
    s3_store: S3BlobStore, monkeypatch: pytest.MonkeyPatch, ignored: str, name: str
) -> None:
    send = s3_store._client.put_object

    async def put_object(**request: object) -> object:
        request.pop(ignored, None)
        return await send(**request)

    monkeypatch.setattr(s3_store._client, "put_object", put_object)
    for _ in range(2):
        assert await s3_store.presign_put(a_key(), 1, "00" * 32, 60) is None
    assert [blob async for blob in s3_store.list_blobs()] == []
    assert [flaw.problem for flaw in await s3_store.find_flaws()] == [f"it ignores {name}"]


async def test_signed_put_requests_encryption_at_rest(s3_server: S3Server) -> None:
    location = S3Location(BUCKET, "", s3_server.endpoint_url, "aws:kms", "key-1")
    async with opened(s3_server, location) as store:
        signed = await store.presign_put(a_key(), 1, "00" * 32, 60)
    assert signed is not None
    for name in set(signed.headers) - {"Content-Length", "If-None-Match"}:
        assert name in signed.url
    assert signed.headers["x-amz-server-side-encryption"] == "aws:kms"
    assert signed.headers["x-amz-server-side-encryption-aws-kms-key-id"] == "key-1"


async def test_failing_store_fails_fast(
    s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circuit_breaker, "OPEN_SECONDS", 1.0)
    port = int(s3_server.endpoint_url.rpartition(":")[2])
    with FaultProxy(("127.0.0.1", port)) as proxy:
        location = S3Location(BUCKET, f"{uuid4()}/", f"http://127.0.0.1:{proxy.port}")
        async with opened(s3_server, location) as store:
            key = a_key()
            await store.put(key, a_file(tmp_path, b"x"))
            proxy.faults = Faults(refuse=True)
            proxy.reset_all()
            for _ in range(circuit_breaker.FAILURES):
                with pytest.raises(StorageUnavailable):
                    await store.open(key)
            proxy.faults = Faults()
            before = proxy.connections_accepted
            with pytest.raises(StorageUnavailable):
                await store.open(key)
            assert proxy.connections_accepted == before
            await asyncio.sleep(1)
            assert await read(store, key) == b"x"


async def test_write_to_silent_store_times_out(
    s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "READ_SECONDS", 0.5)
    port = int(s3_server.endpoint_url.rpartition(":")[2])
    with FaultProxy(("127.0.0.1", port)) as proxy:
        location = S3Location(BUCKET, f"{uuid4()}/", f"http://127.0.0.1:{proxy.port}")
        async with opened(s3_server, location) as store:
            proxy.faults = Faults(blackhole=True)
            async with asyncio.timeout(s3_errors.TOTAL_SECONDS / 2):
                with pytest.raises(StorageUnavailable):
                    await store.put(a_key(), a_file(tmp_path, b"x"))


class TestMisbehaviour:
    """Faults of single requests, injected by a proxy in front of a real store."""

    @pytest.fixture
    def proxy(self, s3_server: S3Server) -> Iterator[S3Proxy]:
        with S3Proxy(("127.0.0.1", int(s3_server.endpoint_url.rpartition(":")[2]))) as proxy:
            yield proxy

    @pytest.fixture
    async def store(self, s3_server: S3Server, proxy: S3Proxy) -> AsyncIterator[S3BlobStore]:
        async with opened(s3_server, S3Location(BUCKET, f"{uuid4()}/", proxy.url)) as store:
            yield store

    async def test_refusal_is_the_cause(
        self, store: S3BlobStore, proxy: S3Proxy, tmp_path: Path
    ) -> None:
        proxy.choose = lambda _method, _target: S3Fault.DENIED
        with pytest.raises(StorageUnavailable) as caught:
            await store.put(a_key(), a_file(tmp_path, b"x"))
        assert caught.value.cause == "S3 responded AccessDenied (403): the key lacks a permission"

    async def test_denied_list_of_uploads_is_reported_once(
        self, store: S3BlobStore, proxy: S3Proxy, caplog: pytest.LogCaptureFixture
    ) -> None:
        proxy.choose = lambda _method, target: S3Fault.DENIED if "uploads" in target else None
        for _ in range(3):
            await store.abort_stale_uploads(timedelta(hours=1))
        assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
            "interrupted uploads are not aborted"
        ]
        cause = caplog.records[0].cause  # type: ignore[attr-defined]
        assert cause == "S3 responded AccessDenied (403): the key lacks a permission"

    @pytest.mark.parametrize("fault", [S3Fault.ERROR, S3Fault.SLOW_DOWN])
    async def test_request_is_retried_once(
        self, store: S3BlobStore, proxy: S3Proxy, fault: S3Fault
    ) -> None:
        proxy.choose = lambda _method, _target: fault
        with pytest.raises(StorageUnavailable):
            await store.open(a_key())
        assert proxy.requests["HEAD"] == 2

    async def test_single_error_is_hidden(
        self, store: S3BlobStore, proxy: S3Proxy, tmp_path: Path
    ) -> None:
        key = a_key()
        proxy.choose = lambda method, _: S3Fault.ERROR if proxy.requests[method] == 1 else None
        await store.put(key, a_file(tmp_path, b"x"))
        assert await read(store, key) == b"x"
        assert proxy.happened[S3Fault.ERROR] == 3

    async def test_write_with_lost_response_is_not_reported_as_success(
        self, store: S3BlobStore, proxy: S3Proxy, tmp_path: Path
    ) -> None:
        key = a_key()
        proxy.choose = lambda method, _: S3Fault.LOST_RESPONSE if method == "PUT" else None
        with pytest.raises((StorageUnavailable, BlobExists)):
            await store.put(key, a_file(tmp_path, b"x"))
        proxy.heal()
        assert await read(store, key) == b"x"

    async def test_incomplete_multipart_upload_is_not_reported_as_success(
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
    async def test_bytes_altered_in_transit_are_rejected(
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
    async def test_truncated_read_fails(
        self, store: S3BlobStore, proxy: S3Proxy, tmp_path: Path, size: int
    ) -> None:
        key = a_key()
        await store.put(key, a_file(tmp_path, os.urandom(size)))
        proxy.choose = lambda method, _: S3Fault.TRUNCATED if method == "GET" else None
        with pytest.raises(StorageUnavailable):
            await read(store, key)
