"""Where docvault spends its time: explains targets that are not met."""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from bench import requests, samples
from bench.database_profile import profile_database
from bench.load import Load, Requests, closed_loop
from bench.measure import Result
from bench.peers.docvault import Docvault, docvault
from bench.peers.seaweedfs import seaweedfs, store_settings
from bench.processes import Tree
from bench.profiling import profile
from bench.scenarios import (
    p01_upload,
    p02_large_upload,
    p04_download,
    p05_documents,
    p07_s3_upload,
)
from bench.setup import Missing, Setup
from bench.transfer import send, write_file

TITLE = "Where the API process spends its time; the worker is paused"
TARGET = "none: explains the figures above"
SECONDS, QUICK_SECONDS = 10.0, 1.0
# About the duration of one upload of a gibibyte.
LARGE_SECONDS = 2.0
# Rarer samples are noise.
LEAST_SHARE = 0.02
NOTES = (
    (
        "**P1.** An upload takes two statements: one authorises, counts and reserves, the other "
        "attaches the version with audit and event. Concurrent ones share transactions and their "
        "flushes (decision 66); between the two, the file and its directory are flushed. The file "
        "is inspected in a child process, whose CPU time is part of the table. What is left is "
        "spread: receiving multipart, the guard, waking up threads and a child, two "
        "statements with sixty parameters. PocketBase is compiled and has its database in its own "
        "process; tus-server has no database: its whole upload takes less CPU time than docvault's "
        "database."
    ),
    (
        "**P2.** One thread receives data, finds the multipart boundary and passes the content on; "
        "another hashes and writes. nginx neither searches for a boundary nor hashes."
    ),
    (
        "**P4.** Compared with plain FastAPI, a download also needs the guard and a statement that "
        "authorises it and writes the audit event; plain FastAPI does neither and is itself only "
        "about as fast as the target."
    ),
    (
        "**P5.** One statement of ten rows, the conversion from rows to domain objects, models and "
        "JSON, and the credential. The bare handler renders the same JSON from the same rows "
        "without models, framework or credentials."
    ),
    (
        "**P6.** Each page is tried in turn by plans that read a bounded number of customers, and "
        "only at last by one that reads all matches of a search or tag (decisions 0080 and 0105): "
        "the cost depends on the matches, not on the total. The plans are stored."
    ),
    (
        "**P7.** The file is received, hashed, checked and spooled before the store is contacted, "
        "so that nothing invalid gets there; its parts are then uploaded as boto3 does. The "
        "additional time is spent receiving the file and searching the PDF for active content. Two "
        "parts are in memory at once, which is the whole allowance; the receive buffers come on "
        "top."
    ),
)
CUSTOMERS = 10

Run = Callable[[], Load | None]


def measure(setup: Setup) -> Result:
    """Profile an API process under each load in turn, and its database where it matters."""
    result = Result("profile", TITLE, TARGET)
    seconds = QUICK_SECONDS if setup.quick else SECONDS
    for row, scenario, make, duration in (
        ("P1", p01_upload, _uploads, seconds),
        ("P2", p02_large_upload, _large_upload, LARGE_SECONDS),
        ("P4", p04_download, _downloads, seconds),
        ("P5", p05_documents, _lists, seconds),
        ("P7", p07_s3_upload, _s3_uploads, seconds),
    ):
        with (
            _settings(setup, row) as settings,
            # One process, so that it handles all requests.
            docvault(setup, name=row, workers=1, settings=settings) as ours,
        ):
            ours.worker.pause()
            run = make(setup, ours, duration + 1)
            # The first requests of a process are slower than later ones.
            run()
            try:
                _profile(result, f"{row}, {scenario.TITLE}", ours, duration, run)
            except Missing as error:
                result.missing[f"a profile of {row}"] = str(error)
    result.notes += NOTES
    return result


def _profile(result: Result, title: str, ours: Docvault, seconds: float, run: Run) -> None:
    found = profile(ours.server.pid, seconds, run)
    result.tables[f"{title}, by layer"] = _table("layer", found.by_layer())
    result.tables[f"{title}, functions, cumulative"] = _table("function", found.by_function())
    before = _cpu_seconds(ours)
    if (load := run()) is None:
        # A few large files: the database has nearly nothing to do.
        return
    result.tables[f"{title}, CPU time by process"] = [
        {"process": name, "us per request": f"{(after - before[name]) / load.requests * 1e6:,.0f}"}
        for name, after in _cpu_seconds(ours).items()
    ]
    steps = profile_database(ours.database, seconds, run)
    result.tables[f"{title}, PostgreSQL by step"] = _table("step", steps)


def _cpu_seconds(ours: Docvault) -> dict[str, float]:
    """Return the CPU time of each kind of process so far."""
    total = ours.server.cpu_seconds()
    inspecting = sum(Tree(child.pid).cpu_seconds() for child in ours.server.processes()[1:])
    return {
        "API process": total - inspecting,
        "children that inspect": inspecting,
        "PostgreSQL": ours.database.cpu_seconds(),
    }


@contextmanager
def _settings(setup: Setup, row: str) -> Iterator[Mapping[str, str]]:
    if row != "P7":
        yield p02_large_upload.RAISED_LIMIT
        return
    with seaweedfs(setup) as store:
        yield store_settings(setup, store)


def _table(kind: str, shares: list[tuple[str, float]]) -> list[dict[str, str]]:
    return [
        {kind: name, "% of the time it was busy": f"{share:.0%}"}
        for name, share in shares
        if share >= LEAST_SHARE
    ]


def _uploads(setup: Setup, ours: Docvault, seconds: float) -> Run:
    content = samples.pdf(p01_upload.SIZE_BYTES)
    uploads = p01_upload.own_uploads(ours, content, customers=20 if setup.quick else 500)
    return _many(ours, uploads, seconds)


def _large_upload(setup: Setup, ours: Docvault, seconds: float) -> Run:
    del seconds
    size = p02_large_upload.QUICK_SIZE_BYTES if setup.quick else p02_large_upload.SIZE_BYTES
    filename = p02_large_upload.FILENAME
    path = setup.store_folder("source") / filename
    write_file(path, samples.pdf_chunks(size))
    document, headers = p02_large_upload.large_document(ours, size)
    head = requests.multipart_head("PUT", document, size, headers, filename=filename)

    def run_upload() -> None:
        send(ours.port, head, path, requests.multipart_frame(filename))

    return run_upload


def _s3_uploads(setup: Setup, ours: Docvault, seconds: float) -> Run:
    path = setup.store_folder("source") / p07_s3_upload.FILENAME
    write_file(path, samples.pdf_chunks(p07_s3_upload.SIZE_BYTES))
    uploads = p07_s3_upload.through_docvault(ours, path)

    def run_uploads() -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            next(uploads)

    return run_uploads


def _downloads(setup: Setup, ours: Docvault, seconds: float) -> Run:
    del setup
    ids = p05_documents.fill(ours, samples.pdf(p04_download.SIZE_BYTES), customers=CUSTOMERS)
    path = f"/v1/customer/documents/{ours.types[0]}/content"
    all_requests = [requests.get(path, ours.customer_headers(customer_id)) for customer_id in ids]
    return _many(ours, itertools.cycle(all_requests), seconds)


def _lists(setup: Setup, ours: Docvault, seconds: float) -> Run:
    del setup
    ids = p05_documents.fill(ours, samples.pdf(p05_documents.SIZE_BYTES), customers=CUSTOMERS)
    path = "/v1/customer/documents"
    all_requests = [requests.get(path, ours.customer_headers(customer_id)) for customer_id in ids]
    return _many(ours, itertools.cycle(all_requests), seconds)


def _many(ours: Docvault, supply: Requests, seconds: float) -> Run:
    return lambda: closed_loop(ours.port, supply, seconds=seconds)
