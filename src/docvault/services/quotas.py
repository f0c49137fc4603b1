"""How much is stored for one customer, and no more (D18)."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from docvault import metrics
from docvault.errors import QuotaExceeded
from docvault.repositories.blobs import INTENT_LIFETIME, BlobIntent
from docvault.repositories.unit import Unit
from docvault.rules.quotas import NO_QUOTA, Measure, Volume, exceeded
from docvault.settings import Settings

_REACHED = {measure: metrics.LIMITS_REACHED.labels(f"customer_{measure}") for measure in Measure}


async def announce(
    unit: Unit,
    settings: Settings,
    intents: Sequence[BlobIntent],
    lifetime: timedelta = INTENT_LIFETIME,
) -> None:
    """Record files that are about to be written for one customer; raises `QuotaExceeded`."""
    quota = _quota(settings)
    used = await unit.blobs.announce(intents, lifetime, quota=quota)
    if used is not None:
        more = Volume(len(intents), sum(intent.size_bytes for intent in intents))
        raise _refusal(quota, used, exceeded(quota, used, more) or Measure.BYTES)


async def check_room(unit: Unit, settings: Settings, customer_id: UUID, more: Volume) -> None:
    """Raise `QuotaExceeded` when there is no room for `more`, as far as can be told now."""
    quota = _quota(settings)
    if quota == NO_QUOTA:
        return
    used = await unit.blobs.usage(customer_id)
    measure = exceeded(quota, used, more)
    if measure is not None:
        raise _refusal(quota, used, measure)


def _quota(settings: Settings) -> Volume:
    return Volume(settings.customer_max_files, settings.customer_max_bytes)


def _refusal(quota: Volume, used: Volume, measure: Measure) -> QuotaExceeded:
    _REACHED[measure].inc()
    limit, present = quota.of(measure), used.of(measure)
    return QuotaExceeded(
        f"At most {limit} {measure} for one customer, old versions and uploads under way "
        f"included; there are {present}.",
        members={"quota": measure, "limit": limit, "used": present},
    )
