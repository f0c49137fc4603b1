"""Storage quotas of a customer."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from docvault.context import RequestContext
from docvault.domain.actors import Staff
from docvault.domain.quotas import NO_QUOTA, Excess, QuotaKind, StorageUsage, Usage, excess
from docvault.errors import QuotaExceeded
from docvault.observability import metrics
from docvault.repositories.blobs import RESERVATION_LIFETIME, BlobReservation
from docvault.repositories.unit_of_work import UnitOfWork
from docvault.settings import Settings

_DESCRIPTIONS = {
    QuotaKind.FILES: "files for one customer, including old versions and pending uploads",
    QuotaKind.BYTES: "bytes for one customer, including old versions and pending uploads",
    QuotaKind.VALUE_BYTES: "bytes of field values for one customer, including those of old "
    "versions, in the audit trail and in responses stored for repeated requests",
}
_REACHED = {kind: metrics.LIMITS_REACHED.labels(f"customer_{kind}") for kind in QuotaKind}


async def reserve(
    uow: UnitOfWork,
    reservations: Sequence[BlobReservation],
    lifetime: timedelta = RESERVATION_LIFETIME,
) -> None:
    """Reserve storage for files of one customer before they are written.

    Raises `QuotaExceeded`.
    """
    quota = _quota(uow.context)
    usage = await uow.blobs.reserve(reservations, lifetime, quota=quota)
    if usage is not None:
        # The size of the values is known only when the file is attached.
        more = StorageUsage(len(reservations), sum(one.size_bytes for one in reservations), 1)
        raise _exceeded(excess(quota, usage, more))


async def check_values(uow: UnitOfWork, customer_id: UUID) -> None:
    """Raise `QuotaExceeded` when the quota of field values is used up.

    The values about to be written are not counted: a customer exceeds the quota by at most one
    change.
    """
    quota = StorageUsage(0, 0, _quota(uow.context).value_bytes)
    if quota == NO_QUOTA:
        return
    used = StorageUsage(0, 0, await uow.documents.value_bytes(customer_id))
    found = excess(quota, Usage(used, StorageUsage(0, 0)), StorageUsage(0, 0, 1))
    if found is not None:
        raise _exceeded(found)


async def check_quota(uow: UnitOfWork, customer_id: UUID, more: StorageUsage) -> None:
    """Raise `QuotaExceeded` if `more` does not fit now; it reserves nothing."""
    quota = _quota(uow.context)
    if quota == NO_QUOTA:
        return
    found = excess(quota, await uow.blobs.usage(customer_id), more)
    if found is not None:
        raise _exceeded(found)


def quota_of(settings: Settings, *, is_staff: bool) -> StorageUsage:
    """Return the quota of each customer; for staff without one of values.

    A customer who uses it up must not keep staff from correcting or replacing their documents.
    """
    values = 0 if is_staff else settings.customer_max_value_bytes
    return StorageUsage(settings.customer_max_files, settings.customer_max_bytes, values)


def _quota(context: RequestContext) -> StorageUsage:
    return quota_of(context.settings, is_staff=isinstance(context.actor, Staff))


def _exceeded(found: Excess | None) -> QuotaExceeded:
    if found is None:
        raise RuntimeError("reserve_blobs.sql refused what `excess` allows")
    _REACHED[found.kind].inc()
    description = _DESCRIPTIONS[found.kind]
    if found.is_waiting:
        description += ", including deleted files that are kept for backups"
    return QuotaExceeded(
        f"At most {found.limit} {description}; {found.used} are in use.",
        members={"quota": found.kind, "limit": found.limit, "used": found.used},
    )
