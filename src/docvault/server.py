"""Serving: uvicorn with our own bounds, in one process."""

import asyncio
import gc
import signal
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_network
from types import FrameType

import uvicorn
from fastapi import FastAPI

from docvault.app import create_app
from docvault.http_protocol import BoundedProtocol
from docvault.jobs.worker import worker_inside
from docvault.services.resources import Resources
from docvault.settings import Settings
from docvault.startup import metrics_served, open_resources
from docvault.supervisor import DRAIN_SECONDS
from docvault.tracing import telemetry

KEEP_ALIVE_SECONDS = 15
GRACEFUL_SECONDS = 25
DRAIN_CHECK_SECONDS = 0.1
BACKLOG = 2048
IPV4 = 4


def application(settings: Settings, database_url: str, *, with_worker: bool) -> FastAPI:
    """Return the application with everything it opens while it runs."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Resources]:
        async with open_resources(settings, database_url) as resources, metrics_served(resources):
            if not with_worker:
                yield resources
                return
            async with worker_inside(database_url, resources):
                yield resources

    return create_app(opened, telemetry=telemetry())


class Server(uvicorn.Server):
    """Turns not ready before it stops (D33); a second signal stops it at once."""

    def __init__(self, app: FastAPI, config: uvicorn.Config, *, announcement: str | None) -> None:
        super().__init__(config)
        self._app = app
        self._announcement = announcement
        self._drains = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say where."""
        await super().startup(sockets)
        # What is here by now stays: collecting garbage need not look at it again and again.
        gc.collect()
        gc.freeze()
        if self.started and self._announcement is not None:
            print(self._announcement, flush=True)  # noqa: T201 - for the person at the terminal

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop in order, draining when a service manager asks; at once when asked again."""
        if self.should_exit:
            self.force_exit = True
        self._drains = sig == signal.SIGTERM
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Say that we are not ready, go on serving for a moment, finish what is under way."""
        self._app.state.stopping = True
        drained_at = time.monotonic() + (DRAIN_SECONDS if self._drains else 0)
        while time.monotonic() < drained_at and not self.force_exit:  # noqa: ASYNC110 - set by a signal handler
            await asyncio.sleep(DRAIN_CHECK_SECONDS)
        await super().shutdown(sockets)


def uvicorn_config(app: FastAPI, trusted_proxies: Sequence[str] = ()) -> uvicorn.Config:
    """Return how uvicorn serves the application.

    What `X-Forwarded-For` and `X-Forwarded-Proto` say counts only when a trusted proxy says it:
    of several addresses the last one that is not a proxy's.
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
        forwarded_allow_ips=_with_mapped(trusted_proxies),
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
    )


def _with_mapped(networks: Sequence[str]) -> list[str]:
    """Return IPv4 networks also as an IPv6 socket names them."""
    parsed = [ip_network(network) for network in networks]
    mapped = [
        f"::ffff:{network.network_address}/{96 + network.prefixlen}"
        for network in parsed
        if network.version == IPV4
    ]
    return [*map(str, parsed), *mapped]


def serve(
    app: FastAPI,
    listener: socket.socket,
    *,
    trusted_proxies: Sequence[str],
    announcement: str | None = None,
) -> bool:
    """Serve until SIGINT or SIGTERM; return whether the start succeeded."""
    config = uvicorn_config(app, trusted_proxies)
    server = Server(app, config, announcement=announcement)
    try:
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(server.serve(sockets=[listener]))
    except KeyboardInterrupt:
        # uvicorn raises the signal again once it has stopped in order.
        pass
    return server.started


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; raises `OSError` when the address is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    listener.listen(BACKLOG)
    return listener
