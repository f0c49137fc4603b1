"""The cost of garbage collection: docvault with and without `gc.freeze` after start-up."""

import itertools
from pathlib import Path

from bench import requests
from bench.measure import Contestant, Result, interleave, under_load
from bench.peers.docvault import Docvault, docvault
from bench.setup import Setup

TITLE = "Customer list of 100, 16 connections, with and without gc.freeze()"
TARGET = "none: shows its effect"
CUSTOMERS = 100
UNFROZEN = Path(__file__).parents[1] / "unfrozen"


def measure(setup: Setup) -> Result:
    """Send the same requests to two services, one of which does not call `gc.freeze`."""
    result = Result("freeze", TITLE, TARGET, "p99_ms")
    without = {"PYTHONPATH": str(UNFROZEN)}
    with docvault(setup) as ours, docvault(setup, name="unfrozen", settings=without) as unfrozen:
        contestants = [
            _contestant(setup, "docvault", ours),
            _contestant(setup, "without gc.freeze", unfrozen),
        ]
        interleave(result, contestants, setup.rounds)
    return result


def _contestant(setup: Setup, name: str, place: Docvault) -> Contestant:
    place.add_types(3, upload_mode="required")
    place.add_customers(CUSTOMERS)
    place.worker.pause()
    request = requests.get("/v1/admin/customers?limit=100", place.admin_headers())
    return Contestant(
        name, under_load(setup, place.port, itertools.repeat(request), server=place.server)
    )
