"""What waits to be done, for those who operate docvault."""

from docvault.auth.principals import Access
from docvault.metrics import Waiting
from docvault.repositories.jobs import JobName
from docvault.services.resources import Resources


async def read_backlog(resources: Resources) -> Waiting:
    """Return jobs, blobs and erasures that are not done, each with the age of the oldest."""
    async with resources.unit(Access.everyone()) as unit:
        jobs = await unit.jobs.waiting()
        blobs = await unit.blobs.unsettled()
        erasures = await unit.erasures.waiting()
    return {
        # Nothing is said as zero: an alert on a series that is not there stays silent.
        "jobs": [(name, *jobs.get(name, (0, 0.0))) for name in JobName],
        "blobs": [(state, *blobs.get(state, (0, 0.0))) for state in ("pending",)]
        + [("delete_queued", blobs.get("delete_queued", (0, 0.0))[0], None)],
        "erasures": [("pending", *erasures)],
    }
