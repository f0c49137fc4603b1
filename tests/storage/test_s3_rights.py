"""The rights of the guide: everything works with them, and each one that is missing is reported.

moto evaluates the policies.
"""

import copy
import dataclasses
import json
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import boto3
import httpx
import pytest
from tests.fixtures.s3_peers import moto
from tests.fixtures.seaweedfs import BUCKET, S3Server
from tests.fixtures.storage import opened

from docvault.errors import StorageUnavailable
from docvault.services.resources import Resources
from docvault.services.store_checks import check_store
from docvault.storage.base import BlobStore
from docvault.storage.s3 import PART_BYTES, S3BlobStore, S3Location

pytestmark = [
    pytest.mark.req("B-212"),
    pytest.mark.own_store("it has a store with policies of its own"),
]

GUIDE = (Path(__file__).parents[2] / "docs" / "how-to" / "object-stores.md").read_text()
POLICY: dict[str, Any] = json.loads(GUIDE.partition("```json\n")[2].partition("```")[0])
OF_BUCKET, OF_OBJECTS = (statement["Action"] for statement in POLICY["Statement"])
VERSIONED = re.search(r"add `(s3:\w+)` to the first list and\s+`(s3:\w+)` to the second", GUIDE)
assert VERSIONED is not None
OF_VERSIONED = list(VERSIONED.groups())
# What AWS checks as another right, moto checks as one of its own.
MOTO_CALLS = {"s3:ListBucket": "s3:HeadBucket"}
USER = "docvault"
WITHOUT_POLICIES = 1_000_000

# What is reported without a right.
REPORTS = {
    "s3:ListBucket": "S3 responded 403",
    "s3:ListBucketMultipartUploads": "interrupted uploads in parts cannot be listed",
    "s3:GetBucketVersioning": "objects cannot be deleted",
    # What was written is looked up.
    "s3:GetObject": "objects cannot be written",
    "s3:PutObject": "objects cannot be written",
    "s3:DeleteObject": "objects cannot be deleted",
    "s3:AbortMultipartUpload": "interrupted uploads are not aborted",
    "s3:ListBucketVersions": "objects cannot be deleted",
    "s3:DeleteObjectVersion": "objects cannot be deleted",
}


class Rights:
    """A store with a user whose policy can be changed."""

    def __init__(self, server: S3Server) -> None:
        self._server = server
        self._enforce_after(WITHOUT_POLICIES)
        self._iam = boto3.client(
            "iam",
            endpoint_url=server.endpoint_url,
            aws_access_key_id="any",
            aws_secret_access_key="any",
            region_name="us-east-1",
        )
        self._iam.create_user(UserName=USER)
        key = self._iam.create_access_key(UserName=USER)["AccessKey"]
        self._user = {
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        }

    def administer(self) -> Any:
        """Return a client that may do everything, until rights are granted again."""
        self._enforce_after(WITHOUT_POLICIES)
        return self._server.client()

    def grant(self, *, of_bucket: list[str], of_objects: list[str], bucket: str = BUCKET) -> None:
        """Give the user the policy of the guide with these actions, and nothing else."""
        policy = copy.deepcopy(POLICY)
        for statement, actions in zip(policy["Statement"], (of_bucket, of_objects), strict=True):
            calls = [MOTO_CALLS[action] for action in actions if action in MOTO_CALLS]
            statement["Action"] = [*actions, *calls]
            statement["Resource"] = statement["Resource"].replace("your-bucket", bucket)
        self._enforce_after(WITHOUT_POLICIES)
        self._iam.put_user_policy(
            UserName=USER, PolicyName="docvault", PolicyDocument=json.dumps(policy)
        )
        self._enforce_after(0)

    @asynccontextmanager
    async def store(self, *, bucket: str = BUCKET) -> AsyncIterator[S3BlobStore]:
        """Open the store as the user."""
        location = S3Location(bucket, "docvault/", self._server.endpoint_url)
        async with opened(self._server, location, **self._user) as store:
            yield store

    def _enforce_after(self, requests: int) -> None:
        url = f"{self._server.endpoint_url}/moto-api/reset-auth"
        httpx.post(url, content=str(requests)).raise_for_status()


@pytest.fixture(scope="module")
def rights() -> Iterator[Rights]:
    with moto() as server:
        yield Rights(server)


async def reported(
    rights: Rights,
    resources: Resources,
    caplog: pytest.LogCaptureFixture,
    bucket: str = BUCKET,
) -> set[str]:
    """Use every operation of a new process; return what is reported."""
    caplog.clear()
    async with rights.store(bucket=bucket) as store:
        reports = set()
        own = dataclasses.replace(resources, store=cast("BlobStore", store))
        try:
            reports = {one.problem for one in await check_store(own)}
            await use(store)
        except StorageUnavailable as error:
            reports.add(error.cause or error.detail)
    return reports | {record.getMessage() for record in caplog.records}


async def use(store: S3BlobStore) -> None:
    """What requests and jobs do beyond the check: large files, and interrupted uploads."""
    key, body = f"{uuid4()}/{uuid4().hex}", os.urandom(PART_BYTES + 1)
    source = store.spool_dir / uuid4().hex
    source.write_bytes(body)
    await store.put(key, source)
    await store.delete(key)
    await store._client.create_multipart_upload(**store._object(key))
    await store.abort_stale_uploads(timedelta(seconds=-60))


def without(actions: list[str], missing: str) -> list[str]:
    return [action for action in actions if action != missing]


async def sound(
    rights: Rights, resources: Resources, caplog: pytest.LogCaptureFixture, bucket: str = BUCKET
) -> set[str]:
    """Return what is reported with all rights: what moto itself does not do."""
    reports = await reported(rights, resources, caplog, bucket)
    assert reports <= {"ok", "it ignores checksums"}
    return reports


async def test_guide_grants_everything_that_is_needed(
    rights: Rights, resources: Resources, caplog: pytest.LogCaptureFixture
) -> None:
    rights.grant(of_bucket=OF_BUCKET, of_objects=OF_OBJECTS)
    await sound(rights, resources, caplog)


@pytest.mark.parametrize("missing", [*OF_BUCKET, *OF_OBJECTS])
async def test_missing_right_is_reported(
    rights: Rights, resources: Resources, caplog: pytest.LogCaptureFixture, missing: str
) -> None:
    rights.grant(of_bucket=without(OF_BUCKET, missing), of_objects=without(OF_OBJECTS, missing))
    reports = await reported(rights, resources, caplog)
    assert any(REPORTS[missing] in report for report in reports), reports


@pytest.fixture
def versioned(rights: Rights) -> str:
    """A bucket with versions."""
    client, bucket = rights.administer(), "versioned"
    client.create_bucket(Bucket=bucket)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


@pytest.mark.parametrize("missing", [None, *OF_VERSIONED])
async def test_versions_need_further_rights(
    rights: Rights,
    resources: Resources,
    caplog: pytest.LogCaptureFixture,
    versioned: str,
    missing: str | None,
) -> None:
    listing, deleting = OF_VERSIONED
    rights.grant(
        of_bucket=[*OF_BUCKET, *without([listing], missing or "")],
        of_objects=[*OF_OBJECTS, *without([deleting], missing or "")],
        bucket=versioned,
    )
    if missing is None:
        await sound(rights, resources, caplog, versioned)
        return
    reports = await reported(rights, resources, caplog, versioned)
    assert any(REPORTS[missing] in report for report in reports), reports
