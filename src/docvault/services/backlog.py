"""Pending work, for the metrics of operators."""

from docvault.observability.backlog import Waiting
from docvault.repositories.jobs import JobName
from docvault.services.resources import Resources


async def read_backlog(resources: Resources) -> Waiting:
    """Return what is pending of each kind: how many, and the age of the oldest."""
    async with resources.transaction(resources.system_context()) as uow:
        jobs = await uow.jobs.waiting()
        jobs[JobName.RENDER_PREVIEWS] = await uow.previews.waiting()
        blobs = await uow.blobs.pending_counts()
        events = await uow.events.waiting()
        erasures = await uow.erasures.waiting()
        deliveries = await uow.webhook_deliveries.waiting()
    return {
        # Emit explicit zeros: alerts do not fire on missing series.
        "jobs": [(name, *jobs.get(name, (0, 0.0))) for name in JobName],
        "blobs": [(state, *blobs.get(state, (0, 0.0))) for state in ("pending",)]
        + [("delete_queued", blobs.get("delete_queued", (0, 0.0))[0], None)],
        "erasures": [("pending", *erasures)],
        "events": [("pending", *events)],
        "deliveries": [
            ("pending", deliveries.number, deliveries.seconds),
            ("late", deliveries.late_number, deliveries.late_seconds),
        ],
        "webhooks": [("failing", deliveries.failing_number, deliveries.failing_seconds)],
    }
