"""P3: a large download is served at nearly the speed of a web server."""

from functools import partial

from bench import requests, samples
from bench.measure import Contestant, Cost, Result, Sample, interleave
from bench.peers.directus import directus
from bench.peers.docvault import docvault
from bench.peers.nginx import nginx
from bench.peers.plain_fastapi import plain_fastapi
from bench.processes import Tree
from bench.scenarios.p02_large_upload import (
    FILENAME,
    QUICK_SIZE_BYTES,
    RAISED_LIMIT,
    SIZE_BYTES,
    large_document,
)
from bench.setup import Setup
from bench.transfer import receive, send, write_file

TITLE = "1 GiB download, one at a time"
TARGET = "at most 1.6 times nginx"


def measure(setup: Setup) -> Result:
    """Download the same file from each contestant in turn."""
    result = Result("P3", TITLE, TARGET, "seconds")
    size = QUICK_SIZE_BYTES if setup.quick else SIZE_BYTES
    path = setup.store_folder("source") / FILENAME
    write_file(path, samples.pdf_chunks(size))
    frame = requests.multipart_frame(FILENAME)
    with docvault(setup, settings=RAISED_LIMIT) as ours, result.peers() as peers:
        ours.worker.pause()
        document, headers = large_document(ours, size)
        head = requests.multipart_head("PUT", document, size, headers, filename=FILENAME)
        send(ours.port, head, path, frame)
        download = requests.get(f"{document}/content", headers)
        contestants = [_contestant("docvault", ours.port, download, size, ours.server)]
        if web := peers.start("nginx", nginx(setup)):
            (web.store / FILENAME).hardlink_to(path)
            download = requests.get(f"/{FILENAME}")
            contestants.append(_contestant("nginx", web.port, download, size, web.server))
        if plain := peers.start("plain FastAPI", plain_fastapi(setup)):
            (plain.store / FILENAME).hardlink_to(path)
            download = requests.get(f"/files/{FILENAME}")
            contestants.append(
                _contestant("plain FastAPI", plain.port, download, size, plain.server)
            )
        if their := peers.start("directus", directus(setup)):
            head = requests.multipart_head("POST", "/files", size, their.headers, filename=FILENAME)
            send(their.port, head, path, frame)
            (file,) = their.files()
            download = requests.get(f"/assets/{file}", their.headers)
            contestants.append(_contestant("directus", their.port, download, size, their.server))
        interleave(result, contestants, setup.rounds)
    result.check_ratio("docvault", "nginx", "seconds", at_most=(1.6, 1.2))
    return result


def _contestant(name: str, port: int, request: bytes, size_bytes: int, server: Tree) -> Contestant:
    return Contestant(name, partial(_turn, port, request, size_bytes, server))


def _turn(port: int, request: bytes, size_bytes: int, server: Tree) -> Sample:
    cost = Cost(server=server)
    return {"seconds": receive(port, request, size_bytes), **cost.figures(1)}
