"""The load of the bench: what it counts when a server stalls, rejects or disconnects."""

import itertools
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench.load import closed_loop, count_loop, open_loop

from bench import requests

ASK = requests.get("/")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
REFUSED = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
STALL_SECONDS = 0.5

Response = Callable[[int], bytes]


@contextmanager
def server(response: Response) -> Iterator[int]:
    """Respond to the numbered requests, one at a time, in threads; no bytes: disconnect."""
    numbers, lock = itertools.count(), threading.Lock()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while line := self.rfile.readline():
                if line != b"\r\n":
                    continue
                with lock:
                    data = response(next(numbers))
                if not data:
                    return
                self.wfile.write(data)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield listening.server_address[1]
        finally:
            listening.shutdown()
            thread.join()


def stall_once(number: int) -> bytes:
    """Stall all connections at the twentieth request."""
    if number == 20:
        time.sleep(STALL_SECONDS)
    return OK


def test_stall_delays_every_scheduled_request() -> None:
    with server(stall_once) as port:
        load = open_loop(port, itertools.repeat(ASK), seconds=1, per_second=100, connections=4)
    assert load.requests == 100
    assert load.percentile(0.5) < STALL_SECONDS
    # Fifty were due within half a second; those in its last tenth waited for less.
    assert sum(latency > 0.1 for latency in load.latencies) >= 35


def test_closed_loop_sees_stall_once_per_connection() -> None:
    with server(stall_once) as port:
        load = count_loop(port, itertools.repeat(ASK, 100), connections=4)
    assert load.requests == 100
    assert 1 <= sum(latency >= STALL_SECONDS / 2 for latency in load.latencies) <= 4


def test_rejections_are_counted_by_status_and_excluded_from_latency() -> None:
    with server(lambda number: REFUSED if number % 2 else OK) as port:
        load = count_loop(port, itertools.repeat(ASK, 10), connections=1)
    assert load.requests == 5
    assert load.failures == {404: 5}


def test_disconnecting_server_fails_requests_without_stopping_load() -> None:
    with server(lambda number: b"" if number >= 10 else OK) as port:
        load = open_loop(port, itertools.repeat(ASK), seconds=0.5, per_second=100, connections=2)
        closed = closed_loop(port, itertools.repeat(ASK), seconds=0.2, connections=2)
    assert load.requests == 10
    assert load.failures == {0: 40}
    assert closed.requests == 0
    assert closed.failures == {0: 2}
