"""The reaper: deletes what has expired, and what interrupted requests and processes left behind."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial

from docvault.observability import metrics
from docvault.repositories.unit_of_work import UnitOfWork
from docvault.services.blobs import delete_queued_blobs
from docvault.services.resources import Resources
from docvault.services.steps import Step, attempt_all

# Longer than any write to the store takes.
STALE_UPLOAD = timedelta(hours=24)


async def reap(resources: Resources, *others: Step) -> None:
    """Delete expired reservations, sessions, keys and counters, and their blobs and spool files.

    `others` are further steps. No step depends on another one.
    """
    await attempt_all(
        partial(_expire_blobs, resources),
        *(partial(_transact, resources, clean_up) for clean_up in _CLEAN_UPS),
        partial(delete_queued_blobs, resources),
        partial(_remove_leftovers, resources),
        *others,
        failure="a step of the clean-up failed",
    )


_CLEAN_UPS: tuple[Callable[[UnitOfWork], Awaitable[object]], ...] = (
    lambda uow: uow.idempotency_keys.delete_expired(),
    lambda uow: uow.upload_sessions.delete_old(),
    lambda uow: uow.rate_limits.delete_over(),
    lambda uow: uow.fact_sets.delete_unused(),
    lambda uow: uow.audit_events.delete_late_details(),
)


async def _expire_blobs(resources: Resources) -> None:
    async with resources.transaction(resources.system_context()) as uow:
        if not resources.store.supports_presigned_urls:
            await uow.blobs.expire_abandoned_sooner()
        expired = await uow.blobs.queue_expired()
    metrics.REAPED.labels("blobs").inc(expired)


async def _transact(
    resources: Resources, statements: Callable[[UnitOfWork], Awaitable[object]]
) -> None:
    async with resources.transaction(resources.system_context()) as uow:
        await statements(uow)


async def _remove_leftovers(resources: Resources) -> None:
    resources.spool.remove_leftovers()


async def abort_stale_uploads(resources: Resources) -> None:
    """Abort uploads into the store that a crash interrupted."""
    await resources.store.abort_stale_uploads(STALE_UPLOAD)
