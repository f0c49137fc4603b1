"""The address where Prometheus reads the metrics.

The processes of a supervisor share a folder of counters (the client's multiprocess mode) and
listen on one address; whichever accepts a scrape reports for all of them.
"""

import logging
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import AF_INET, AF_INET6, SO_REUSEPORT, SOL_SOCKET, socket
from socketserver import ThreadingTCPServer

from prometheus_client import CollectorRegistry, MetricsHandler, ProcessCollector
from prometheus_client.registry import Collector

from docvault.observability.metrics import REGISTRY
from docvault.observability.multiprocess_metrics import (
    DIRECTORY_VARIABLE,
    SharedCounters,
    SharedProcesses,
)

log = logging.getLogger(__name__)

# How long a scraper may be silent.
SCRAPER_SECONDS = 5


@contextmanager
def serve_metrics(bind: str, *collectors: Collector) -> Iterator[None]:
    """Serve the metrics in a thread, so that they can be read while the event loop is busy.

    An address that cannot be bound is only a warning: documents matter more than their metrics.
    """
    host, _, port = bind.rpartition(":")
    try:
        server = _Server((host.strip("[]"), int(port)), _make_handler(collectors))
    except (OSError, OverflowError) as error:
        cause = getattr(error, "strerror", None) or "the port is too large"
        log.warning("metrics are not served: DOCVAULT_METRICS_BIND: %s", cause)
        yield
        return
    with server:
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


class _Server(ThreadingTCPServer):
    """Not `HTTPServer`, which does a reverse DNS lookup of its own name before it starts."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], handler: type[MetricsHandler]) -> None:
        self.address_family = AF_INET6 if ":" in address[0] else AF_INET
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Share the address, but only with the other processes of a supervisor."""
        if DIRECTORY_VARIABLE in os.environ:
            self.socket.setsockopt(SOL_SOCKET, SO_REUSEPORT, 1)
        super().server_bind()

    def handle_error(self, request: socket | tuple[bytes, socket], client_address: object) -> None:
        """Log a line instead of a traceback on standard error."""
        del request, client_address
        log.warning("a scrape of the metrics failed: %s", sys.exc_info()[0])


def _make_handler(collectors: Sequence[Collector]) -> type[MetricsHandler]:
    registry = CollectorRegistry()
    for collector in (*_make_collectors(), *collectors):
        registry.register(collector)
    handler: type[MetricsHandler] = MetricsHandler.factory(registry)
    handler.timeout = SCRAPER_SECONDS
    return handler


def _make_collectors() -> list[Collector]:
    folder = os.environ.get(DIRECTORY_VARIABLE)
    if folder is not None:
        return [SharedCounters(Path(folder)), SharedProcesses(Path(folder))]
    with suppress(ValueError):  # already registered: tests start several servers in one process
        ProcessCollector(registry=REGISTRY)
    return [REGISTRY]
