"""The load of the bench: what it counts when a server stalls, refuses or hangs up."""

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

Answer = Callable[[int], bytes]


@contextmanager
def server(answer: Answer) -> Iterator[int]:
    """Answer the numbered requests one at a time, in threads; no bytes: hang up."""
    numbers, lock = itertools.count(), threading.Lock()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while line := self.rfile.readline():
                if line != b"\r\n":
                    continue
                with lock:
                    data = answer(next(numbers))
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
    """Stand still for everybody at the twentieth request."""
    if number == 20:
        time.sleep(STALL_SECONDS)
    return OK


def test_a_stall_counts_for_every_request_that_was_due_meanwhile() -> None:
    with server(stall_once) as port:
        load = open_loop(port, itertools.repeat(ASK), seconds=1, per_second=100, connections=4)
    assert load.requests == 100
    assert load.percentile(0.5) < STALL_SECONDS
    # Fifty were due in half a second; those of its last tenth waited for less.
    assert sum(latency > 0.1 for latency in load.latencies) >= 35


def test_a_closed_loop_sees_a_stall_only_as_often_as_it_has_connections() -> None:
    with server(stall_once) as port:
        load = count_loop(port, itertools.repeat(ASK, 100), connections=4)
    assert load.requests == 100
    assert 1 <= sum(latency >= STALL_SECONDS / 2 for latency in load.latencies) <= 4


def test_refusals_are_counted_by_status_and_are_no_answers() -> None:
    with server(lambda number: REFUSED if number % 2 else OK) as port:
        load = count_loop(port, itertools.repeat(ASK, 10), connections=1)
    assert load.requests == 5
    assert load.failures == {404: 5}


def test_a_server_that_hangs_up_fails_requests_and_stops_nothing() -> None:
    with server(lambda number: b"" if number >= 10 else OK) as port:
        load = open_loop(port, itertools.repeat(ASK), seconds=0.5, per_second=100, connections=2)
        closed = closed_loop(port, itertools.repeat(ASK), seconds=0.2, connections=2)
    assert load.requests == 10
    assert load.failures == {0: 40}
    assert closed.requests == 0
    assert closed.failures == {0: 2}
