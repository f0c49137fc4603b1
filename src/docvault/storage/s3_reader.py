"""Reading one object of an S3-compatible store."""

import base64
from collections.abc import AsyncGenerator
from typing import Any

from docvault.circuit_breaker import CircuitBreaker
from docvault.errors import StorageUnavailable
from docvault.storage.base import CHUNK_BYTES
from docvault.storage.s3_errors import call_store


class S3Reader:
    """See `BlobReader`. Bytes are only fetched by `chunks`."""

    def __init__(
        self,
        client: Any,  # noqa: ANN401 - generated at run time
        names: dict[str, str],
        size_bytes: int,
        sha256: str | None,
        content_encoding: str,
        breaker: CircuitBreaker,
    ) -> None:
        self._client = client
        self._names = names
        self._breaker = breaker
        self.size_bytes = size_bytes
        self.sha256 = sha256
        self.content_encoding = content_encoding

    async def chunks(self, start: int, length: int) -> AsyncGenerator[bytes, None]:
        """Stream a range of the object; see `BlobReader`."""
        if length == 0:
            return
        received = 0
        # No total timeout: the client at the other end may be slow.
        async with call_store(self._breaker, seconds=None):
            response = await self._client.get_object(
                **self._names, Range=f"bytes={start}-{start + length - 1}"
            )
            async with response["Body"] as body:
                async for chunk in body.content.iter_chunked(CHUNK_BYTES):
                    received += len(chunk)
                    yield chunk
        if received != length:
            raise StorageUnavailable("The stored file is truncated.")

    async def close(self) -> None:
        """Nothing to release."""


def parse_digest(head: dict[str, Any]) -> str | None:
    """Return the SHA-256 of the whole object; None if S3 only has that of its parts."""
    checksum = head.get("ChecksumSHA256")
    if checksum is None or "-" in checksum or head.get("ChecksumType") == "COMPOSITE":
        return None
    return base64.b64decode(checksum).hex()
