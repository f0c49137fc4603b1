"""P4: many small downloads at once, each authorised and each in the audit trail."""

import itertools

from bench import requests, samples
from bench.load import count_loop
from bench.measure import Contestant, Result, interleave, under_load
from bench.peers.directus import directus
from bench.peers.docvault import docvault
from bench.peers.nginx import nginx
from bench.peers.plain_fastapi import plain_fastapi
from bench.samples import KIBIBYTE
from bench.setup import Setup

TITLE = "100 KiB download, authenticated and audited, 16 connections"
TARGET = "at least 8 times Directus"
SIZE_BYTES = 100 * KIBIBYTE
FILENAME = "contract.pdf"
CUSTOMERS = 100


def measure(setup: Setup) -> Result:
    """Download from docvault and from everyone else in turns."""
    result = Result("P4", TITLE, TARGET, "per_second")
    content = samples.pdf(SIZE_BYTES)
    with docvault(setup) as ours, result.peers() as peers:
        (key,) = ours.add_types(1)
        headers = [
            ours.customer_headers(customer_id) for customer_id in ours.add_customers(CUSTOMERS)
        ]
        slot = f"/v1/customer/documents/{key}"
        uploads = [
            requests.multipart("PUT", slot, content, one, filename=FILENAME) for one in headers
        ]
        count_loop(ours.port, iter(uploads), connections=4)
        ours.worker.pause()
        downloads = itertools.cycle([requests.get(f"{slot}/content", one) for one in headers])
        turn = under_load(setup, ours.port, downloads, server=ours.server, database=ours.database)
        contestants = [Contestant("docvault", turn)]
        if their := peers.start("directus", directus(setup)):
            files = [their.upload(content, FILENAME)["id"] for _ in range(CUSTOMERS)]
            downloads = itertools.cycle(
                [requests.get(f"/assets/{file}", their.headers) for file in files]
            )
            turn = under_load(
                setup, their.port, downloads, server=their.server, database=their.database
            )
            contestants.append(Contestant("directus", turn))
        if plain := peers.start("plain FastAPI", plain_fastapi(setup)):
            (plain.store / "file").write_bytes(content)
            downloads = itertools.cycle([requests.get("/files/file")])
            turn = under_load(setup, plain.port, downloads, server=plain.server)
            contestants.append(Contestant("plain FastAPI", turn))
        if web := peers.start("nginx", nginx(setup)):
            (web.store / "file").write_bytes(content)
            downloads = itertools.cycle([requests.get("/file")])
            turn = under_load(setup, web.port, downloads, server=web.server)
            contestants.append(Contestant("nginx", turn))
        interleave(result, contestants, setup.rounds)
    result.check_ratio("docvault", "directus", "per_second", at_least=(8, 15))
    return result
