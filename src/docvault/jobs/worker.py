"""Running the tasks, inside the server process or as a process of its own."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from procrastinate import App
from procrastinate.exceptions import AlreadyEnqueued

from docvault.auth.principals import Access
from docvault.jobs.tasks import queue_app, retry_stalled_jobs
from docvault.repositories.jobs import JobName
from docvault.services.resources import Resources

log = logging.getLogger(__name__)

CONCURRENCY = 2
# How long jobs may go on after the order to stop; then they are given back. Inside the server
# that comes on top of the time which requests have.
SHUTDOWN_SECONDS = 20
SHUTDOWN_INSIDE_SECONDS = 5
# How much longer the end may take: only a database that says nothing comes to this.
LEAVE_SECONDS = 10
RESTART_SECONDS = 1


async def run_worker(database_url: str, resources: Resources) -> None:
    """Work until SIGINT or SIGTERM; the second one does not wait for the jobs under way."""
    async with queue_app(database_url, resources).open_async() as app:
        log.info("the worker begins")
        work = asyncio.create_task(_work(app, SHUTDOWN_SECONDS))
        loop = asyncio.get_running_loop()

        def stop() -> None:
            work.cancel()
            loop.call_later(SHUTDOWN_SECONDS + LEAVE_SECONDS, _leave)

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        await asyncio.gather(work, return_exceptions=True)


@asynccontextmanager
async def worker_inside(database_url: str, resources: Resources) -> AsyncIterator[None]:
    """Run the worker beside the server; only for a deployment of this one process.

    Whatever was left behind by a process before this one is settled first: nobody else can be
    writing or working.
    """
    async with queue_app(database_url, resources).open_async() as app:
        await _settle(app, resources)
        task = asyncio.create_task(_work(app, SHUTDOWN_INSIDE_SECONDS))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def settle_leftovers(database_url: str, resources: Resources) -> None:
    """Settle what earlier processes left behind, when nobody else can be writing or working."""
    async with queue_app(database_url, resources).open_async() as app:
        await _settle(app, resources)


def _leave() -> None:
    """End without the database: whoever works next takes the jobs over, as after a kill."""
    log.warning("the database does not answer, leaving without it")
    os._exit(0)


async def _settle(app: App, resources: Resources) -> None:
    async with resources.unit(Access.everyone()) as unit:
        await unit.blobs.expire_all_pending()
    await retry_stalled_jobs(app, 0)
    with suppress(AlreadyEnqueued):
        await app.configure_task(JobName.REAP, allow_unknown=False).defer_async(timestamp=0)


async def _work(app: App, shutdown_seconds: float) -> None:
    """Work until cancelled; jobs under way are waited for.

    The library's worker ends at the first statement that fails, with an exception or without:
    after a restart of the database it has to be started again.
    """
    task = asyncio.current_task()
    # Asked, for a worker that stops without a database raises another error than the cancellation.
    while task is not None and not task.cancelling():
        try:
            await app.run_worker_async(
                concurrency=CONCURRENCY,
                delete_jobs="always",
                shutdown_graceful_timeout=shutdown_seconds,
                install_signal_handlers=False,
            )
        except Exception:
            log.exception("the worker failed, starting again")
        await asyncio.sleep(RESTART_SECONDS)
