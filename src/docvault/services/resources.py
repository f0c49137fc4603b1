"""What a process opens at start and shares between requests and jobs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from docvault.auth.keyring import Keyring
from docvault.auth.principals import Access
from docvault.auth.tokens import TokenVerifier
from docvault.database import Database
from docvault.previews.renderer import PreviewRenderer
from docvault.repositories.unit import Unit
from docvault.scanning.clamd import Scanner
from docvault.services.rate_limits import RateLimits
from docvault.services.turns import Turns
from docvault.settings import Settings
from docvault.storage.base import BlobStore
from docvault.storage.spool import Spool


@dataclass(frozen=True, slots=True)
class Resources:
    """The settings and the connections of a process."""

    settings: Settings
    keyring: Keyring
    database: Database
    store: BlobStore
    spool: Spool
    tokens: TokenVerifier
    renderer: PreviewRenderer
    preview_turns: Turns
    scanner: Scanner | None
    upload_slots: asyncio.Semaphore
    rate_limits: RateLimits

    @asynccontextmanager
    async def unit(self, access: Access) -> AsyncIterator[Unit]:
        """Open a transaction; it commits when the block ends."""
        async with self.database.transaction() as session:
            yield Unit(session, access)

    @asynccontextmanager
    async def statements(self, access: Access) -> AsyncIterator[Unit]:
        """Read, or write what is complete with each statement; see `Database.statements`."""
        async with self.database.statements() as session:
            yield Unit(session, access)
