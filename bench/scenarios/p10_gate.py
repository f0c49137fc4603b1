"""P10: the host platform can query the gate on every page view."""

import itertools
from collections.abc import Iterator
from functools import partial

from bench import requests, samples
from bench.load import count_loop, open_loop
from bench.measure import Check, Contestant, Plot, Result, Sample, interleave, load_sample
from bench.peers.docvault import Docvault, docvault
from bench.samples import KIBIBYTE
from bench.setup import Setup

TITLE = "Gate decision at a constant 500 requests a second, one API process"
TARGET = "p99 at most 10 ms, counted from when a request was due"
RATES, QUICK_RATES = (125, 250, 500, 750, 1000), (100, 500)
RATE = 500
CUSTOMERS, QUICK_CUSTOMERS = 500, 20
TYPES = 10
FILENAME = "contract.pdf"


def measure(setup: Setup) -> Result:
    """Send requests at several constant rates, regardless of the response times."""
    result = Result("P10", TITLE, TARGET)
    rates = QUICK_RATES if setup.quick else RATES
    with docvault(setup, workers=1) as ours:
        gate_requests = _fill(ours, QUICK_CUSTOMERS if setup.quick else CUSTOMERS)
        ours.worker.pause()
        contestants = [
            Contestant(f"{rate}/s", partial(_turn, setup, ours, gate_requests, rate))
            for rate in rates
        ]
        interleave(result, contestants, setup.rounds)
    result.plots.append(
        Plot(
            "Latency of the gate at a constant rate",
            "requests a second",
            "ms",
            {
                name: [(rate, result.median(f"{rate}/s", figure)) for rate in rates]
                for name, figure in (("p50", "p50_ms"), ("p95", "p95_ms"), ("p99", "p99_ms"))
            },
            logarithmic=True,
        )
    )
    at_target = f"{RATE}/s"
    p99, failures = result.median(at_target, "p99_ms"), result.median(at_target, "failures")
    result.checks += [
        Check(f"p99 at {RATE}/s", p99, 10, "lower", 5, " ms"),
        Check(f"failures at {RATE}/s", failures, 0, "lower", unit=""),
    ]
    result.notes.append(
        "The client's timer has a resolution of one millisecond, which is included in the latency."
    )
    return result


def _fill(ours: Docvault, customers: int) -> Iterator[bytes]:
    """Return requests for customers of which some have all required documents, some not."""
    types = ours.add_types(TYPES, upload_mode="required")
    content = samples.pdf(4 * KIBIBYTE)
    headers = [ours.customer_headers(customer_id) for customer_id in ours.add_customers(customers)]
    uploads = [
        requests.multipart("PUT", f"/v1/customer/documents/{key}", content, one, filename=FILENAME)
        for number, one in enumerate(headers)
        for key in types[: TYPES - number % 4]
    ]
    count_loop(ours.port, iter(uploads), connections=4)
    ours.enable_gate()
    return itertools.cycle([requests.get("/v1/customer/gate", one) for one in headers])


def _turn(setup: Setup, ours: Docvault, gate_requests: Iterator[bytes], rate: int) -> Sample:
    seconds = setup.seconds * 2
    return load_sample(
        lambda: open_loop(ours.port, gate_requests, seconds=seconds, per_second=rate),
        server=ours.server,
        database=ours.database,
    )
