"""P1: many small uploads at once, with everything a document has to go through."""

import itertools
from collections.abc import Iterator

from bench import requests, samples
from bench.load import closed_loop
from bench.measure import Contestant, Result, Sample, interleave, load_sample, under_load
from bench.peers.directus import directus
from bench.peers.docvault import Docvault, docvault
from bench.peers.nginx import nginx
from bench.peers.plain_fastapi import plain_fastapi
from bench.peers.tus import tus
from bench.samples import KIBIBYTE
from bench.setup import Setup

TITLE = "100 KiB PDF by multipart, 16 connections, filesystem store"
TARGET = "at least 5 times Directus, 0.4 times @tus/server"
SIZE_BYTES = 100 * KIBIBYTE
FILENAME = "contract.pdf"


def measure(setup: Setup) -> Result:
    """Upload to docvault and to everyone else in turns."""
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
            # The same thousand names again and again, or the files would fill the memory.
            puts = [requests.raw("PUT", f"/{name}.pdf", content, {}) for name in range(1000)]
            turn = under_load(setup, web.port, itertools.cycle(puts), server=web.server)
            contestants.append(Contestant("nginx WebDAV", turn))
        interleave(result, contestants, setup.rounds)
    result.check_ratio("docvault", "directus", "per_second", at_least=(5, 10))
    result.check_ratio("docvault", "tus-server", "per_second", at_least=(0.4, 0.75))
    return result


def own_uploads(ours: Docvault, content: bytes, *, customers: int) -> Iterator[bytes]:
    """Return uploads by many customers, each for all ten types, over and over."""
    types = ours.add_types(10)
    ids = ours.add_customers(customers)
    headers = {customer_id: ours.customer_headers(customer_id) for customer_id in ids}
    # All customers before the next type, as customers do not come one after the other.
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
