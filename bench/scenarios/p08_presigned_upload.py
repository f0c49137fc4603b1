"""P8: the service's cost of a presigned upload does not depend on its size."""

import dataclasses
import hashlib
import time
from collections.abc import Mapping
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from tests.fixtures.seaweedfs import BUCKET

from bench import requests, samples
from bench.measure import Check, Contestant, Plot, Result, Sample, interleave
from bench.peers.docvault import Docvault, docvault
from bench.peers.seaweedfs import seaweedfs, store_settings
from bench.processes import Tree
from bench.samples import MEBIBYTE
from bench.setup import Setup
from bench.transfer import send, write_file

TITLE = "Presigned upload, from creation to completion: CPU time of the service by size"
TARGET = "the service's CPU time does not grow with the size, up to 1 GiB"
# A PDF of up to 32 MiB is read completely on completion, of a larger one only both ends.
SIZES = tuple(mebibytes * MEBIBYTE for mebibytes in (1, 16, 64, 256, 1024))
QUICK_SIZES = tuple(mebibytes * MEBIBYTE for mebibytes in (1, 16, 64))
# Within the variation between two measurements of the same.
TOLERANCE = 1.25
UPLOADS, QUICK_UPLOADS = 3, 1
IDLE_SECONDS = 5.0
FILENAME = "film.pdf"


def measure(setup: Setup) -> Result:
    """Upload files of several sizes directly to the store; measure the service's cost."""
    result = Result("P8", TITLE, TARGET)
    sizes = QUICK_SIZES if setup.quick else SIZES
    uploads = QUICK_UPLOADS if setup.quick else UPLOADS
    limit = {"DOCVAULT_MAX_UPLOAD_BYTES": str(2 * sizes[-1])}
    files = {size: _file(setup, size) for size in sizes}
    # Not in memory: the store frees space long after a deletion, and would fill up.
    on_disk = dataclasses.replace(setup, store=setup.scratch)
    with (
        seaweedfs(on_disk) as store,
        docvault(setup, settings=limit | store_settings(setup, store)) as ours,
        httpx.Client(base_url=f"http://127.0.0.1:{ours.port}", timeout=60) as client,
    ):
        ours.worker.pause()
        sessions = _Sessions(ours, client, store.client(), 2 * sizes[-1])
        idle = _idle_share(ours.server)
        contestants = [
            Contestant(_name(size), partial(_turn, sessions, *files[size], uploads, idle))
            for size in sizes
        ]
        interleave(result, contestants, setup.rounds)
    series = {size: result.median(_name(size), "work_cpu_ms") for size in sizes}
    line = [(size / MEBIBYTE, spent) for size, spent in series.items()]
    result.plots.append(Plot("CPU time of the service", "MiB", "ms", {"docvault": line}))
    result.notes.append(
        f"What an idle server spends ({idle * 1e3:.1f} ms of CPU a second) is subtracted."
    )
    # The first size of which only both ends are read, and the largest.
    small, large = 64 * MEBIBYTE, sizes[-1]
    what = f"CPU time: {_name(large)} / {_name(small)}"
    result.checks.append(Check(what, series[large] / series[small], TOLERANCE, "lower"))
    most = max(series, key=lambda size: series[size])
    result.notes.append(
        f"A PDF of up to 32 MiB is read completely on completion: {_name(most)} cost the most, "
        f"{series[most]:.0f} ms, and {_name(large)} {series[large]:.0f} ms."
    )
    return result


def _name(size: int) -> str:
    return f"{size // MEBIBYTE} MiB"


def _file(setup: Setup, size: int) -> tuple[Path, str]:
    """Return a file of this size, and its SHA-256."""
    path = setup.store_folder("source") / f"{size}.pdf"
    write_file(path, samples.pdf_chunks(size))
    with path.open("rb") as file:
        return path, hashlib.file_digest(file, "sha256").hexdigest()


def _idle_share(server: Tree) -> float:
    before = server.cpu_seconds()
    time.sleep(IDLE_SECONDS)
    return (server.cpu_seconds() - before) / IDLE_SECONDS


class _Sessions:
    """Upload sessions, each for a new customer."""

    def __init__(self, ours: Docvault, client: httpx.Client, store: Any, limit_bytes: int) -> None:
        self.server = ours.server
        self._ours = ours
        self._client = client
        self._store = store
        (self._key,) = ours.add_types(1, max_size_bytes=limit_bytes)
        self._numbers = count()

    def run(self, path: Path, sha256: str) -> None:
        """Create an upload session, send the file to the store, complete it."""
        (customer_id,) = self._ours.add_customers(1)
        document = f"/v1/customer/documents/{self._key}/uploads"
        headers = self._ours.customer_headers(customer_id)
        declared = {
            "filename": FILENAME,
            "size_bytes": path.stat().st_size,
            "sha256": sha256,
        }
        session = _ok(self._client.post(document, json=declared, headers=headers))
        _put(session["url"], session["headers"], path)
        _ok(self._client.post(f"{document}/{session['id']}/complete", headers=headers))

    def forget(self) -> None:
        """Delete the bytes: they could fill the memory and are not read again."""
        pages = self._store.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=BUCKET, Prefix="docvault/"):
            for item in page.get("Contents", []):
                self._store.delete_object(Bucket=BUCKET, Key=item["Key"])


def _put(url: str, headers: Mapping[str, str], path: Path) -> None:
    where = urlsplit(url)
    rest = {name: value for name, value in headers.items() if name.lower() != "content-length"}
    assert where.port is not None
    target = f"{where.path}?{where.query}"
    head = requests.raw_head("PUT", target, path.stat().st_size, {**rest, "Host": where.netloc})
    send(where.port, head, path)


def _ok(response: httpx.Response) -> Any:
    if response.is_error:
        raise RuntimeError(f"refused: {response.text}")
    return response.json()


def _turn(sessions: _Sessions, path: Path, sha256: str, uploads: int, idle: float) -> Sample:
    started, before = time.monotonic(), sessions.server.cpu_seconds()
    for _ in range(uploads):
        sessions.run(path, sha256)
    seconds = time.monotonic() - started
    spent = sessions.server.cpu_seconds() - before
    sessions.forget()
    return {
        "seconds": seconds / uploads,
        "server_cpu_ms": spent / uploads * 1e3,
        "work_cpu_ms": (spent - idle * seconds) / uploads * 1e3,
    }
