"""Responses stored for replays."""

from dataclasses import dataclass

# How many keys one actor may use within the lifetime of a stored response.
MAX_CUSTOMER_KEYS = 10_000
MAX_OTHER_KEYS = 100_000


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response to replay, and the fingerprint of the request it belongs to."""

    fingerprint: bytes
    status: int
    headers: dict[str, str]
    body: bytes
