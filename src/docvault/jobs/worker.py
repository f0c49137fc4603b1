"""Running the tasks, within the server process or in a separate one."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from procrastinate import App
from procrastinate.exceptions import AlreadyEnqueued

from docvault.jobs.tasks import queue_app, retry_stalled_jobs
from docvault.repositories.jobs import JobName
from docvault.services.event_log import check_log
from docvault.services.events import publish_events
from docvault.services.previews import render_next_due
from docvault.services.resources import Resources
from docvault.services.webhook_sending import Deliverer

log = logging.getLogger(__name__)

CONCURRENT_JOBS = 2
# How long jobs may run on after a shutdown is requested; then they are retried later. Within the
# server this adds to the time that requests have.
SHUTDOWN_SECONDS = 20
SHUTDOWN_INSIDE_SECONDS = 5
# How much longer the shutdown may take; only an unresponsive database uses it up.
LEAVE_SECONDS = 10
RESTART_SECONDS = 1
# How often the worker looks for due previews, for events without a position, and for due deliveries
# to webhooks.
PREVIEWS_SECONDS = 1
EVENTS_SECONDS = 1
WEBHOOKS_SECONDS = 1


async def run_worker(database_url: str, resources: Resources) -> None:
    """Run until SIGINT or SIGTERM; a second signal does not wait for running jobs."""
    async with queue_app(database_url, resources).open_async() as app:
        log.info("the worker has started")
        work = asyncio.create_task(_work(app, resources, SHUTDOWN_SECONDS))
        loop = asyncio.get_running_loop()

        def stop() -> None:
            work.cancel()
            loop.call_later(SHUTDOWN_SECONDS + LEAVE_SECONDS, _leave)

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        await asyncio.gather(work, return_exceptions=True)


@asynccontextmanager
async def worker_inside(database_url: str, resources: Resources) -> AsyncIterator[None]:
    """Run the worker within the server; only for a deployment of this one process.

    It recovers first what an earlier process left behind: nothing else can be running.
    """
    async with queue_app(database_url, resources).open_async() as app:
        await _recover(app, resources)
        task = asyncio.create_task(_work(app, resources, SHUTDOWN_INSIDE_SECONDS))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def recover(database_url: str, resources: Resources) -> None:
    """Recover what earlier processes left behind; nothing else may be running."""
    async with queue_app(database_url, resources).open_async() as app:
        await _recover(app, resources)


def _leave() -> None:
    """Exit without the database: the next worker retries the jobs, as after a kill."""
    log.warning("the database does not respond, exiting without it")
    os._exit(0)


async def _recover(app: App, resources: Resources) -> None:
    async with resources.transaction(resources.system_context()) as uow:
        await uow.blobs.expire_all_pending()
        await uow.previews.release_all()
    await retry_stalled_jobs(app, 0)
    with suppress(AlreadyEnqueued):
        await app.configure_task(JobName.REAP, allow_unknown=False).defer_async(timestamp=0)


async def _work(app: App, resources: Resources, shutdown_seconds: float) -> None:
    """Work until cancelled, then wait for running jobs."""
    # Not a task group: it passes on only the first cancellation, and the second aborts the jobs.
    # Exceptions are returned so that one part does not end the other.
    await asyncio.gather(
        _run_jobs(app, shutdown_seconds),
        _render_previews(resources),
        _publish_events(resources),
        _send_webhooks(resources, shutdown_seconds),
        return_exceptions=True,
    )


async def _run_jobs(app: App, shutdown_seconds: float) -> None:
    """Run the jobs of the queue until cancelled.

    The library's worker ends, with or without an exception, at the first statement that fails:
    it has to be restarted when the database was.
    """
    while not _is_stopping():
        try:
            await app.run_worker_async(
                concurrency=CONCURRENT_JOBS,
                delete_jobs="always",
                shutdown_graceful_timeout=shutdown_seconds,
                install_signal_handlers=False,
            )
        except Exception:
            log.exception("the worker failed, starting again")
        await asyncio.sleep(RESTART_SECONDS)


def _is_stopping() -> bool:
    """Return whether this task was cancelled.

    Not `except CancelledError`: what is stopped without a database raises another error.
    """
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


async def _render_previews(resources: Resources) -> None:
    """Render due previews one after another until cancelled, so that no job waits for one."""
    has_more = False
    while not _is_stopping():
        if not has_more:
            await asyncio.sleep(PREVIEWS_SECONDS)
        try:
            has_more = await render_next_due(resources)
        except Exception:
            log.warning("previews failed, will be tried again", exc_info=True)
            has_more = False


async def _publish_events(resources: Resources) -> None:
    """Publish events until cancelled, after a check whether the database was restored."""
    is_checked = False
    while not _is_stopping():
        await asyncio.sleep(EVENTS_SECONDS)
        try:
            if not is_checked:
                await check_log(resources)
                is_checked = True
            await publish_events(resources)
        except Exception:
            log.warning("publishing events failed, will be tried again", exc_info=True)


async def _send_webhooks(resources: Resources, shutdown_seconds: float) -> None:
    """Send due deliveries until cancelled, then wait for those in flight."""
    deliverer = Deliverer(resources)
    try:
        while not _is_stopping():
            try:
                await deliverer.start_due()
            except Exception:
                log.warning("sending webhooks failed, will be tried again", exc_info=True)
            await deliverer.wait(WEBHOOKS_SECONDS)
    finally:
        await deliverer.finish(shutdown_seconds)
