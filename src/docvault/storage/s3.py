"""Blobs in an S3-compatible store, accessed through one long-lived client."""

import asyncio
import base64
import hashlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import aioboto3
from botocore.config import Config
from botocore.handlers import add_expect_header

from docvault.certificates import ca_bundle
from docvault.circuit_breaker import CircuitBreaker
from docvault.errors import StorageUnavailable
from docvault.observability.metrics import store_operation
from docvault.storage.base import (
    IDENTITY,
    OTHER_FOLDERS,
    PROBE_FOLDER,
    SignedRequest,
    StoredBlob,
    StoreFlaw,
)
from docvault.storage.s3_errors import (
    FAILURES,
    call_store,
    ignore_missing_upload,
    is_refusal,
    map_exists,
    map_failures,
    map_missing,
)
from docvault.storage.s3_probes import find_flaws, find_ignored_conditions, is_versioned
from docvault.storage.s3_reader import S3Reader, parse_digest

log = logging.getLogger(__name__)

PART_BYTES = 8 * 1024 * 1024
PARTS_IN_FLIGHT = 2
# Of the whole process. While a part is sent it is in memory up to three times: here, joined with
# the head of its request, and in the buffer of the connection.
LARGE_BODIES_IN_FLIGHT = 8
COPIES_IN_FLIGHT = 3
# Smaller ones are not counted: there are at most as many as concurrent uploads.
SMALL_BODY_BYTES = 1024 * 1024

CONNECT_SECONDS = 2
READ_SECONDS = 10
TRIES = 2
_UNDETERMINED_LANGUAGE = "und"
_EXPIRED = datetime(1970, 1, 1, tzinfo=UTC)

_ENCRYPTION_HEADERS = {
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
}


@dataclass(frozen=True, slots=True)
class S3Location:
    """A bucket, and a prefix in it that is empty or ends with a slash."""

    bucket: str
    prefix: str
    endpoint_url: str | None
    # Sent with every write: how to encrypt at rest.
    encryption: str | None = None
    kms_key_id: str | None = None
    # The endpoint in presigned URLs, if clients reach the store at a different address.
    public_endpoint_url: str | None = None
    # A private certificate authority.
    ca_file: Path | None = None


@asynccontextmanager
async def open_s3_store(location: S3Location, spool_dir: Path) -> AsyncIterator["S3BlobStore"]:
    """Open the store; credentials and region come from the standard `AWS_*` variables."""
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"total_max_attempts": TRIES, "mode": "standard"},
        max_pool_connections=64,
        s3={
            "addressing_style": "path" if location.endpoint_url else "auto",
            # Uploads have a signed header with the SHA-256 of their bytes. Hashing them again for
            # the signature took 12 % of the CPU time of an upload over plain HTTP.
            "payload_signing_enabled": False,
        },
        signature_version="s3v4",
    )
    session = aioboto3.Session()
    # The signer opens no connection; it only needs the address that clients use.
    public_url = location.public_endpoint_url or location.endpoint_url
    with ca_bundle(location.ca_file) as verify:
        async with (
            session.client(
                "s3", endpoint_url=location.endpoint_url, config=config, verify=verify
            ) as client,
            session.client("s3", endpoint_url=public_url, config=config) as signer,
        ):
            # Waiting for `100 Continue` costs a round trip and has no timeout of its own.
            client.meta.events.unregister("before-call.s3", add_expect_header)
            yield S3BlobStore(client, signer, location, spool_dir)


class S3BlobStore:
    """See `BlobStore`. Every write is create-only, and the store verifies its checksum."""

    supports_presigned_urls = True
    write_memory_bytes = LARGE_BODIES_IN_FLIGHT * COPIES_IN_FLIGHT * PART_BYTES

    def __init__(
        self,
        client: Any,  # noqa: ANN401 - botocore generates its clients at run time
        signer: Any,  # noqa: ANN401 - generated at run time
        location: S3Location,
        spool_dir: Path,
    ) -> None:
        self._client = client
        self._signer = signer
        self._bucket = location.bucket
        self._prefix = location.prefix
        self._encryption = _build_encryption_arguments(location)
        self._is_versioned: bool | None = None
        self._ignored_conditions: list[str] | None = None
        self._breaker = CircuitBreaker(StorageUnavailable)
        self._cannot_list_uploads = False
        self._large_bodies = asyncio.Semaphore(LARGE_BODIES_IN_FLIGHT)
        self.spool_dir = spool_dir

    @store_operation
    async def put(self, key: str, source: Path) -> None:
        """Upload a file, in parts when it is large."""
        size = (await asyncio.to_thread(source.stat)).st_size
        async with call_store(self._breaker):
            if size <= SMALL_BODY_BYTES:
                await self._put_whole(key, source)
            elif size <= PART_BYTES:
                async with self._large_bodies:
                    await self._put_whole(key, source)
            else:
                await self._put_parts(key, source, size)
            head = await self._client.head_object(**self._object(key))
        if head["ContentLength"] != size:
            raise StorageUnavailable("The stored object does not have the size of the file.")

    @store_operation
    async def open(self, key: str) -> "S3Reader":
        """Look the object up; its bytes are requested later."""
        async with call_store(self._breaker):
            with map_missing(key):
                head = await self._client.head_object(**self._object(key), ChecksumMode="ENABLED")
        return S3Reader(
            self._client,
            self._object(key),
            head["ContentLength"],
            parse_digest(head),
            head.get("ContentEncoding") or IDENTITY,
            self._breaker,
        )

    @store_operation
    async def delete(self, key: str) -> None:
        """Delete the object; in a versioned bucket, all its versions."""
        async with call_store(self._breaker):
            if not await self._check_versioning():
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
        """List the objects below the prefix page by page."""
        async for blob in self._list(""):
            if blob.key.partition("/")[0] not in OTHER_FOLDERS:
                yield blob

    async def list_folder(self, folder: str) -> AsyncIterator[StoredBlob]:
        """List the objects below the folder's prefix."""
        async for blob in self._list(f"{folder}/"):
            yield blob

    async def _list(self, prefix: str) -> AsyncIterator[StoredBlob]:
        pages = self._client.get_paginator("list_objects_v2")
        async with call_store(self._breaker, seconds=None):
            async for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix):
                for item in page.get("Contents", []):
                    yield StoredBlob(
                        item["Key"].removeprefix(self._prefix),
                        item["Size"],
                        item["LastModified"].timestamp(),
                    )

    @store_operation
    async def abort_stale_uploads(self, older_than: timedelta) -> None:
        """Abort multipart uploads that a crash left behind."""
        if self._cannot_list_uploads:
            return
        limit = datetime.now(UTC) - older_than
        try:
            await self._abort_uploads_before(limit)
        except StorageUnavailable as error:
            if not is_refusal(error.__cause__):
                raise
            # Logged once: the key may never list them, or the store lacks the operation.
            self._cannot_list_uploads = True
            log.warning(
                "interrupted uploads are not aborted: s3:ListBucketMultipartUploads and"
                " s3:AbortMultipartUpload are needed",
                extra={"cause": error.cause},
            )

    async def _abort_uploads_before(self, limit: datetime) -> None:
        pages = self._client.get_paginator("list_multipart_uploads")
        async with call_store(self._breaker, seconds=None):
            with ignore_missing_upload():
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
        """Sign a PUT of exactly these bytes that works once.

        Length, checksum and `If-None-Match: *` are signed: the store rejects a request that lacks
        any of them, other bytes, and a second PUT. None if the store does not (decision 0079).
        """
        if await self._find_ignored_conditions():
            return None
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
        async with map_failures():
            url = await self._signer.generate_presigned_url(
                "put_object", Params=request, ExpiresIn=seconds
            )
        return SignedRequest(url, headers)

    @store_operation
    async def presign_get(
        self, key: str, *, media_type: str, disposition: str, seconds: int
    ) -> str | None:
        """Sign a GET whose response has our headers, as far as S3 allows."""
        request = {
            **self._object(key),
            "ResponseContentType": media_type,
            "ResponseContentDisposition": disposition,
            "ResponseCacheControl": "private, no-cache",
            # A client that used a presigned PUT may have sent further headers, which the store
            # keeps and serves.
            "ResponseContentEncoding": IDENTITY,
            "ResponseContentLanguage": _UNDETERMINED_LANGUAGE,
            "ResponseExpires": _EXPIRED,
        }
        async with map_failures():
            url: str = await self._signer.generate_presigned_url(
                "get_object", Params=request, ExpiresIn=seconds
            )
        return url

    def relative_path(self, key: str) -> str | None:
        """None, since objects are not files."""
        del key
        return None

    @store_operation
    async def check(self) -> None:
        """Check that the bucket can be accessed."""
        async with call_store(self._breaker):
            await self._client.head_bucket(Bucket=self._bucket)

    async def find_flaws(self) -> list[StoreFlaw]:
        """Ask for the bucket, and try conditional writes; see `BlobStore`."""
        ignored = await self._find_ignored_conditions()
        async with call_store(self._breaker):
            return await find_flaws(self._client, self._bucket, self._prefix, ignored)

    async def _find_ignored_conditions(self) -> list[str]:
        """Return which conditions of writes the store ignores; it is probed once."""
        if self._ignored_conditions is None:
            key = f"{PROBE_FOLDER}/{uuid4().hex}"
            async with call_store(self._breaker):
                ignored = await find_ignored_conditions(self._client, self._object(key))
            await self.delete(key)
            self._ignored_conditions = ignored
        return self._ignored_conditions

    def _object(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + key}

    async def _put_whole(self, key: str, source: Path) -> None:
        body, checksum = await asyncio.to_thread(_read_part, source, 1)
        with map_exists(key):
            await self._client.put_object(
                **self._object(key),
                **self._encryption,
                Body=body,
                IfNoneMatch="*",
                ChecksumSHA256=checksum,
            )

    async def _put_parts(self, key: str, source: Path, size: int) -> None:
        """Upload a few parts at a time, to bound the memory used."""
        upload = await self._client.create_multipart_upload(
            **self._object(key), **self._encryption, ChecksumAlgorithm="SHA256"
        )
        names = {**self._object(key), "UploadId": upload["UploadId"]}
        try:
            parts = await self._upload_parts(names, source, size)
            with map_exists(key):
                await self._client.complete_multipart_upload(
                    **names, MultipartUpload={"Parts": parts}, IfNoneMatch="*"
                )
        except BaseException:
            # Nothing refers to the parts, and they cost money.
            await self._abort(names)
            raise

    async def _upload_parts(
        self, names: dict[str, str], source: Path, size: int
    ) -> list[dict[str, Any]]:
        permits = asyncio.Semaphore(PARTS_IN_FLIGHT)

        async def upload_part(number: int) -> dict[str, Any]:
            async with permits, self._large_bodies:
                body, checksum = await asyncio.to_thread(_read_part, source, number)
                response = await self._client.upload_part(
                    **names, PartNumber=number, Body=body, ChecksumSHA256=checksum
                )
                return {
                    "PartNumber": number,
                    "ETag": response["ETag"],
                    "ChecksumSHA256": checksum,
                }

        async with asyncio.TaskGroup() as group:
            count = -(-size // PART_BYTES)
            tasks = [group.create_task(upload_part(n)) for n in range(1, count + 1)]
        return [task.result() for task in tasks]

    async def _abort(self, names: dict[str, str]) -> None:
        try:
            await self._client.abort_multipart_upload(**names)
        except FAILURES:
            return  # the reaper aborts it later

    async def _check_versioning(self) -> bool:
        if self._is_versioned is None:
            self._is_versioned = await is_versioned(self._client, self._bucket)
        return self._is_versioned


def _read_part(source: Path, number: int) -> tuple[bytes, str]:
    """Return a part of the file and its checksum in the form S3 uses."""
    with source.open("rb") as file:
        file.seek((number - 1) * PART_BYTES)
        body = file.read(PART_BYTES)
    return body, base64.b64encode(hashlib.sha256(body).digest()).decode()


def _build_encryption_arguments(location: S3Location) -> dict[str, str]:
    wanted = {
        "ServerSideEncryption": location.encryption,
        "SSEKMSKeyId": location.kms_key_id,
    }
    return {name: value for name, value in wanted.items() if value}
