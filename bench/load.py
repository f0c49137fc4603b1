"""The load: a bounded number of connections, each sending one request after another.

One thread on uvloop with httptools, so that the client uses little CPU compared with the servers on
the same machine; the scenario `client` shows its own limit.
"""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import httptools
import uvloop

CONNECTIONS = 16
# How long to wait for outstanding responses at the end of a turn.
DRAIN_SECONDS = 30.0

# The bytes of the next request.
Requests = Iterator[bytes]


@dataclass(slots=True)
class Load:
    """The measurements of one turn of load; times in seconds."""

    seconds: float
    latencies: list[float] = field(default_factory=list)
    received_bytes: int = 0
    # Responses other than 2xx by status; broken connections as 0.
    failures: Counter[int] = field(default_factory=Counter)

    @property
    def requests(self) -> int:
        """The number of 2xx responses."""
        return len(self.latencies)

    @property
    def rate(self) -> float:
        """2xx responses per second."""
        return self.requests / self.seconds

    def percentile(self, share: float) -> float:
        """Return the latency that this share of 2xx responses does not exceed."""
        if not self.latencies:
            return float("nan")
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def closed_loop(
    port: int, requests: Requests, *, seconds: float, connections: int = CONNECTIONS
) -> Load:
    """Keep every connection busy for some time; the turn ends with the last response."""

    async def run() -> Load:
        load = Load(0)
        deadline = time.perf_counter() + seconds
        supply = itertools.takewhile(lambda _: time.perf_counter() < deadline, requests)
        await _run(port, connections, lambda: next(supply, None), load)
        return load

    return _on_uvloop(run)


def count_loop(port: int, requests: Requests, *, connections: int = CONNECTIONS) -> Load:
    """Send every request of a finite sequence once."""

    async def run() -> Load:
        load = Load(0)
        await _run(port, connections, lambda: next(requests, None), load)
        return load

    return _on_uvloop(run)


def open_loop(
    port: int,
    requests: Requests,
    *,
    seconds: float,
    per_second: float,
    connections: int = CONNECTIONS * 4,
) -> Load:
    """Send at a fixed rate, regardless of the response times.

    Latency is measured from the time a request was due, so that a stalled server is charged for
    the requests it delayed.
    """

    async def run() -> Load:
        load = Load(0)
        started = time.perf_counter()
        due = [started + number / per_second for number in range(int(seconds * per_second))]
        pool = [await _connect(port, load) for _ in range(connections)]
        idle = asyncio.Queue[_Connection]()
        for connection in pool:
            connection.on_idle = idle.put_nowait
            idle.put_nowait(connection)
        for moment in due:
            await asyncio.sleep(moment - time.perf_counter())
            connection = await idle.get()
            connection.send(next(requests), moment)
        for _ in pool:
            await asyncio.wait_for(idle.get(), DRAIN_SECONDS)
        load.seconds = time.perf_counter() - started
        for connection in pool:
            connection.close()
        return load

    return _on_uvloop(run)


def _on_uvloop(run: Callable[[], Coroutine[Any, Any, Load]]) -> Load:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


async def _run(
    port: int, connections: int, next_request: Callable[[], bytes | None], load: Load
) -> None:
    """Send on each connection until there is no next request."""
    pool = [await _connect(port, load) for _ in range(connections)]
    busy = len(pool)
    finished = asyncio.Event()

    def go_on(connection: _Connection) -> None:
        nonlocal busy
        request = next_request()
        if request is not None and not connection.broken:
            connection.send(request, time.perf_counter())
            return
        busy -= 1
        if busy == 0:
            finished.set()

    started = time.perf_counter()
    for connection in pool:
        connection.on_idle = go_on
        go_on(connection)
    await finished.wait()
    load.seconds = time.perf_counter() - started
    for connection in pool:
        connection.close()


async def _connect(port: int, load: Load) -> "_Connection":
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: _Connection(load), "127.0.0.1", port)
    return connection


class _Connection(asyncio.Protocol):
    """One connection with one request at a time; httptools calls the `on_…` methods."""

    def __init__(self, load: Load) -> None:
        self.on_idle: Callable[[_Connection], None] = lambda _: None
        self.broken = False
        self._load = load
        self._sent_at: float | None = None
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes, moment: float) -> None:
        """Send a request whose latency is measured from `moment`; fail it if disconnected."""
        assert self._transport is not None
        if self.broken:
            self._load.failures[0] += 1
            self.on_idle(self)
            return
        self._sent_at = moment
        self._transport.write(request)

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._load.received_bytes += len(data)
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        assert self._sent_at is not None
        status = self._parser.get_status_code()
        if status // 100 == 2:
            self._load.latencies.append(time.perf_counter() - self._sent_at)
        else:
            self._load.failures[status] += 1
        self._sent_at = None
        # Not from within the parser, which has not finished this response yet.
        asyncio.get_running_loop().call_soon(self._next)

    def connection_lost(self, error: Exception | None) -> None:
        del error
        self.broken = True
        if self._sent_at is not None:
            self._load.failures[0] += 1
            self._sent_at = None
            self.on_idle(self)

    def _next(self) -> None:
        self.on_idle(self)
