"""How much is stored for one customer, and no more (D18)."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from docvault import metrics
from docvault.errors import QuotaExceeded
from docvault.repositories.blobs import INTENT_LIFETIME, BlobIntent
from docvault.repositories.unit import Unit
from docvault.rules.quotas import Measure, Volume, exceeded
from docvault.settings import Settings

NO_QUOTA = Volume(0, 0)
_REACHED = {measure: metrics.LIMITS_REACHED.labels(f"customer_{measure}") for measure in Measure}


async def announce_files(
    unit: Unit,
    settings: Settings,
    intents: Sequence[BlobIntent],
    lifetime: timedelta = INTENT_LIFETIME,
) -> None:
    """Record files that are about to be written for one customer; raises `QuotaExceeded`.

    Exact however many come at once: what is announced counts before it is written.
    """
    quota = _quota(settings)
    if quota == NO_QUOTA:
        await unit.blobs.announce(intents, lifetime)
        return
    used = await unit.blobs.announce_within(quota, intents, lifetime)
    if used is not None:
        more = Volume(len(intents), sum(intent.size_bytes for intent in intents))
        _require_room(quota, used, more)


async def check_room(unit: Unit, settings: Settings, customer_id: UUID, more: Volume) -> None:
    """Raise `QuotaExceeded` when there is no room for `more`, as far as can be told now."""
    quota = _quota(settings)
    if quota != NO_QUOTA:
        _require_room(quota, await unit.blobs.usage(customer_id), more)


def _quota(settings: Settings) -> Volume:
    return Volume(settings.customer_max_files, settings.customer_max_bytes)


def _require_room(quota: Volume, used: Volume, more: Volume) -> None:
    measure = exceeded(quota, used, more)
    if measure is None:
        return
    _REACHED[measure].inc()
    limit, present = quota.of(measure), used.of(measure)
    raise QuotaExceeded(
        f"At most {limit} {measure} for one customer, old versions and uploads under way "
        f"included; there are {present}.",
        members={"quota": measure, "limit": limit, "used": present},
    )
