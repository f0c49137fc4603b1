"""The resources of a process: opened at its start, closed at its end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx

from docvault.auth.keyring import Keyring
from docvault.auth.trust import open_verifier
from docvault.certificates import make_tls_context
from docvault.db.engine import Database
from docvault.domain.web_origins import WebOrigins
from docvault.inspection.pool import Inspectors
from docvault.observability.backlog import Backlog
from docvault.observability.metrics_server import serve_metrics
from docvault.previews.renderer import PreviewRenderer
from docvault.scanning.clamd import Scanner
from docvault.services.backlog import read_backlog
from docvault.services.event_poll import EventPoll
from docvault.services.preview_queue import PLACES, PreviewQueue
from docvault.services.rate_limits import RateLimits
from docvault.services.resources import Resources
from docvault.settings import Settings
from docvault.storage import open_store
from docvault.storage.spool import Spool
from docvault.webhooks.destinations import Destinations
from docvault.webhooks.sender import WebhookSender


@asynccontextmanager
async def open_resources(settings: Settings, database_url: str) -> AsyncIterator[Resources]:
    """Open database, store, spool and keys; close them when the block ends."""
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(settings))
        spool = Spool(settings.spool_dir or store.spool_dir)
        stack.callback(spool.close)
        database = Database(database_url, pool_size=settings.database_pool_size)
        stack.push_async_callback(database.close)
        inspectors = Inspectors()
        stack.push_async_callback(inspectors.close)
        keyring = Keyring.from_settings(settings)
        verify = make_tls_context(settings.ca_file)
        client = await stack.enter_async_context(httpx.AsyncClient(verify=verify))
        destinations = Destinations.of(settings)
        sender = await stack.enter_async_context(WebhookSender(destinations, verify))
        yield Resources(
            settings=settings,
            keyring=keyring,
            database=database,
            store=store,
            spool=spool,
            tokens=open_verifier(settings, client),
            inspectors=inspectors,
            renderer=PreviewRenderer(parallel=PLACES),
            preview_queue=PreviewQueue(),
            scanner=Scanner(settings.clamd_url) if settings.clamd_url else None,
            upload_permits=asyncio.Semaphore(settings.max_concurrent_uploads),
            event_poll=EventPoll(),
            rate_limits=RateLimits(settings, keyring),
            origins=WebOrigins.of(settings),
            destinations=destinations,
            webhook_sender=sender,
        )


@asynccontextmanager
async def metrics_server(resources: Resources) -> AsyncIterator[None]:
    """Serve the metrics of this process if `DOCVAULT_METRICS_BIND` is set."""
    bind = resources.settings.metrics_bind
    if bind is None:
        yield
        return
    loop = asyncio.get_running_loop()
    with serve_metrics(bind, Backlog(lambda: read_backlog(resources), loop)):
        yield
