"""Runs immediately what the worker and the reaper would do over time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.factories.blobs import leave_bytes
from tests.factories.previews import MAKE_OVERDUE
from tests.torture.deployments import Deployment
from tests.torture.model import is_idle

from docvault.jobs.tasks import queue_app
from docvault.jobs.worker import recover
from docvault.repositories.jobs import JobName
from docvault.server.startup import open_resources
from docvault.services.previews import render_next_due
from docvault.services.resources import Resources

ROUNDS = 5


class Settler:
    """Works in the test's own process, next to a deployment whose processes start and stop."""

    def __init__(self, deployment: Deployment, resources: Resources) -> None:
        self._deployment = deployment
        self._resources = resources

    @property
    def resources(self) -> Resources:
        """What it has opened."""
        return self._resources

    async def settle(self) -> None:
        """Expire every claim and reservation, recover the jobs of dead workers, run every job and
        render every preview."""
        url = self._deployment.own_url
        with self._deployment.connect() as connection:
            connection.execute("UPDATE idempotency_keys SET locked_until = now()")
            for _ in range(ROUNDS):
                await recover(url, self._resources)
                connection.execute("UPDATE procrastinate_jobs SET scheduled_at = NULL")
                async with queue_app(url, self._resources).open_async() as app:
                    await app.run_worker_async(
                        wait=False, delete_jobs="always", install_signal_handlers=False
                    )
                connection.execute(MAKE_OVERDUE)
                while await render_next_due(self._resources):
                    pass
                if is_idle(connection):
                    return

    async def write_expired_bytes(self) -> None:
        """Write bytes that are never attached, and expire their reservations."""
        blob_ids = await leave_bytes(self._resources)
        with self._deployment.connect() as connection:
            connection.execute("UPDATE blobs SET expires_at = now() WHERE id = ANY(%s)", [blob_ids])

    async def defer_reaper(self) -> None:
        """Defer the job that otherwise runs every minute."""
        async with queue_app(self._deployment.own_url, self._resources).open_async() as app:
            await app.configure_task(JobName.REAP, allow_unknown=False).defer_async(timestamp=0)


@asynccontextmanager
async def settler_of(deployment: Deployment) -> AsyncIterator[Settler]:
    """Open the deployment's database and store in this process."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in deployment.environment.items():
            patch.setenv(name, value)
        async with open_resources(deployment.settings(), deployment.own_url) as resources:
            yield Settler(deployment, resources)
