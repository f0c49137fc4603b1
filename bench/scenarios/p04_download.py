"""P4: many concurrent small downloads, each authorised and audited."""

import itertools

from bench import requests, samples
from bench.load import count_loop
from bench.measure import Contestant, Result, interleave, under_load
from bench.peers.directus import directus
from bench.peers.docvault import docvault
from bench.peers.nginx import nginx
from bench.peers.plain_fastapi import plain_fastapi
from bench.peers.pocketbase import pocketbase
from bench.samples import KIBIBYTE
from bench.setup import Setup

TITLE = "100 KiB download, authenticated and audited, 16 connections"
TARGET = "at least 8 times Directus, 0.4 times PocketBase"
SIZE_BYTES = 100 * KIBIBYTE
FILENAME = "contract.pdf"
CUSTOMERS, POCKETBASE_USERS = 100, 20


def measure(setup: Setup) -> Result:
    """Download from docvault and its peers in turn."""
    result = Result("P4", TITLE, TARGET, "per_second")
    content = samples.pdf(SIZE_BYTES)
    with docvault(setup) as ours, result.peers() as peers:
        (key,) = ours.add_types(1)
        headers = [
            ours.customer_headers(customer_id) for customer_id in ours.add_customers(CUSTOMERS)
        ]
        document = f"/v1/customer/documents/{key}"
        uploads = [
            requests.multipart("PUT", document, content, one, filename=FILENAME) for one in headers
        ]
        count_loop(ours.port, iter(uploads), connections=4)
        ours.worker.pause()
        downloads = itertools.cycle([requests.get(f"{document}/content", one) for one in headers])
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
        if base := peers.start("pocketbase", pocketbase(setup)):
            users = [base.add_user() for _ in range(POCKETBASE_USERS)]
            downloads = itertools.cycle(
                [
                    requests.get(f"{path}?token={base.file_token(user)}")
                    for user in users
                    for path in [base.add_document(user, content) for _ in range(5)]
                ]
            )
            turn = under_load(setup, base.port, downloads, server=base.server)
            contestants.append(Contestant("pocketbase", turn))
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
    result.check_ratio("docvault", "pocketbase", "per_second", at_least=(0.4, 0.7))
    return result
