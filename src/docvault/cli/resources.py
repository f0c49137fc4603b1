"""The database and the services for commands other than `serve`."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from docvault.cli.failures import CommandFailed
from docvault.db.migrate import migrate
from docvault.embedded.deployment import connect_or_start_database, has_database
from docvault.observability.logs import configure_logging
from docvault.repositories.unit_of_work import UnitOfWork
from docvault.server.startup import open_resources
from docvault.services.resources import Resources
from docvault.settings import Settings

_Result = TypeVar("_Result")


def run(function: Callable[[Resources], Coroutine[Any, Any, _Result]]) -> _Result:
    """Call a function with the resources of the deployment; migrates the database first."""
    settings = Settings()
    configure_logging("warning")
    check_database(settings)

    async def open_and_run(url: str) -> _Result:
        async with open_resources(settings, url) as resources:
            return await function(resources)

    with connect_or_start_database(settings) as url:
        migrate(url)
        return asyncio.run(open_and_run(url))


def check_database(settings: Settings) -> None:
    """Raise `CommandFailed` if there is no database.

    Without this check the command would create an empty one, and report success.
    """
    if not has_database(settings):
        raise CommandFailed(
            f"there is no database in {settings.data_dir}: `docvault serve` creates one there, "
            "DOCVAULT_DATABASE_URL selects another one, DOCVAULT_DATA_DIR another folder"
        )


def run_in_transaction(function: Callable[[UnitOfWork], Coroutine[Any, Any, _Result]]) -> _Result:
    """Call a function within a transaction, acting as the system."""

    async def transact(resources: Resources) -> _Result:
        async with resources.transaction(resources.system_context()) as uow:
            return await function(uow)

    return run(transact)
