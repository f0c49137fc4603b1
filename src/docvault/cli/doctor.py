"""`docvault doctor`: checks a deployment."""

import asyncio

import typer

from docvault.cli.failures import CommandFailed
from docvault.cli.folders import require_folders
from docvault.domain.findings import Severity
from docvault.embedded.deployment import connect_or_start_database, has_database
from docvault.observability.logs import configure_logging
from docvault.server.startup import open_resources
from docvault.services.diagnosis import diagnose
from docvault.settings import Settings


def print_diagnosis() -> bool:
    """Print a line for each check; return whether all passed."""
    settings = Settings()
    require_folders(settings)
    # Failures are printed.
    configure_logging("critical")
    typer.echo("settings: ok")
    if not has_database(settings):
        raise CommandFailed(f"there is no database in {settings.data_dir}; run `docvault serve`")
    with connect_or_start_database(settings) as url:
        return asyncio.run(_print_findings(settings, url))


async def _print_findings(settings: Settings, url: str) -> bool:
    passed = True
    async with open_resources(settings, url) as resources:
        async for finding in diagnose(resources):
            typer.echo(str(finding))
            passed = passed and finding.severity < Severity.PROBLEM
    return passed
