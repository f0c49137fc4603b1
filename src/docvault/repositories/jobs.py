"""Jobs committed together with the rows they belong to."""

from enum import StrEnum

from procrastinate import App, PsycopgConnector
from sqlalchemy import text

from docvault.repositories.base import Repository


class JobName(StrEnum):
    """What the worker does; the tasks are in `jobs/`."""

    DELETE_BLOBS = "delete_blobs"
    ERASE_CUSTOMER = "erase_customer"
    RENDER_PREVIEWS = "render_previews"
    REAP = "reap"
    RESCAN = "rescan"


# A job that is tried again is as old as when it was first asked for.
_WAITING = text(
    """
    SELECT job.task_name, count(*),
           greatest(extract(epoch FROM now() - min(coalesce(event.at, now()))), 0)
    FROM procrastinate_jobs AS job
    LEFT JOIN procrastinate_events AS event ON event.job_id = job.id AND event.type = 'deferred'
    WHERE job.status IN ('todo', 'doing')
    GROUP BY job.task_name
    """
)

# Never opened: it only builds the statements that run on the transaction's own connection.
_QUEUE = App(connector=PsycopgConnector())


class JobRepository(Repository):
    """Defers jobs inside the caller's transaction: a rollback takes the job with it."""

    async def defer(self, name: JobName, **arguments: str) -> None:
        """Add a job; arguments are internal ids only, never personal data."""
        task = _QUEUE.configure_task(
            name, allow_unknown=True, connection=await self._session.driver()
        )
        await task.defer_async(**arguments)

    async def waiting(self) -> dict[str, tuple[int, float]]:
        """Return by task how many jobs are not done and for how many seconds the oldest is not."""
        rows = await self._session.execute(_WAITING)
        return {name: (number, float(age)) for name, number, age in rows}
