"""Making the bucket of a new deployment."""

import time
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from docvault.certificates import ca_bundle
from docvault.errors import StorageUnavailable
from docvault.settings import Settings
from docvault.storage.s3_errors import describe

TRY_SECONDS = 60
_EXISTS = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}


def create_bucket(settings: Settings) -> None:
    """Create the bucket of DOCVAULT_STORAGE_URL if there is none.

    Tries for a minute: a store responds some seconds before it can write. Raises
    `StorageUnavailable`.
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
                client.create_bucket(Bucket=bucket)
            except (ClientError, BotoCoreError) as error:
                if isinstance(error, ClientError) and error.response["Error"]["Code"] in _EXISTS:
                    return
                if time.monotonic() > deadline:
                    raise StorageUnavailable(cause=describe(error)) from error
                time.sleep(1)
            else:
                return
