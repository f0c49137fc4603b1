"""What the garbage collector costs: docvault as it is, and without `gc.freeze` after its start."""

import itertools
from pathlib import Path

from bench import requests
from bench.measure import Contestant, Result, interleave, under_load
from bench.peers.docvault import Docvault, docvault
from bench.setup import Setup

TITLE = "Customer list of 100, 16 connections, with and without gc.freeze()"
TARGET = "none: shows what it is worth"
CUSTOMERS = 100
UNFROZEN = Path(__file__).parents[1] / "unfrozen"


def measure(setup: Setup) -> Result:
    """Ask two services for the same, of which one does not freeze what it has at the start."""
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
    asked = requests.get("/v1/admin/customers?limit=100", place.admin_headers())
    return Contestant(
        name, under_load(setup, place.port, itertools.repeat(asked), server=place.server)
    )
