"""P2: a large upload is streamed at nearly the speed of a web server."""

import time
from collections.abc import Callable
from pathlib import Path

from bench import requests, samples
from bench.measure import Check, Contestant, Cost, Result, Sample, interleave
from bench.peers.directus import directus
from bench.peers.docvault import Docvault, docvault, items
from bench.peers.nginx import nginx
from bench.peers.plain_fastapi import plain_fastapi
from bench.peers.tus import tus
from bench.processes import Tree
from bench.samples import MEBIBYTE
from bench.setup import Setup
from bench.transfer import send, write_file

TITLE = "1 GiB by multipart, one at a time, limit raised"
TARGET = "at most 1.3 times nginx WebDAV; memory grows by at most 16 MiB"
SIZE_BYTES, QUICK_SIZE_BYTES = 1024 * MEBIBYTE, 4 * MEBIBYTE
FILENAME = "film.pdf"
RAISED_LIMIT = {"DOCVAULT_MAX_UPLOAD_BYTES": str(2048 * MEBIBYTE)}
DELETE_SECONDS = 60


def measure(setup: Setup) -> Result:
    """Upload the same file to each contestant in turn; delete it after each turn."""
    result = Result("P2", TITLE, TARGET, "seconds")
    size = QUICK_SIZE_BYTES if setup.quick else SIZE_BYTES
    path = setup.store_folder("source") / FILENAME
    write_file(path, samples.pdf_chunks(size))
    with docvault(setup, settings=RAISED_LIMIT) as ours, result.peers() as peers:
        ours.worker.pause()
        document, headers = large_document(ours, size)
        head = requests.multipart_head("PUT", document, size, headers, filename=FILENAME)
        contestants = [
            _contestant(
                "docvault",
                lambda: send(ours.port, head, path, requests.multipart_frame(FILENAME)),
                lambda: delete_document(ours, document),
                server=ours.server,
            )
        ]
        if web := peers.start("nginx WebDAV", nginx(setup)):
            put = requests.raw_head("PUT", "/film.pdf", size, {})
            contestants.append(
                _contestant("nginx WebDAV", lambda: send(web.port, put, path), server=web.server)
            )
        if plain := peers.start("plain FastAPI", plain_fastapi(setup)):
            post = requests.multipart_head("POST", "/files", size, {}, filename=FILENAME)
            contestants.append(
                _contestant(
                    "plain FastAPI",
                    lambda: send(plain.port, post, path, requests.multipart_frame(FILENAME)),
                    lambda: setup.empty_store("plain-fastapi"),
                    server=plain.server,
                )
            )
        if bare := peers.start("tus-server", tus(setup)):
            create = bare.upload_head(size)
            contestants.append(
                _contestant(
                    "tus-server",
                    lambda: send(bare.port, create, path),
                    lambda: setup.empty_store("tus"),
                    server=bare.server,
                )
            )
        if their := peers.start("directus", directus(setup)):
            add = requests.multipart_head("POST", "/files", size, their.headers, filename=FILENAME)
            contestants.append(
                _contestant(
                    "directus",
                    lambda: send(their.port, add, path, requests.multipart_frame(FILENAME)),
                    their.delete_files,
                    server=their.server,
                )
            )
        interleave(result, contestants, setup.rounds)
    result.check_ratio("docvault", "nginx WebDAV", "seconds", at_most=(1.3, 1.15))
    growth = result.median("docvault", "server_growth_mib")
    result.checks.append(
        Check("memory growth of the server during the upload", growth, 16, "lower", None, " MiB")
    )
    return result


def large_document(ours: Docvault, size_bytes: int) -> tuple[str, dict[str, str]]:
    """Return the path of a missing document that accepts such a file, and a credential."""
    (key,) = ours.add_types(1, max_size_bytes=2 * size_bytes)
    (customer_id,) = ours.add_customers(1)
    return f"/v1/customer/documents/{key}", ours.customer_headers(customer_id)


def delete_document(ours: Docvault, document: str) -> None:
    """Delete the only customer's document; wait until the worker has deleted its bytes."""
    with ours.client() as client:
        (customer,) = items(client.get("/v1/admin/customers"))
        path = document.replace("/v1/customer/", f"/v1/admin/customers/{customer['id']}/")
        client.delete(path).raise_for_status()
    ours.worker.resume()
    deadline = time.monotonic() + DELETE_SECONDS
    while _stored_files(ours.store):
        if time.monotonic() > deadline:
            raise RuntimeError("the worker did not delete the bytes")
        time.sleep(0.1)
    ours.worker.pause()


def _stored_files(store: Path) -> list[Path]:
    return [path for path in store.rglob("*") if path.is_file() and ".spool" not in path.parts]


def _contestant(
    name: str, run: Callable[[], float], after: Callable[[], None] = lambda: None, **trees: Tree
) -> Contestant:
    def turn() -> Sample:
        cost = Cost(**trees)
        sample = {"seconds": run(), **cost.figures(1)}
        after()
        return sample

    return Contestant(name, turn)
