"""`docvault bucket`."""

import boto3
import pytest
from tests.fixtures.commands import Run
from tests.fixtures.seaweedfs import S3Server

pytestmark = pytest.mark.own_store("it makes the bucket of a store of its own")


async def test_bucket_is_created_and_may_exist(
    run: Run, moto_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in moto_server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DOCVAULT_STORAGE_URL", "s3://of-command/below")
    # It would keep the credentials of another test.
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    for _ in range(2):
        outcome = await run("bucket")
        assert (outcome.status, outcome.output, outcome.errors) == (0, "", "")
    names = [bucket["Name"] for bucket in moto_server.client().list_buckets()["Buckets"]]
    assert names.count("of-command") == 1


async def test_store_that_is_no_bucket_is_explained(run: Run) -> None:
    outcome = await run("bucket")
    assert (outcome.status, outcome.output) == (1, "")
    assert outcome.errors == "docvault: DOCVAULT_STORAGE_URL must be like s3://bucket/prefix\n"
