"""What a process opens at start-up and shares between requests and jobs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from docvault.auth.keyring import Keyring
from docvault.auth.tokens import TokenVerifier
from docvault.context import RequestContext
from docvault.db.engine import Database
from docvault.domain.web_origins import WebOrigins
from docvault.inspection.pool import Inspectors
from docvault.previews.renderer import PreviewRenderer
from docvault.repositories.unit_of_work import UnitOfWork
from docvault.scanning.clamd import Scanner
from docvault.services.event_poll import EventPoll
from docvault.services.preview_queue import PreviewQueue
from docvault.services.rate_limits import RateLimits
from docvault.settings import Settings
from docvault.storage.base import BlobStore
from docvault.storage.spool import Spool
from docvault.webhooks.destinations import Destinations
from docvault.webhooks.sender import WebhookSender


@dataclass(frozen=True, slots=True)
class Resources:
    """The settings, connections and limits of a process."""

    settings: Settings
    keyring: Keyring
    database: Database
    store: BlobStore
    spool: Spool
    tokens: TokenVerifier
    inspectors: Inspectors
    renderer: PreviewRenderer
    preview_queue: PreviewQueue
    scanner: Scanner | None
    upload_permits: asyncio.Semaphore
    rate_limits: RateLimits
    event_poll: EventPoll
    origins: WebOrigins
    destinations: Destinations
    webhook_sender: WebhookSender

    def system_context(self) -> RequestContext:
        """Return the context of docvault itself, which reaches all customers."""
        return RequestContext.system(self.keyring, self.settings)

    @asynccontextmanager
    async def transaction(self, context: RequestContext) -> AsyncIterator[UnitOfWork]:
        """Open a transaction; it commits when the block ends."""
        async with self.database.transaction() as session:
            yield UnitOfWork(session, context)

    @asynccontextmanager
    async def autocommit(self, context: RequestContext) -> AsyncIterator[UnitOfWork]:
        """Open a connection on which every statement commits on its own.

        For reads, and for writes that are complete with one statement.
        """
        async with self.database.autocommit() as connection:
            yield UnitOfWork(connection, context)
