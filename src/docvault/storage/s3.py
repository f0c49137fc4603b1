"""Blobs in any S3-compatible store, over one long-lived client."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aioboto3
import aiohttp
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.handlers import add_expect_header

from docvault.breaker import Breaker
from docvault.errors import StorageUnavailable
from docvault.metrics import store_operation
from docvault.storage.base import (
    LEDGER_FOLDER,
    BlobExists,
    BlobMissing,
    SignedRequest,
    StoredBlob,
)

PART_BYTES = 8 * 1024 * 1024
PARTS_IN_FLIGHT = 2
READ_BYTES = 1024 * 1024

CONNECT_SECONDS = 2
READ_SECONDS = 10
TRIES = 2
TOTAL_SECONDS = 60

_MISSING = {"404", "NoSuchKey", "NotFound"}
# A time-out is an `OSError` too.
_FAILURES = (ClientError, BotoCoreError, aiohttp.ClientError, OSError)
_ENCRYPTION_HEADERS = {
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
}
_EXISTS = {"412", "PreconditionFailed", "ConditionalRequestConflict", "409"}


@dataclass(frozen=True, slots=True)
class S3Location:
    """Where blobs are kept: `prefix` is empty or ends with a slash."""

    bucket: str
    prefix: str
    endpoint_url: str | None
    # Passed on with every write: how the bucket encrypts at rest.
    encryption: str | None = None
    kms_key_id: str | None = None
    # The address for signed URLs, where clients know the store by another one than we do.
    public_endpoint_url: str | None = None


@asynccontextmanager
async def open_s3_store(location: S3Location, spool_dir: Path) -> AsyncIterator["S3BlobStore"]:
    """Open the client; credentials and region come from the standard `AWS_*` variables."""
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"total_max_attempts": TRIES, "mode": "standard"},
        max_pool_connections=64,
        s3={
            "addressing_style": "path" if location.endpoint_url else "auto",
            # What carries bytes carries their SHA-256 too, in a header that is signed: hashing them
            # once more for the signature took 12 % of the CPU time of an upload over plain HTTP.
            "payload_signing_enabled": False,
        },
        signature_version="s3v4",
    )
    session = aioboto3.Session()
    # The signer makes no connection: it only needs the address that others know the store by.
    public_url = location.public_endpoint_url or location.endpoint_url
    async with (
        session.client("s3", endpoint_url=location.endpoint_url, config=config) as client,
        session.client("s3", endpoint_url=public_url, config=config) as signer,
    ):
        # Waiting for `100 Continue` costs a round trip, and has no time-out of its own.
        client.meta.events.unregister("before-call.s3", add_expect_header)
        yield S3BlobStore(client, signer, location, spool_dir)


class S3BlobStore:
    """See `BlobStore`. Every write is create-only and checked by the store itself."""

    signs_requests = True

    def __init__(
        self,
        client: Any,  # noqa: ANN401 - botocore makes its clients at run time
        signer: Any,  # noqa: ANN401 - as above
        location: S3Location,
        spool_dir: Path,
    ) -> None:
        self._client = client
        self._signer = signer
        self._bucket = location.bucket
        self._prefix = location.prefix
        self._encryption = _encryption(location)
        self._is_versioned: bool | None = None
        self._breaker = Breaker(StorageUnavailable)
        self.spool_dir = spool_dir

    @store_operation
    async def put(self, key: str, source: Path) -> None:
        """Upload a file, in parts when it is large; see `BlobStore`."""
        size = (await asyncio.to_thread(source.stat)).st_size
        async with _asking(self._breaker):
            if size <= PART_BYTES:
                await self._put_whole(key, source)
            else:
                await self._put_parts(key, source, size)
            head = await self._client.head_object(**self._object(key))
        if head["ContentLength"] != size:
            raise StorageUnavailable("The store has kept another number of bytes.")

    @store_operation
    async def open(self, key: str) -> "S3Reader":
        """Find the object; see `BlobStore`."""
        async with _asking(self._breaker):
            with _must_be_there(key):
                head = await self._client.head_object(**self._object(key), ChecksumMode="ENABLED")
        return S3Reader(
            self._client,
            self._object(key),
            head["ContentLength"],
            _whole_digest(head),
            self._breaker,
        )

    @store_operation
    async def delete(self, key: str) -> None:
        """Delete the object and, where the bucket keeps them, its versions; see `BlobStore`."""
        async with _asking(self._breaker):
            if not await self._keeps_versions():
                await self._client.delete_object(**self._object(key))
                return
            pages = self._client.get_paginator("list_object_versions")
            name = self._prefix + key
            async for page in pages.paginate(Bucket=self._bucket, Prefix=name):
                for version in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                    if version["Key"] == name:
                        await self._client.delete_object(
                            **self._object(key), VersionId=version["VersionId"]
                        )

    async def list_blobs(self) -> AsyncIterator[StoredBlob]:
        """List the bucket below the prefix, a page at a time; see `BlobStore`."""
        async for blob in self._list(""):
            if not blob.key.startswith(f"{LEDGER_FOLDER}/"):
                yield blob

    async def list_folder(self, folder: str) -> AsyncIterator[StoredBlob]:
        """List what is below the folder's prefix; see `BlobStore`."""
        async for blob in self._list(f"{folder}/"):
            yield blob

    async def _list(self, prefix: str) -> AsyncIterator[StoredBlob]:
        pages = self._client.get_paginator("list_objects_v2")
        async with _asking(self._breaker, seconds=None):
            async for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix):
                for item in page.get("Contents", []):
                    yield StoredBlob(
                        item["Key"].removeprefix(self._prefix),
                        item["Size"],
                        item["LastModified"].timestamp(),
                    )

    @store_operation
    async def abort_stale_uploads(self, older_than: timedelta) -> None:
        """Abort multipart uploads that a crash left open; see `BlobStore`."""
        limit = datetime.now(UTC) - older_than
        pages = self._client.get_paginator("list_multipart_uploads")
        async with _asking(self._breaker, seconds=None):
            async for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
                for upload in page.get("Uploads", []):
                    if upload["Initiated"] < limit:
                        await self._client.abort_multipart_upload(
                            Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                        )

    @store_operation
    async def presign_put(
        self, key: str, size_bytes: int, sha256: str, seconds: int
    ) -> SignedRequest | None:
        """Sign a PUT by which the store takes these bytes, once; see `BlobStore`.

        Length, checksum and `If-None-Match: *` are in the signature: the store refuses a
        request without any of them, other bytes, and a second PUT.
        """
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        headers = {
            "Content-Length": str(size_bytes),
            "If-None-Match": "*",
            "x-amz-checksum-sha256": checksum,
            **{_ENCRYPTION_HEADERS[name]: value for name, value in self._encryption.items()},
        }
        request = {
            **self._object(key),
            "ContentLength": size_bytes,
            "ChecksumSHA256": checksum,
            "IfNoneMatch": "*",
            **self._encryption,
        }
        async with _answers():
            url = await self._signer.generate_presigned_url(
                "put_object", Params=request, ExpiresIn=seconds
            )
        return SignedRequest(url, headers)

    @store_operation
    async def presign_get(
        self, key: str, *, media_type: str, disposition: str, seconds: int
    ) -> str | None:
        """Sign a GET whose answer has our headers, as far as S3 lets us; see `BlobStore`."""
        request = {
            **self._object(key),
            "ResponseContentType": media_type,
            "ResponseContentDisposition": disposition,
            "ResponseCacheControl": "private, no-cache",
        }
        async with _answers():
            url: str = await self._signer.generate_presigned_url(
                "get_object", Params=request, ExpiresIn=seconds
            )
        return url

    def relative_path(self, key: str) -> str | None:
        """Objects are no files; see `BlobStore`."""
        del key
        return None

    @store_operation
    async def check(self) -> None:
        """Ask for the bucket; see `BlobStore`."""
        async with _asking(self._breaker):
            await self._client.head_bucket(Bucket=self._bucket)

    def _object(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + key}

    async def _put_whole(self, key: str, source: Path) -> None:
        body, checksum = await asyncio.to_thread(_read_part, source, 1)
        with _create_only(key):
            await self._client.put_object(
                **self._object(key),
                **self._encryption,
                Body=body,
                IfNoneMatch="*",
                ChecksumSHA256=checksum,
            )

    async def _put_parts(self, key: str, source: Path, size: int) -> None:
        """Upload a few parts at a time, so that memory stays bounded."""
        upload = await self._client.create_multipart_upload(
            **self._object(key), **self._encryption, ChecksumAlgorithm="SHA256"
        )
        names = {**self._object(key), "UploadId": upload["UploadId"]}
        try:
            parts = await self._upload_parts(names, source, size)
            with _create_only(key):
                await self._client.complete_multipart_upload(
                    **names, MultipartUpload={"Parts": parts}, IfNoneMatch="*"
                )
        except BaseException:
            # Parts are not a blob: nothing refers to them, and they cost money.
            await self._abort(names)
            raise

    async def _upload_parts(
        self, names: dict[str, str], source: Path, size: int
    ) -> list[dict[str, Any]]:
        slots = asyncio.Semaphore(PARTS_IN_FLIGHT)

        async def upload_part(number: int) -> dict[str, Any]:
            async with slots:
                body, checksum = await asyncio.to_thread(_read_part, source, number)
                answer = await self._client.upload_part(
                    **names, PartNumber=number, Body=body, ChecksumSHA256=checksum
                )
                return {
                    "PartNumber": number,
                    "ETag": answer["ETag"],
                    "ChecksumSHA256": checksum,
                }

        async with asyncio.TaskGroup() as group:
            count = -(-size // PART_BYTES)
            tasks = [group.create_task(upload_part(n)) for n in range(1, count + 1)]
        return [task.result() for task in tasks]

    async def _abort(self, names: dict[str, str]) -> None:
        try:
            await self._client.abort_multipart_upload(**names)
        except _FAILURES:
            return  # the reaper aborts it later

    async def _keeps_versions(self) -> bool:
        if self._is_versioned is None:
            answer = await self._client.get_bucket_versioning(Bucket=self._bucket)
            self._is_versioned = answer.get("Status") in {"Enabled", "Suspended"}
        return self._is_versioned


class S3Reader:
    """See `BlobReader`. Bytes are fetched when they are asked for."""

    def __init__(
        self,
        client: Any,  # noqa: ANN401 - as above
        names: dict[str, str],
        size_bytes: int,
        sha256: str | None,
        breaker: Breaker,
    ) -> None:
        self._client = client
        self._names = names
        self._breaker = breaker
        self.size_bytes = size_bytes
        self.sha256 = sha256

    async def chunks(self, start: int, length: int) -> AsyncIterator[bytes]:
        """Stream a range of the object; see `BlobReader`."""
        if length == 0:
            return
        received = 0
        # No limit in all: how long it takes is up to the reader at the other end.
        async with _asking(self._breaker, seconds=None):
            answer = await self._client.get_object(
                **self._names, Range=f"bytes={start}-{start + length - 1}"
            )
            async with answer["Body"] as body:
                async for chunk in body.content.iter_chunked(READ_BYTES):
                    received += len(chunk)
                    yield chunk
        if received != length:
            raise StorageUnavailable("The stored file ends too early.")

    async def close(self) -> None:
        """Nothing is held open."""


@asynccontextmanager
async def _asking(breaker: Breaker, seconds: float | None = TOTAL_SECONDS) -> AsyncIterator[None]:
    """Ask the store, unless it has just failed several times; see `_answers`."""
    breaker.admit()
    try:
        async with _answers(seconds):
            yield
    except StorageUnavailable:
        breaker.failed()
        raise
    except (BlobMissing, BlobExists):
        breaker.succeeded()
        raise
    breaker.succeeded()


@asynccontextmanager
async def _answers(seconds: float | None = TOTAL_SECONDS) -> AsyncIterator[None]:
    """Turn every failure of the store, and taking too long, into `StorageUnavailable`."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except ExceptionGroup as group:
        if all(isinstance(error, _FAILURES) for error in group.exceptions):
            raise StorageUnavailable from group
        raise
    except _FAILURES as error:
        raise StorageUnavailable from error


@contextmanager
def _must_be_there(key: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if _code(error) in _MISSING:
            raise BlobMissing(key) from error
        raise


@contextmanager
def _create_only(key: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if _code(error) in _EXISTS:
            raise BlobExists(key) from error
        raise


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _whole_digest(head: dict[str, Any]) -> str | None:
    """Return the SHA-256 of the whole object; that of an upload in parts is of its parts."""
    checksum = head.get("ChecksumSHA256")
    if checksum is None or "-" in checksum or head.get("ChecksumType") == "COMPOSITE":
        return None
    return base64.b64decode(checksum).hex()


def _read_part(source: Path, number: int) -> tuple[bytes, str]:
    """Return a part of the file, which may be all of it, and its checksum as S3 writes it."""
    with source.open("rb") as file:
        file.seek((number - 1) * PART_BYTES)
        body = file.read(PART_BYTES)
    return body, base64.b64encode(hashlib.sha256(body).digest()).decode()


def _encryption(location: S3Location) -> dict[str, str]:
    wanted = {
        "ServerSideEncryption": location.encryption,
        "SSEKMSKeyId": location.kms_key_id,
    }
    return {name: value for name, value in wanted.items() if value}
