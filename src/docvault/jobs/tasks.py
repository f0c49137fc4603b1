"""The tasks of the worker. Arguments are internal ids; everything else is read when it runs."""

import logging
from contextlib import suppress
from uuid import UUID

from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException, UniqueViolation
from procrastinate.jobs import Job, Status
from procrastinate.retry import BaseRetryStrategy, RetryDecision

from docvault import metrics
from docvault.database import POOL_WAIT_SECONDS, connection_options, libpq_url
from docvault.repositories.jobs import JobName
from docvault.services.blobs import delete_queued_blobs, reap
from docvault.services.erasures import finish_erasure, finish_erasures
from docvault.services.previews import render_version
from docvault.services.resources import Resources
from docvault.services.scans import rescan

log = logging.getLogger(__name__)

MAX_WAIT_SECONDS = 300
# A worker that has not shown itself for so long is dead; its jobs are taken over.
STALLED_SECONDS = 60


class ForEver(BaseRetryStrategy):
    """Tries again until it works, waiting twice as long each time up to five minutes."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision:
        """Return when to try again."""
        metrics.JOB_RETRIES.labels(job.task_name).inc()
        wait = min(2**job.attempts, MAX_WAIT_SECONDS)
        log.warning(
            "job failed, will be tried again",
            extra={"job": job.task_name, "attempts": job.attempts + 1},
            exc_info=exception,
        )
        return RetryDecision(retry_in={"seconds": wait})


def queue_app(database_url: str, resources: Resources) -> App:
    """Return the job queue with every task of docvault."""
    for name in JobName:
        metrics.JOB_SECONDS.labels(name, "failed")
    app = App(
        connector=PsycopgConnector(
            conninfo=libpq_url(database_url),
            kwargs={"options": connection_options(), "connect_timeout": POOL_WAIT_SECONDS},
            min_size=1,
            max_size=4,
            timeout=POOL_WAIT_SECONDS,
            # After that the next request tries anew, at once: else the pool waits twice as long
            # each time, and minutes at the end of a long outage.
            reconnect_timeout=POOL_WAIT_SECONDS,
        )
    )

    @app.task(name=JobName.DELETE_BLOBS, retry=ForEver())
    async def delete_blobs() -> None:
        with metrics.measured(metrics.JOB_SECONDS, JobName.DELETE_BLOBS):
            await delete_queued_blobs(resources)

    @app.task(name=JobName.ERASE_CUSTOMER, retry=ForEver())
    async def erase_customer(erasure_id: str, waits: int = 0) -> None:
        with metrics.measured(metrics.JOB_SECONDS, JobName.ERASE_CUSTOMER):
            is_finished = await finish_erasure(resources, UUID(erasure_id))
        if not is_finished:
            # Bytes may still be on their way, which is no failure.
            seconds = min(2**waits, MAX_WAIT_SECONDS)
            again = erase_customer.configure(schedule_in={"seconds": seconds})
            await again.defer_async(erasure_id=erasure_id, waits=waits + 1)

    @app.task(name=JobName.RENDER_PREVIEWS, retry=ForEver())
    async def render_previews(version_id: str) -> None:
        with metrics.measured(metrics.JOB_SECONDS, JobName.RENDER_PREVIEWS):
            await render_version(resources, UUID(version_id))

    @app.periodic(cron="* * * * *")
    @app.task(name=JobName.REAP, queueing_lock=JobName.REAP, retry=False, pass_context=False)
    async def reap_leftovers(timestamp: int) -> None:
        del timestamp
        with metrics.measured(metrics.JOB_SECONDS, JobName.REAP):
            await retry_stalled_jobs(app, STALLED_SECONDS)
            await reap(resources)
            await finish_erasures(resources)
        metrics.REAPER_SUCCEEDED.set_to_current_time()

    @app.periodic(cron="* * * * *")
    @app.task(
        name=JobName.RESCAN,
        queueing_lock=JobName.RESCAN,
        lock=JobName.RESCAN,
        retry=False,
        pass_context=False,
    )
    async def rescan_files(timestamp: int) -> None:
        del timestamp
        with metrics.measured(metrics.JOB_SECONDS, JobName.RESCAN):
            has_more = await rescan(resources)
        if has_more:
            with suppress(AlreadyEnqueued):
                await app.configure_task(JobName.RESCAN).defer_async(timestamp=0)

    return app


async def retry_stalled_jobs(app: App, seconds: float) -> None:
    """Give back the jobs of workers that have not shown themselves for so many seconds."""
    for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=seconds):
        try:
            await app.job_manager.retry_job(job)
        except UniqueViolation:
            # One like it is queued, which would wait for ever for the lock of this one.
            await app.job_manager.finish_job(job, Status.FAILED, delete_job=True)
        except ConnectorException:
            # It ended, or another worker gave it back, while we looked.
            continue
        metrics.REAPED.labels("jobs").inc()
