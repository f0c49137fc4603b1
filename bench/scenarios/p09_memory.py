"""P9: a process does not grow over a hundred thousand requests."""

import itertools
import random
import statistics
from collections.abc import Iterator, Sequence

from bench import requests, samples
from bench.load import count_loop
from bench.measure import Check, Plot, Result, Sample
from bench.peers.docvault import Docvault, docvault
from bench.processes import MEBIBYTE
from bench.samples import KIBIBYTE
from bench.setup import Setup

TITLE = "Memory of one API process over 100,000 mixed requests, 16 connections"
TARGET = "at most 200 MiB, and flat"
REQUESTS, QUICK_REQUESTS = 100_000, 1_000
# The number of memory samples.
STEPS = 50
# The allowed ratio of the last fifth to the second: the first fills caches and pools.
FLAT = 1.05
CUSTOMERS, QUICK_CUSTOMERS = 200, 10
SIZE_BYTES = 20 * KIBIBYTE
FILENAME = "contract.pdf"
SEED = 9


def measure(setup: Setup) -> Result:
    """Send a mix of requests; sample the memory regularly."""
    result = Result("P9", TITLE, TARGET)
    total = QUICK_REQUESTS if setup.quick else REQUESTS
    # Invalid credentials are part of the mix, and all come from one address.
    no_limit = {"DOCVAULT_FAILED_CREDENTIALS_PER_MINUTE": "0"}
    with docvault(setup, workers=1, settings=no_limit) as ours:
        mix = _mix(ours, QUICK_CUSTOMERS if setup.quick else CUSTOMERS)
        ours.worker.pause()
        curve: list[Sample] = [_sample_memory(ours, 0)]
        failures: dict[int, int] = {}
        for step in range(1, STEPS + 1):
            load = count_loop(ours.port, itertools.islice(mix, total // STEPS))
            for status, times in load.failures.items():
                failures[status] = failures.get(status, 0) + times
            curve.append(_sample_memory(ours, step * total // STEPS))
    result.plots.append(
        Plot(
            "Memory of one API process",
            "requests",
            "MiB",
            {
                name: [(point["requests"], point[figure]) for point in curve]
                for name, figure in (("resident", "resident_mib"), ("PSS", "proportional_mib"))
            },
        )
    )
    result.notes.append(f"Responses other than 2xx, by status: {dict(sorted(failures.items()))}.")
    _add_checks(result, [point["resident_mib"] for point in curve], failures)
    return result


def _sample_memory(ours: Docvault, served: int) -> Sample:
    point = {
        "requests": float(served),
        "resident_mib": ours.server.resident_bytes() / MEBIBYTE,
        "proportional_mib": ours.server.proportional_bytes() / MEBIBYTE,
    }
    print(f"  {served:>7} requests: {point['resident_mib']:.1f} MiB", flush=True)
    return point


def _add_checks(result: Result, resident: Sequence[float], failures: dict[int, int]) -> None:
    fifth = STEPS // 5
    early = statistics.median(resident[fifth + 1 : 2 * fifth + 1])
    late = statistics.median(resident[-fifth:])
    result.checks += [
        Check("largest memory", max(resident), 200, "lower", 150, " MiB"),
        Check("memory: last fifth of the requests / second fifth", late / early, FLAT, "lower"),
    ]
    broken = sum(times for status, times in failures.items() if status == 0 or status >= 500)
    result.checks.append(Check("5xx responses and broken connections", broken, 0, "lower", unit=""))


def _mix(ours: Docvault, customers: int) -> Iterator[bytes]:
    """Return valid and invalid requests of all kinds, in a fixed random order."""
    types, ids = ours.add_types(5), ours.add_customers(customers)
    content, staff = samples.pdf(SIZE_BYTES), ours.admin_headers()
    kinds: list[tuple[int, list[bytes]]] = [(weight, []) for weight in (30, 15, 15, 10, 5, 10, 5)]
    documents, gates, downloads, uploads, refused, lists, events = (kind for _, kind in kinds)
    for customer_id, key in itertools.product(ids, types):
        headers = ours.customer_headers(customer_id)
        document = f"/v1/customer/documents/{key}"
        documents.append(requests.get("/v1/customer/documents", headers))
        gates.append(requests.get("/v1/customer/gate", headers))
        downloads.append(requests.get(f"{document}/content", headers))
        uploads.append(requests.multipart("PUT", document, content, headers, filename=FILENAME))
        refused += [
            requests.multipart("PUT", document, b"\0" * 100, headers, filename=FILENAME),
            requests.get(document, {"Authorization": "Bearer wrong"}),
            requests.get(f"{document}?unknown=1", headers),
            requests.json_request("POST", f"{document}/uploads", {"filename": ""}, headers),
        ]
        lists.append(requests.get(f"/v1/admin/customers?uploaded={key}&limit=10", staff))
        events.append(requests.get(f"/v1/admin/audit-events?customer={customer_id}", staff))
    count_loop(ours.port, iter(uploads), connections=4)
    return _drawn(kinds)


def _drawn(kinds: Sequence[tuple[int, Sequence[bytes]]]) -> Iterator[bytes]:
    chance = random.Random(SEED)
    weights = [weight for weight, _ in kinds]
    while True:
        ((_, requests_of_kind),) = chance.choices(kinds, weights)
        yield chance.choice(requests_of_kind)
