"""One process that serves the API: uvicorn with our own limits."""

import asyncio
import gc
import signal
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from ipaddress import ip_network
from types import FrameType

import uvicorn
from fastapi import FastAPI

from docvault.api.app import create_app
from docvault.auth.trust import keys_fetched
from docvault.jobs.worker import worker_inside
from docvault.observability.tracing import configure_tracing
from docvault.server.heartbeat import send_heartbeats
from docvault.server.http_protocol import BoundedProtocol
from docvault.server.start_checks import surroundings_checked
from docvault.server.startup import metrics_server, open_resources
from docvault.server.supervisor import DRAIN_SECONDS
from docvault.services.resources import Resources
from docvault.settings import Settings

KEEP_ALIVE_SECONDS = 15
GRACEFUL_SECONDS = 25
DRAIN_CHECK_SECONDS = 0.1
IPV4 = 4


def create_served_app(
    settings: Settings,
    database_url: str,
    *,
    with_worker: bool,
    heartbeat: int | None = None,
    checked_processes: int | None = None,
) -> FastAPI:
    """Create the application, which opens and closes its resources itself.

    `heartbeat` is the descriptor of the pipe to the supervisor. With `checked_processes` this
    process checks the surroundings of that many processes once it serves.
    """

    @asynccontextmanager
    async def open_all() -> AsyncIterator[Resources]:
        async with open_resources(settings, database_url) as resources, metrics_server(resources):
            # Fail at the start rather than at the first upload.
            await resources.inspectors.start()
            checks = (
                surroundings_checked(resources, processes=checked_processes)
                if checked_processes is not None
                else nullcontext()
            )
            async with keys_fetched(resources.tokens), checks:
                if not with_worker:
                    async with send_heartbeats(heartbeat):
                        yield resources
                    return
                async with worker_inside(database_url, resources):
                    yield resources

    return create_app(open_all, prefix=settings.public_path, telemetry=configure_tracing())


class Server(uvicorn.Server):
    """Reports not-ready before shutdown (D33); a second signal stops it immediately."""

    def __init__(self, app: FastAPI, config: uvicorn.Config, *, banner: str | None = None) -> None:
        super().__init__(config)
        self._app = app
        self._banner = banner
        self._drains = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start serving, then print the banner."""
        await super().startup(sockets)
        # Exclude start-up objects from garbage collection.
        gc.collect()
        gc.freeze()
        if self.started and self._banner is not None:
            print(self._banner, flush=True)  # noqa: T201 - for the user at the terminal

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Shut down cleanly, draining on SIGTERM; immediately on a second signal."""
        if self.should_exit:
            self.force_exit = True
        self._drains = sig == signal.SIGTERM
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Report not-ready, keep serving for a moment, then finish the requests in progress."""
        self._app.state.stopping = True
        drained_at = time.monotonic() + (DRAIN_SECONDS if self._drains else 0)
        while time.monotonic() < drained_at and not self.force_exit:  # noqa: ASYNC110 - set by a signal handler
            await asyncio.sleep(DRAIN_CHECK_SECONDS)
        await super().shutdown(sockets)


def make_uvicorn_config(app: FastAPI, trusted_proxies: Sequence[str] = ()) -> uvicorn.Config:
    """Return uvicorn's configuration.

    `X-Forwarded-For` and `X-Forwarded-Proto` are only used if a trusted proxy sent them; of several
    addresses, the last one that is not a proxy's is the client's.
    """
    return uvicorn.Config(
        app,
        http=BoundedProtocol,
        loop="uvloop",
        lifespan="on",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=_add_mapped(trusted_proxies),
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
    )


def _add_mapped(networks: Sequence[str]) -> list[str]:
    """Add the IPv4-mapped IPv6 form of IPv4 networks, in which an IPv6 socket reports them."""
    parsed = [ip_network(network) for network in networks]
    mapped = [
        f"::ffff:{network.network_address}/{96 + network.prefixlen}"
        for network in parsed
        if network.version == IPV4
    ]
    return [*map(str, parsed), *mapped]


def run_server(
    app: FastAPI,
    listener: socket.socket,
    *,
    trusted_proxies: Sequence[str],
    banner: str | None = None,
) -> bool:
    """Serve until SIGINT or SIGTERM; return whether the server has started."""
    config = make_uvicorn_config(app, trusted_proxies)
    server = Server(app, config, banner=banner)
    try:
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(server.serve(sockets=[listener]))
    except KeyboardInterrupt:
        # uvicorn raises the signal again after an orderly shutdown.
        pass
    return server.started
