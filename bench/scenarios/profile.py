"""Where docvault spends its time: what a target that is not met is made of."""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from bench import requests, samples
from bench.load import Requests, closed_loop
from bench.measure import Result
from bench.peers.docvault import Docvault, docvault
from bench.peers.seaweedfs import seaweedfs, store_settings
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
TARGET = "none: shows what the figures above are made of"
SECONDS, QUICK_SECONDS = 10.0, 1.0
# About as long as one upload of a gibibyte.
LARGE_SECONDS = 2.0
# What is seen less often says nothing.
LEAST_SHARE = 0.02
NOTES = (
    (
        "**P1.** An upload is four statements, because each of them is a promise: who may, how "
        "often, that bytes are about to be written, that they are attached with their audit event. "
        "Two of them wait for a flush of the database's log, and between these a file and its "
        "folder are flushed. The statements are the largest single part of the time; the "
        "database's own CPU time stands in the table of P1, as that of the previews does. Directus "
        "flushes no file. tus-server has no database: its whole upload takes less CPU time than "
        "docvault's database."
    ),
    (
        "**P2.** One thread receives, finds the boundary and hands over; another hashes and "
        "writes. nginx does neither look for a boundary nor hash."
    ),
    (
        "**P4.** The guard, and two statements for authorisation and audit, are what a download "
        "costs more than with plain FastAPI, which asks nobody and is itself about as fast as the "
        "target."
    ),
    (
        "**P5.** One statement of ten rows, rows to facts, facts to models, models to JSON, and "
        "the credential. The bare handler makes the same JSON of the same rows without any model, "
        "framework or credential."
    ),
    (
        "**P6.** Where a search meets a filter, customers are looked at in order, up to a bound, "
        "and only then in the holdings that the filter picks (decision 0025): so a page costs what "
        "is found, not what there is. What grows are the last pages where very much is found, for "
        "in the holdings what comes before them is walked through too, and a search in the order "
        "of names, for it also finds by e-mail address. Both stay far below the limit of 50 ms. "
        "The plans are kept."
    ),
    (
        "**P7.** The file is received, hashed, checked and in the spool before the store is asked, "
        "so that nothing wrong gets there; its parts then go as those of boto3 do. What it takes "
        "longer is the time of receiving, and of looking for active content in the PDF. Two parts "
        "are in memory at once, which alone is what may be; what receives comes on top."
    ),
)
CUSTOMERS = 10

Load = Callable[[], object]


def measure(setup: Setup) -> Result:
    """Look at an API process under each load in turn."""
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
            # One process, so that it is the one that has the work.
            docvault(setup, name=row, workers=1, settings=settings) as ours,
        ):
            ours.worker.pause()
            load = make(setup, ours, duration + 1)
            # The first requests of a process take longer than all others.
            load()
            try:
                found = profile(ours.server.pid, duration, load)
            except Missing as error:
                result.missing[f"a profile of {row}"] = str(error)
                continue
        title = f"{row}, {scenario.TITLE}"
        result.tables[f"{title}, by layer"] = _table("layer", found.by_layer())
        result.tables[f"{title}, functions with all they call"] = _table(
            "function", found.by_function()
        )
    result.notes += NOTES
    return result


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


def _uploads(setup: Setup, ours: Docvault, seconds: float) -> Load:
    content = samples.pdf(p01_upload.SIZE_BYTES)
    uploads = p01_upload.own_uploads(ours, content, customers=20 if setup.quick else 500)
    return _many(ours, uploads, seconds)


def _large_upload(setup: Setup, ours: Docvault, seconds: float) -> Load:
    del seconds
    size = p02_large_upload.QUICK_SIZE_BYTES if setup.quick else p02_large_upload.SIZE_BYTES
    filename = p02_large_upload.FILENAME
    path = setup.store_folder("source") / filename
    write_file(path, samples.pdf_chunks(size))
    slot, headers = p02_large_upload.large_slot(ours, size)
    head = requests.multipart_head("PUT", slot, size, headers, filename=filename)
    return lambda: send(ours.port, head, path, requests.multipart_frame(filename))


def _s3_uploads(setup: Setup, ours: Docvault, seconds: float) -> Load:
    path = setup.store_folder("source") / p07_s3_upload.FILENAME
    write_file(path, samples.pdf_chunks(p07_s3_upload.SIZE_BYTES))
    uploads = p07_s3_upload.through_docvault(ours, path)

    def run() -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            next(uploads)

    return run


def _downloads(setup: Setup, ours: Docvault, seconds: float) -> Load:
    del setup
    ids = p05_documents.fill(ours, samples.pdf(p04_download.SIZE_BYTES), customers=CUSTOMERS)
    path = f"/v1/customer/documents/{ours.types[0]}/content"
    asked = [requests.get(path, ours.customer_headers(customer_id)) for customer_id in ids]
    return _many(ours, itertools.cycle(asked), seconds)


def _lists(setup: Setup, ours: Docvault, seconds: float) -> Load:
    del setup
    ids = p05_documents.fill(ours, samples.pdf(p05_documents.SIZE_BYTES), customers=CUSTOMERS)
    path = "/v1/customer/documents"
    asked = [requests.get(path, ours.customer_headers(customer_id)) for customer_id in ids]
    return _many(ours, itertools.cycle(asked), seconds)


def _many(ours: Docvault, supply: Requests, seconds: float) -> Load:
    return lambda: closed_loop(ours.port, supply, seconds=seconds)
