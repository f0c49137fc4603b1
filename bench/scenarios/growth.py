"""How cost grows with file size and the number of types, connections and processes."""

import itertools
import statistics
from collections.abc import Iterator

from bench import requests, samples
from bench.load import CONNECTIONS, Load, closed_loop
from bench.measure import Plot, Result
from bench.peers.docvault import Docvault, docvault
from bench.samples import KIBIBYTE, MEBIBYTE
from bench.scenarios.p01_upload import FILENAME, own_uploads
from bench.scenarios.p02_large_upload import RAISED_LIMIT, delete_document, large_document
from bench.setup import Setup
from bench.transfer import receive, send, write_file

TITLE = "How cost grows; with the number of customers: see P6"
TARGET = "none: no cost may grow faster than linearly"
SIZES = tuple(KIBIBYTE * 4**step for step in range(2, 10))
QUICK_SIZES = (16 * KIBIBYTE, MEBIBYTE)
TYPES, QUICK_TYPES = (1, 5, 10, 20, 50, 100), (1, 5)
CONCURRENCY, QUICK_CONCURRENCY = (1, 2, 4, 8, 16, 32, 64), (1, 16)
PROCESSES, QUICK_PROCESSES = (1, 2, 4), (1, 2)


def measure(setup: Setup) -> Result:
    """Measure docvault alone, once for every value of each parameter."""
    result = Result("growth", TITLE, TARGET)
    with docvault(setup, settings=RAISED_LIMIT) as ours:
        ours.worker.pause()
        result.plots.append(_by_size(setup, ours))
    with docvault(setup, name="types") as ours:
        ours.worker.pause()
        result.plots.append(_by_types(setup, ours))
    result.plots += _by_processes_and_connections(setup)
    return result


def _by_size(setup: Setup, ours: Docvault) -> Plot:
    """Upload and download one file after another."""
    sizes = QUICK_SIZES if setup.quick else SIZES
    document, headers = large_document(ours, sizes[-1])
    uploads: list[tuple[float, float]] = []
    downloads: list[tuple[float, float]] = []
    for size in sizes:
        path = setup.store_folder("source") / f"{size}.pdf"
        write_file(path, samples.pdf_chunks(size))
        head = requests.multipart_head("PUT", document, size, headers, filename=FILENAME)
        frame, get = (
            requests.multipart_frame(FILENAME),
            requests.get(f"{document}/content", headers),
        )
        there, back = [], []
        for _ in range(setup.rounds):
            there.append(send(ours.port, head, path, frame))
            back.append(receive(ours.port, get, size))
            delete_document(ours, document)
        uploads.append((size / MEBIBYTE, statistics.median(there) * 1e3))
        downloads.append((size / MEBIBYTE, statistics.median(back) * 1e3))
        print(f"  {size} bytes: up {uploads[-1][1]:.1f} ms, down {downloads[-1][1]:.1f} ms")
    lines = {"upload": uploads, "download": downloads}
    return Plot("One file, by size", "MiB", "ms", lines, logarithmic=True)


def _by_types(setup: Setup, ours: Docvault) -> Plot:
    """Request a customer's documents with increasing numbers of types, all with a document."""
    (customer_id,) = ours.add_customers(1)
    headers, content = ours.customer_headers(customer_id), samples.pdf(4 * KIBIBYTE)
    requests_by_label = {
        "documents": requests.get("/v1/customer/documents", headers),
        "gate": requests.get("/v1/customer/gate", headers),
    }
    lines: dict[str, list[tuple[float, float]]] = {name: [] for name in requests_by_label}
    for number in QUICK_TYPES if setup.quick else TYPES:
        keys = ours.add_types(number - len(ours.types), upload_mode="required")
        uploads = (
            requests.multipart(
                "PUT", f"/v1/customer/documents/{key}", content, headers, filename=FILENAME
            )
            for key in keys
        )
        closed_loop(ours.port, uploads, seconds=60, connections=4)
        for name, request in requests_by_label.items():
            load = _load(setup, ours, itertools.repeat(request), connections=1)
            lines[name].append((number, load.percentile(0.5) * 1e3))
            print(f"  {number} types, {name}: {lines[name][-1][1]:.2f} ms")
    return Plot("One customer, by the number of types", "types", "ms", lines)


def _by_processes_and_connections(setup: Setup) -> Iterator[Plot]:
    """Return rates by the number of processes, and for two processes by connections."""
    content = samples.pdf(100 * KIBIBYTE)
    processes: dict[str, list[tuple[float, float]]] = {}
    connections: dict[str, list[tuple[float, float]]] = {}
    for number in QUICK_PROCESSES if setup.quick else PROCESSES:
        # The kernel does not distribute connections evenly: one process may get all of them.
        limit = {"DOCVAULT_MAX_CONCURRENT_UPLOADS": "64"}
        with docvault(setup, name=f"processes-{number}", workers=number, settings=limit) as ours:
            ours.worker.pause()
            # Enough that no document is replaced so often that old versions are pruned.
            customers = 20 if setup.quick else 1500
            supplies = {
                "upload of 100 KiB": own_uploads(ours, content, customers=customers),
                "documents of a customer": _documents(ours),
            }
            for name, supply in supplies.items():
                load = _load(setup, ours, supply, connections=CONNECTIONS)
                processes.setdefault(name, []).append((number, load.rate))
                print(f"  {number} processes, {name}: {load.rate:.0f}/s")
                if number != 2:
                    continue
                for at_once in QUICK_CONCURRENCY if setup.quick else CONCURRENCY:
                    load = _load(setup, ours, supply, connections=at_once)
                    connections.setdefault(name, []).append((at_once, load.rate))
                    print(f"  {at_once} connections, {name}: {load.rate:.0f}/s")
    yield Plot("Rate by the number of API processes", "processes", "requests a second", processes)
    yield Plot("Rate by the number of connections", "connections", "requests a second", connections)


def _documents(ours: Docvault) -> Iterator[bytes]:
    (customer_id,) = ours.add_customers(1)
    request = requests.get("/v1/customer/documents", ours.customer_headers(customer_id))
    return itertools.repeat(request)


def _load(setup: Setup, ours: Docvault, supply: Iterator[bytes], *, connections: int) -> Load:
    """Run a load after a warm-up; raise `RuntimeError` on any failed request."""
    closed_loop(ours.port, supply, seconds=setup.seconds / 4, connections=connections)
    load = closed_loop(ours.port, supply, seconds=setup.seconds, connections=connections)
    if load.failures:
        raise RuntimeError(f"refused: {dict(load.failures)}")
    return load
