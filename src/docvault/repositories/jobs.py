"""Jobs, committed in the transaction of the change they belong to."""

from dataclasses import dataclass
from enum import StrEnum

from procrastinate import App, PsycopgConnector

from docvault.repositories.base import Repository
from docvault.repositories.sql import load_statement


class JobName(StrEnum):
    """What the worker does, as metrics name it. All but the previews are tasks of the queue."""

    DELETE_BLOBS = "delete_blobs"
    ERASE_CUSTOMER = "erase_customer"
    RENDER_PREVIEWS = "render_previews"
    REAP = "reap"
    RESCAN = "rescan"


@dataclass(slots=True)
class _WaitingJobs:
    name: str
    number: int
    seconds: float


_WAITING = load_statement("waiting_jobs", _WaitingJobs)

# Never opened: it only builds the statements, which run on the connection of the transaction.
_QUEUE = App(connector=PsycopgConnector())


class JobRepository(Repository):
    """Defers jobs in the caller's transaction: a rollback removes the job."""

    async def defer(self, name: JobName, **arguments: str) -> None:
        """Add a job; arguments are internal ids, never personal data."""
        task = _QUEUE.configure_task(
            name, allow_unknown=True, connection=await self._session.driver()
        )
        await task.defer_async(**arguments)

    async def waiting(self) -> dict[str, tuple[int, float]]:
        """Return by task the number of unfinished jobs and the age of the oldest in seconds."""
        return {row.name: (row.number, row.seconds) for row in await self._rows(_WAITING, {})}
