"""Storage quotas of a customer."""

from dataclasses import dataclass
from enum import StrEnum


class QuotaKind(StrEnum):
    """What a quota counts."""

    FILES = "files"
    BYTES = "bytes"
    VALUE_BYTES = "value_bytes"


@dataclass(frozen=True, slots=True)
class StorageUsage:
    """A number of files, their bytes, and the bytes of field values.

    Values count wherever they are stored: with documents and versions, with upload sessions, in
    the audit trail, and in responses stored for replays.
    """

    files: int
    size_bytes: int
    value_bytes: int = 0

    def of(self, kind: QuotaKind) -> int:
        """Return the amount of one kind."""
        if kind is QuotaKind.FILES:
            return self.files
        return self.size_bytes if kind is QuotaKind.BYTES else self.value_bytes


NO_QUOTA = StorageUsage(0, 0)


# Deleted files that are kept for a backup count too, against this multiple of the quota.
WAITING_FACTOR = 2


@dataclass(frozen=True, slots=True)
class Usage:
    """What a customer uses: stored or reserved, and deleted but kept for a backup."""

    current: StorageUsage
    waiting: StorageUsage

    def with_waiting(self, kind: QuotaKind) -> int:
        """Return what the store holds or may come to hold."""
        return self.current.of(kind) + self.waiting.of(kind)


@dataclass(frozen=True, slots=True)
class Excess:
    """A limit that would be exceeded."""

    kind: QuotaKind
    limit: int
    used: int
    is_waiting: bool


def excess(quota: StorageUsage, usage: Usage, more: StorageUsage) -> Excess | None:
    """Return the limit that `more` would exceed, None if it fits. A quota of 0 is unlimited."""
    for kind in QuotaKind:
        limit, used = quota.of(kind), usage.current.of(kind)
        if limit and used + more.of(kind) > limit:
            return Excess(kind, limit, used, is_waiting=False)
    for kind in QuotaKind:
        limit, used = WAITING_FACTOR * quota.of(kind), usage.with_waiting(kind)
        if limit and used + more.of(kind) > limit:
            return Excess(kind, limit, used, is_waiting=True)
    return None
