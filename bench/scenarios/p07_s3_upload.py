"""P7: an upload to S3 costs little more than writing to the store directly."""

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.fixtures.seaweedfs import BUCKET

from bench import requests, samples
from bench.measure import Check, Contestant, Cost, Result, Sample, interleave
from bench.peers.docvault import Docvault, docvault
from bench.peers.seaweedfs import processes, seaweedfs, store_settings
from bench.processes import Tree
from bench.samples import MEBIBYTE
from bench.setup import Setup
from bench.transfer import send, write_file
from docvault.storage.s3 import PART_BYTES

TITLE = "25 MiB by multipart into S3, one at a time, against boto3's own upload_file"
TARGET = "at most 1.5 times a direct boto3 upload; memory grows by at most two parts"
SIZE_BYTES = 25 * MEBIBYTE
UPLOADS, QUICK_UPLOADS = 5, 1
FILENAME = "scan.pdf"


def measure(setup: Setup) -> Result:
    """Write the same file to the same store through docvault and directly."""
    result = Result("P7", TITLE, TARGET, "seconds")
    uploads = QUICK_UPLOADS if setup.quick else UPLOADS
    path = setup.store_folder("source") / FILENAME
    write_file(path, samples.pdf_chunks(SIZE_BYTES))
    with (
        seaweedfs(setup) as store,
        # One process: with more, each grows at a different time, and the sum is meaningless.
        docvault(setup, workers=1, settings=store_settings(setup, store)) as ours,
    ):
        ours.worker.pause()
        through = through_docvault(ours, path)
        past = _directly(store.client(), path)
        trees = {"server": ours.server, "store": processes(store)}
        contestants = [
            Contestant("docvault", _turn(lambda: next(through), uploads, **trees)),
            Contestant("boto3", _turn(lambda: next(past), uploads, store=trees["store"])),
        ]
        interleave(result, contestants, setup.rounds)
    result.check_ratio("docvault", "boto3", "seconds", at_most=(1.5, None))
    result.checks.append(
        Check(
            "memory growth of the server during the uploads",
            result.median("docvault", "server_growth_mib"),
            2 * PART_BYTES / MEBIBYTE,
            "lower",
            unit=" MiB",
        )
    )
    return result


def through_docvault(ours: Docvault, path: Path) -> Iterator[float]:
    """Yield the duration of one upload after another, each to a new document."""
    types, frame = ours.add_types(10), requests.multipart_frame(FILENAME)
    for _ in itertools.count():
        (customer_id,) = ours.add_customers(1)
        headers = ours.customer_headers(customer_id)
        for key in types:
            document = f"/v1/customer/documents/{key}"
            head = requests.multipart_head("PUT", document, SIZE_BYTES, headers, filename=FILENAME)
            yield send(ours.port, head, path, frame)


def _directly(client: Any, path: Path) -> Iterator[float]:
    """Yield the duration of one direct upload after another, with boto3's defaults."""
    for number in itertools.count():
        started = time.perf_counter()
        client.upload_file(str(path), BUCKET, f"direct/{number}.pdf")
        yield time.perf_counter() - started


def _turn(upload: Callable[[], float], uploads: int, **trees: Tree) -> Callable[[], Sample]:
    def turn() -> Sample:
        cost = Cost(**trees)
        seconds = sum(upload() for _ in range(uploads)) / uploads
        return {"seconds": seconds, **cost.figures(uploads)}

    return turn
