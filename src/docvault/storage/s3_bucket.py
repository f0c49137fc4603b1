"""Creating the bucket of a new deployment."""

import time
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from docvault.certificates import ca_bundle
from docvault.errors import StorageUnavailable
from docvault.settings import Settings
from docvault.storage.s3_errors import describe

TRY_SECONDS = 60
# AWS refuses its name as a constraint.
_FIRST_REGION = "us-east-1"
_EXISTS = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}


def create_bucket(settings: Settings) -> None:
    """Create the bucket of DOCVAULT_STORAGE_URL if there is none.

    Tries for a minute: a store responds some seconds before it can write. Raises
    `StorageUnavailable`, also if the bucket is somebody else's.
    """
    bucket = urlsplit(settings.effective_storage_url).netloc
    config = Config(connect_timeout=2, read_timeout=10, s3={"addressing_style": "path"})
    deadline = time.monotonic() + TRY_SECONDS
    with ca_bundle(settings.ca_file) as verify:
        client = boto3.client(
            "s3", endpoint_url=settings.s3_endpoint_url, config=config, verify=verify
        )
        while True:
            try:
                _create(client, bucket, with_region=settings.s3_endpoint_url is None)
            except (ClientError, BotoCoreError) as error:
                if time.monotonic() > deadline:
                    raise StorageUnavailable(cause=describe(error)) from error
                time.sleep(1)
            else:
                return


def _create(
    client: Any,  # noqa: ANN401 - boto generates its clients at run time
    bucket: str,
    *,
    with_region: bool,
) -> None:
    region, arguments = client.meta.region_name, {}
    # Other stores may not know the name of the region.
    if with_region and region != _FIRST_REGION:
        arguments = {"CreateBucketConfiguration": {"LocationConstraint": region}}
    try:
        client.create_bucket(Bucket=bucket, **arguments)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _EXISTS:
            raise
        # One of another account cannot be accessed.
        client.head_bucket(Bucket=bucket)
