"""P1: many concurrent small uploads, with the full processing of a document."""

import itertools
from collections.abc import Iterator

from bench import requests, samples
from bench.load import closed_loop
from bench.measure import Contestant, Result, Sample, interleave, load_sample, under_load
from bench.peers.directus import directus
from bench.peers.docvault import Docvault, docvault
from bench.peers.nginx import nginx
from bench.peers.plain_fastapi import plain_fastapi
from bench.peers.pocketbase import PocketBase, pocketbase
from bench.peers.tus import tus
from bench.samples import KIBIBYTE
from bench.setup import Setup

TITLE = "100 KiB PDF by multipart, 16 connections, filesystem store"
TARGET = "at least 5 times Directus, 0.5 times PocketBase, 0.4 times @tus/server"
LIMITED_BY = (
    "An upload is two statements and the flush of its file; most of its CPU is Python's, for the "
    "request, its checks and the statements, spread over many small pieces (see the profile)."
)
SIZE_BYTES = 100 * KIBIBYTE
FILENAME = "contract.pdf"
POCKETBASE_USERS = 20


def measure(setup: Setup) -> Result:
    """Upload to docvault and its peers in turn."""
    result = Result("P1", TITLE, TARGET, "per_second")
    content = samples.pdf(SIZE_BYTES)
    with docvault(setup) as ours, result.peers() as peers:
        uploads = own_uploads(ours, content, customers=20 if setup.quick else 500)
        contestants = [
            Contestant("docvault", lambda: _own_turn(setup, ours, uploads, worker=True)),
            Contestant(
                "docvault, worker paused", lambda: _own_turn(setup, ours, uploads, worker=False)
            ),
        ]
        ours.worker.pause()

        if their := peers.start("directus", directus(setup)):
            upload = requests.multipart("POST", "/files", content, their.headers, filename=FILENAME)
            turn = under_load(
                setup,
                their.port,
                itertools.repeat(upload),
                server=their.server,
                database=their.database,
            )
            contestants.append(Contestant("directus", turn))
        if base := peers.start("pocketbase", pocketbase(setup)):
            turn = under_load(
                setup,
                base.port,
                pocketbase_uploads(base, content),
                server=base.server,
            )
            contestants.append(Contestant("pocketbase", turn))
        if bare := peers.start("tus-server", tus(setup)):
            turn = under_load(
                setup,
                bare.port,
                itertools.repeat(bare.upload(content)),
                after=lambda: setup.empty_store("tus"),
                server=bare.server,
            )
            contestants.append(Contestant("tus-server", turn))
        if plain := peers.start("plain FastAPI", plain_fastapi(setup)):
            upload = requests.multipart("POST", "/files", content, {}, filename=FILENAME)
            turn = under_load(
                setup,
                plain.port,
                itertools.repeat(upload),
                after=lambda: setup.empty_store("plain-fastapi"),
                server=plain.server,
            )
            contestants.append(Contestant("plain FastAPI", turn))
        if web := peers.start("nginx WebDAV", nginx(setup)):
            # The same thousand names in rotation, otherwise the files would fill the memory.
            puts = [requests.raw("PUT", f"/{name}.pdf", content, {}) for name in range(1000)]
            turn = under_load(setup, web.port, itertools.cycle(puts), server=web.server)
            contestants.append(Contestant("nginx WebDAV", turn))
        interleave(result, contestants, setup.rounds)
    result.check_ratio("docvault", "directus", "per_second", at_least=(5, 10))
    result.check_ratio("docvault", "pocketbase", "per_second", at_least=(0.5, 1))
    result.check_ratio("docvault", "tus-server", "per_second", at_least=(0.4, 0.75))
    return result


def own_uploads(ours: Docvault, content: bytes, *, customers: int) -> Iterator[bytes]:
    """Return an endless sequence of uploads by many customers for all ten types."""
    types = ours.add_types(10)
    ids = ours.add_customers(customers)
    headers = {customer_id: ours.customer_headers(customer_id) for customer_id in ids}
    # All customers before the next type, because real uploads are not grouped by customer.
    return (
        requests.multipart(
            "PUT",
            f"/v1/customer/documents/{key}",
            content,
            headers[customer_id],
            filename=FILENAME,
        )
        for _ in itertools.count()
        for key in types
        for customer_id in ids
    )


def pocketbase_uploads(base: PocketBase, content: bytes) -> Iterator[bytes]:
    """Return an endless sequence of new documents of many users, of ten types."""
    types = [base.add_type({"key": f"document-{number}"}) for number in range(10)]
    # More would only delay the measurement: signing in costs a password hash.
    owners = [base.add_user() for _ in range(POCKETBASE_USERS)]
    return (
        requests.multipart(
            "POST",
            "/api/collections/documents/records",
            content,
            owner.headers,
            filename=FILENAME,
            values={"owner": owner.id, "type": type_id},
        )
        for _ in itertools.count()
        for type_id in types
        for owner in owners
    )


def _own_turn(setup: Setup, ours: Docvault, uploads: Iterator[bytes], *, worker: bool) -> Sample:
    if worker:
        ours.worker.resume()
    sample = load_sample(
        lambda: closed_loop(ours.port, uploads, seconds=setup.seconds),
        server=ours.server,
        database=ours.database,
        worker=ours.worker,
    )
    ours.worker.pause()
    return sample
