"""Answers kept for repeated requests."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """The answer to repeat, and the fingerprint of the request it belongs to."""

    fingerprint: bytes
    status: int
    headers: dict[str, str]
    body: bytes
