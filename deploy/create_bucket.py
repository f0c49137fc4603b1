"""Makes the bucket of DOCVAULT_STORAGE_URL when it is not there; safe to run twice and at once."""

import os
import time
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

TRIES = 60
_THERE = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}


def main() -> None:
    """Try for a minute: a store answers some seconds before it can write."""
    bucket = urlsplit(os.environ["DOCVAULT_STORAGE_URL"]).netloc
    client = boto3.client(
        "s3",
        endpoint_url=os.environ["DOCVAULT_S3_ENDPOINT_URL"],
        config=Config(connect_timeout=2, read_timeout=10, s3={"addressing_style": "path"}),
    )
    for attempt in range(TRIES):
        try:
            client.create_bucket(Bucket=bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] in _THERE:
                return
            failure: Exception = error
        except BotoCoreError as error:
            failure = error
        else:
            return
        if attempt + 1 < TRIES:
            time.sleep(1)
    raise SystemExit(f"the bucket cannot be made: {type(failure).__name__}")


if __name__ == "__main__":
    main()
