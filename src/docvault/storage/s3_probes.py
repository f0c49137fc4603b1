"""What an S3 store does not do, found by trying.

The names are a bucket, and a key that is unused; the caller deletes what is left there.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.exceptions import ClientError

from docvault.storage.base import StoreFlaw
from docvault.storage.s3_errors import (
    ignore_missing_upload,
    is_refusal,
    is_unknown_operation,
)

# Requests are refused from fifteen minutes on; before that, URLs expire too soon or too late.
MAX_CLOCK_SKEW_SECONDS = 30
_BODY, _OTHER_BODY = b"first", b"second"
_REFUSALS = {400, 409, 412}


async def find_ignored_conditions(
    client: Any,  # noqa: ANN401 - botocore generates its clients at run time
    names: dict[str, str],
) -> list[str]:
    """Try to store bytes with the checksum of others, and to replace an object.

    A store that permits either would let the holder of a signed URL store other bytes than
    declared, or replace a completed upload. Return the conditions that it ignores.
    """
    ignored = []
    if await _is_accepted(client, names, _BODY, checksum=_checksum(_OTHER_BODY)):
        ignored.append("checksums")
    else:
        await client.put_object(
            **names, Body=_BODY, IfNoneMatch="*", ChecksumSHA256=_checksum(_BODY)
        )
    if await _is_accepted(client, names, _OTHER_BODY, checksum=_checksum(_OTHER_BODY)):
        ignored.append("If-None-Match")
    return ignored


async def is_versioned(
    client: Any,  # noqa: ANN401 - generated at run time
    bucket: str,
) -> bool:
    """Return whether the bucket keeps, or has kept, earlier versions of objects."""
    try:
        response = await client.get_bucket_versioning(Bucket=bucket)
    except ClientError as error:
        if is_unknown_operation(error):
            # The store has no versions.
            return False
        raise
    return response.get("Status") in {"Enabled", "Suspended"}


async def find_flaws(
    client: Any,  # noqa: ANN401 - generated at run time
    bucket: str,
    prefix: str,
    ignored_conditions: Sequence[str],
) -> list[StoreFlaw]:
    """Return what the bucket and its store do not do as they should."""
    flaws = []
    skew = abs(clock_skew(await client.head_bucket(Bucket=bucket)))
    if skew > MAX_CLOCK_SKEW_SECONDS:
        flaws.append(
            StoreFlaw(
                f"its clock differs by {skew:.0f} seconds from this machine's",
                "synchronize both machines",
            )
        )
    if ignored_conditions:
        flaws.append(
            StoreFlaw(
                f"it ignores {' and '.join(ignored_conditions)}",
                "upload sessions get URLs of docvault, not of the store",
            )
        )
    try:
        with ignore_missing_upload():
            await client.list_multipart_uploads(Bucket=bucket, Prefix=prefix, MaxUploads=1)
    except ClientError as error:
        if not is_refusal(error):
            raise
        flaws.append(
            StoreFlaw(
                "interrupted uploads in parts cannot be listed, and stay",
                "allow s3:ListBucketMultipartUploads, or let a rule of the bucket abort them",
            )
        )
    return flaws


def clock_skew(response: Mapping[str, Any]) -> float:
    """Return by how many seconds the clock of the store is ahead; 0 if it does not say."""
    date = response["ResponseMetadata"]["HTTPHeaders"].get("date")
    try:
        return (parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds() if date else 0
    except (ValueError, TypeError):
        return 0


async def _is_accepted(
    client: Any,  # noqa: ANN401 - generated at run time
    names: dict[str, str],
    body: bytes,
    *,
    checksum: str,
) -> bool:
    try:
        await client.put_object(**names, Body=body, IfNoneMatch="*", ChecksumSHA256=checksum)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] in _REFUSALS:
            return False
        raise
    return True


def _checksum(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()
