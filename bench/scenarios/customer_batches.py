"""Customer batches: the host synchronises all its customers, and most have not changed."""

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx

from bench.measure import Check, Contestant, Cost, Result, Sample, interleave
from bench.peers.docvault import Docvault, docvault
from bench.setup import Setup

TITLE = "Batches of 500 customers, one after the other"
TARGET = "at most 1 s for a batch, whether its customers are new, changed or unchanged"
PATH = "/v1/integration/customer-batches"
SIZE = 500
# How many customers exist already, and how many batches a turn has.
CUSTOMERS, QUICK_CUSTOMERS = 100_000, 500
BATCHES, QUICK_BATCHES = 20, 2

Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Host:
    """The host's own system, which sends batches with its API key."""

    client: httpx.Client
    ours: Docvault
    batches: int

    def turn(self, supply: Iterator[list[Item]]) -> Callable[[], Sample]:
        """Return a turn of batches, the slowest of which counts."""

        def turn() -> Sample:
            cost = Cost(server=self.ours.server, database=self.ours.database)
            seconds = [self.send(items) for items in itertools.islice(supply, self.batches)]
            return {
                "median_seconds": statistics.median(seconds),
                "longest_seconds": max(seconds),
                **cost.figures(self.batches * SIZE),
            }

        return turn

    def send(self, items: list[Item]) -> float:
        """Send a batch; return the seconds it took."""
        started = time.perf_counter()
        response = self.client.post(PATH, json={"items": items})
        seconds = time.perf_counter() - started
        statuses = {result["status"] for result in response.raise_for_status().json()["items"]}
        if not statuses <= {200, 201}:
            raise RuntimeError(f"a batch with the statuses {statuses}")
        return seconds


def measure(setup: Setup) -> Result:
    """Send batches to a docvault that knows many customers."""
    result = Result("customer_batches", TITLE, TARGET, "median_seconds")
    with ExitStack() as stack:
        ours = stack.enter_context(docvault(setup))
        ours.worker.pause()
        client = stack.enter_context(_client(ours))
        host = Host(client, ours, QUICK_BATCHES if setup.quick else BATCHES)
        for number in range((QUICK_CUSTOMERS if setup.quick else CUSTOMERS) // SIZE):
            host.send(_items(f"existing-{number}", "A"))
        unchanged = _items("existing-0", "A")
        supplies = {
            "new": (_items(f"new-{number}", "A") for number in itertools.count()),
            "changed": (_items("existing-1", f"B {number}") for number in itertools.count()),
            "unchanged": itertools.repeat(unchanged),
        }
        contestants = [Contestant(name, host.turn(supply)) for name, supply in supplies.items()]
        interleave(result, contestants, setup.rounds)
    result.checks += [
        Check(f"longest of {name}", result.median(name, "longest_seconds"), 1, "lower", unit=" s")
        for name in supplies
    ]
    result.notes.append("CPU time is that of one customer.")
    return result


def _client(ours: Docvault) -> httpx.Client:
    """Return a client with an API key that may write customers."""
    with ours.client() as admin:
        key = {"name": "host", "scopes": ["customers:write"]}
        response = admin.post("/v1/admin/api-keys", json=key).raise_for_status()
    headers = {"X-API-Key": response.json()["key"]}
    return httpx.Client(base_url=f"http://127.0.0.1:{ours.port}", headers=headers, timeout=60)


def _items(prefix: str, name: str) -> list[Item]:
    return [
        {
            "id": f"{prefix}-{number:03}",
            "name": f"{name} {number}",
            "email": f"{prefix}.{number}@host.example",
            "tags": ["wholesale", "north"],
        }
        for number in range(SIZE)
    ]
