"""Opening what a process needs, and closing it again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx

from docvault.auth.jwks import RemoteKeys, StaticKeys
from docvault.auth.keyring import Keyring
from docvault.auth.local_tokens import LocalIssuer
from docvault.auth.tokens import TokenVerifier
from docvault.database import Database
from docvault.metrics import Backlog, served
from docvault.previews.renderer import PreviewRenderer
from docvault.scanning.clamd import Scanner
from docvault.services.backlog import read_backlog
from docvault.services.rate_limits import RateLimits
from docvault.services.resources import Resources
from docvault.services.turns import Turns
from docvault.settings import Settings
from docvault.storage import open_store
from docvault.storage.spool import Spool


@asynccontextmanager
async def open_resources(settings: Settings, database_url: str) -> AsyncIterator[Resources]:
    """Open database, store, spool and keys; close them when the block ends."""
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(settings))
        spool = Spool(settings.spool_dir or store.spool_dir)
        stack.callback(spool.close)
        database = Database(database_url, pool_size=settings.database_pool_size)
        stack.push_async_callback(database.close)
        keyring = Keyring.from_settings(settings)
        yield Resources(
            settings=settings,
            keyring=keyring,
            database=database,
            store=store,
            spool=spool,
            tokens=await _token_verifier(settings, stack),
            renderer=PreviewRenderer(),
            preview_turns=Turns(),
            scanner=Scanner(settings.clamd) if settings.clamd else None,
            upload_slots=asyncio.Semaphore(settings.max_parallel_uploads),
            rate_limits=RateLimits(settings, keyring),
        )


@asynccontextmanager
async def metrics_served(resources: Resources) -> AsyncIterator[None]:
    """Serve the metrics of this process, where a setting says so."""
    bind = resources.settings.metrics_bind
    if bind is None:
        yield
        return
    loop = asyncio.get_running_loop()
    with served(bind, Backlog(lambda: read_backlog(resources), loop)):
        yield


async def _token_verifier(settings: Settings, stack: AsyncExitStack) -> TokenVerifier:
    """Return what checks tokens: of the identity provider when one is set, else our own."""
    if settings.jwt_jwks_url is None:
        local = LocalIssuer(settings)
        return TokenVerifier(settings, local.issuer, StaticKeys(local.public_keys()))
    assert settings.jwt_issuer is not None  # noqa: S101 - the settings are checked for it
    client = await stack.enter_async_context(httpx.AsyncClient())
    return TokenVerifier(settings, settings.jwt_issuer, RemoteKeys(settings.jwt_jwks_url, client))
