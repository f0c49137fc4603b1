"""Whether an S3 store enforces the conditions that make signed uploads safe."""

import base64
import hashlib
from typing import Any

from botocore.exceptions import ClientError

_BODY, _OTHER_BODY = b"first", b"second"


async def enforces_conditions(
    client: Any,  # noqa: ANN401 - botocore generates its clients at run time
    names: dict[str, str],
) -> bool:
    """Try to store bytes with the checksum of others, and to replace an object.

    A store that permits either would let the holder of a signed URL store other bytes than
    declared, or replace a completed upload. `names` are the bucket and the key, which must be
    unused; the caller deletes what is left there.
    """
    if await _is_accepted(client, names, _BODY, checksum=_checksum(_OTHER_BODY)):
        return False
    await client.put_object(**names, Body=_BODY, IfNoneMatch="*", ChecksumSHA256=_checksum(_BODY))
    return not await _is_accepted(client, names, _OTHER_BODY, checksum=_checksum(_OTHER_BODY))


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
        if error.response["ResponseMetadata"]["HTTPStatusCode"] in {400, 409, 412}:
            return False
        raise
    return True


def _checksum(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()
