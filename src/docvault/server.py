"""Serving: uvicorn with our own bounds, and what surrounds it."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI

from docvault.app import create_app
from docvault.jobs.worker import worker_inside
from docvault.services.resources import Resources
from docvault.settings import Settings
from docvault.startup import open_resources

log = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 15
GRACEFUL_SECONDS = 25


def application(settings: Settings, database_url: str, *, with_worker: bool) -> FastAPI:
    """Return the application with everything it opens while it runs."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Resources]:
        async with open_resources(settings, database_url) as resources:
            if not with_worker:
                yield resources
                return
            async with worker_inside(database_url, resources):
                yield resources

    return create_app(opened)


class Server(uvicorn.Server):
    """Turns not ready as soon as it is told to stop (D33)."""

    def __init__(self, app: FastAPI, config: uvicorn.Config, *, announce: str) -> None:
        super().__init__(config)
        self._app = app
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say where."""
        await super().startup(sockets)
        if self.started:
            print(self._announce, flush=True)  # noqa: T201 - for the person at the terminal

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish what is under way."""
        self._app.state.stopping = True
        await super().shutdown(sockets)


def serve(app: FastAPI, listener: socket.socket, *, announce: str) -> bool:
    """Serve until SIGINT or SIGTERM; return whether the start succeeded."""
    config = uvicorn.Config(
        app,
        http="httptools",
        loop="uvloop",
        lifespan="on",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
    )
    server = Server(app, config, announce=announce)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(server.serve(sockets=[listener]))
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
    listener.listen(2048)
    listener.set_inheritable(True)
    return listener
