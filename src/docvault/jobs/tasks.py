"""The tasks of the worker. Arguments are internal ids; everything else is read when a job runs."""

import logging
from contextlib import suppress
from functools import partial
from uuid import UUID

from procrastinate import App, JobContext, PsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException, UniqueViolation
from procrastinate.jobs import Job, Status
from procrastinate.retry import BaseRetryStrategy, RetryDecision

from docvault.db.engine import POOL_WAIT_SECONDS
from docvault.db.sessions import SessionSettings
from docvault.observability import metrics
from docvault.repositories.jobs import JobName
from docvault.services.blobs import delete_queued_blobs
from docvault.services.erasures import finish_erasure, finish_erasures
from docvault.services.event_log import check_log
from docvault.services.events import prune_events
from docvault.services.reaper import abort_stale_uploads, reap
from docvault.services.resources import Resources
from docvault.services.scans import rescan
from docvault.services.webhook_deliveries import drop_deliveries, prune_deliveries
from docvault.services.webhooks import seal_secrets

log = logging.getLogger(__name__)

MAX_WAIT_SECONDS = 300
# A worker without a heartbeat for this long is dead; its jobs are retried.
STALLED_SECONDS = 60
EVERY_MINUTE = "* * * * *"


class RetryForever(BaseRetryStrategy):
    """Retries with exponential backoff of up to five minutes."""

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


async def delete_blobs(context: JobContext) -> None:
    """Delete the bytes of queued blobs."""
    with metrics.observe_duration(metrics.JOB_SECONDS, JobName.DELETE_BLOBS):
        await delete_queued_blobs(_resources(context))


async def erase_customer(context: JobContext, erasure_id: str, waits: int = 0) -> None:
    """Finish an erasure, or defer itself while bytes of the customer may still arrive."""
    with metrics.observe_duration(metrics.JOB_SECONDS, JobName.ERASE_CUSTOMER):
        is_finished = await finish_erasure(_resources(context), UUID(erasure_id))
    if not is_finished:
        # Not a failure, so not a retry.
        seconds = min(2**waits, MAX_WAIT_SECONDS)
        again = context.app.configure_task(JobName.ERASE_CUSTOMER, schedule_in={"seconds": seconds})
        await again.defer_async(erasure_id=erasure_id, waits=waits + 1)


async def render_previews(
    context: JobContext, version_id: str, customer_id: str | None = None
) -> None:
    """Do a job of release 0.2.0, whose uploads deferred one for their previews."""
    del customer_id
    resources = _resources(context)
    async with resources.transaction(resources.system_context()) as uow:
        await uow.previews.mark_due(UUID(version_id))


async def reap_leftovers(context: JobContext, timestamp: int) -> None:
    """Clean up what interrupted requests and workers left behind."""
    del timestamp
    resources = _resources(context)
    with metrics.observe_duration(metrics.JOB_SECONDS, JobName.REAP):
        await reap(
            resources,
            partial(retry_stalled_jobs, context.app, STALLED_SECONDS),
            partial(finish_erasures, resources),
            partial(prune_events, resources),
            partial(drop_deliveries, resources),
            partial(prune_deliveries, resources),
            partial(seal_secrets, resources),
            partial(check_log, resources),
            partial(abort_stale_uploads, resources),
        )
    metrics.REAPER_SUCCEEDED.set_to_current_time()


async def rescan_files(context: JobContext, timestamp: int) -> None:
    """Scan stored files again; defers itself until all have been scanned."""
    del timestamp
    with metrics.observe_duration(metrics.JOB_SECONDS, JobName.RESCAN):
        has_more = await rescan(_resources(context))
    if has_more:
        with suppress(AlreadyEnqueued):
            await context.app.configure_task(JobName.RESCAN).defer_async(timestamp=0)


def queue_app(database_url: str, resources: Resources) -> App:
    """Return the job queue with all tasks."""
    for name in JobName:
        metrics.JOB_SECONDS.labels(name, "failed")
    sessions = SessionSettings(database_url)
    app = App(
        connector=PsycopgConnector(
            kwargs=sessions.parameters,
            configure=sessions.prepare,
            min_size=1,
            max_size=4,
            timeout=POOL_WAIT_SECONDS,
            # Afterwards the next request reconnects at once. By default the pool doubles its
            # wait up to minutes, which would delay recovery after a long outage.
            reconnect_timeout=POOL_WAIT_SECONDS,
        ),
        worker_defaults={"additional_context": {"resources": resources}},
    )
    _register_tasks(app)
    return app


def _register_tasks(app: App) -> None:
    # Not a `Blueprint`: its tasks belong to one app for the life of the process, and it adds a
    # namespace to their names, which stand in the database.
    app.task(name=JobName.DELETE_BLOBS, retry=RetryForever(), pass_context=True)(delete_blobs)
    app.task(name=JobName.ERASE_CUSTOMER, retry=RetryForever(), pass_context=True)(erase_customer)
    app.task(name=JobName.RENDER_PREVIEWS, retry=RetryForever(), pass_context=True)(render_previews)
    reap_task = app.task(name=JobName.REAP, queueing_lock=JobName.REAP, pass_context=True)
    app.periodic(cron=EVERY_MINUTE)(reap_task(reap_leftovers))
    rescan_task = app.task(
        name=JobName.RESCAN, queueing_lock=JobName.RESCAN, lock=JobName.RESCAN, pass_context=True
    )
    app.periodic(cron=EVERY_MINUTE)(rescan_task(rescan_files))


def _resources(context: JobContext) -> Resources:
    resources: Resources = context.additional_context["resources"]
    return resources


async def retry_stalled_jobs(app: App, seconds: float) -> None:
    """Retry the jobs of workers without a heartbeat for this many seconds."""
    for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=seconds):
        try:
            await app.job_manager.retry_job(job)
        except UniqueViolation:
            # A duplicate is queued, which would wait forever for the lock that this one holds.
            await app.job_manager.finish_job(job, Status.FAILED, delete_job=True)
        except ConnectorException:
            # It ended, or another worker has retried it, in the meantime.
            continue
        metrics.REAPED.labels("jobs").inc()
