"""P12: one worker delivers events to a webhook, alone and beside receivers that do not respond."""

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import psycopg

from bench.measure import Check, Contestant, Cost, Result, Sample, interleave
from bench.peers.docvault import Docvault, docvault
from bench.processes import free_port, responses, running
from bench.setup import Setup

TITLE = "Deliveries of one worker to a local receiver, alone and beside ten dead ones"
TARGET = "at least 200 deliveries/s; dead receivers slow it down by at most 10 %"
EVENTS, QUICK_EVENTS = 2_000, 200
DEAD = 10
ALONE, BESIDE = "alone", f"beside {DEAD} dead receivers"
POLL_SECONDS = 0.02
SETTINGS = {"DOCVAULT_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8"}
ADD = """
    INSERT INTO events (id, type, data)
    SELECT gen_random_uuid(), 'document_type.updated',
        jsonb_build_object('document_type', 'type-' || number, 'changed', '[]'::jsonb)
    FROM generate_series(1, %s) AS number
"""
# Both look at a small index, so that asking costs the database little.
WAITS = """
    SELECT EXISTS (SELECT FROM events WHERE position IS NULL) OR EXISTS (
        SELECT FROM webhook_deliveries WHERE webhook_id = %s AND state = 'pending'
    )
"""


def measure(setup: Setup) -> Result:
    """Add events at once, and wait until all have been received."""
    result = Result("P12", TITLE, TARGET, "per_second")
    receiving = free_port()
    with ExitStack() as stack:
        ours = stack.enter_context(docvault(setup, workers=1, settings=SETTINGS))
        command = [sys.executable, "-m", "bench.receiver", str(receiving)]
        log = setup.folder("receiver") / "log"
        stack.enter_context(running(command, log, ready=responses(receiving)))
        silent = stack.enter_context(_silent_port())
        live = _add_webhook(ours, receiving)
        dead = [_add_webhook(ours, silent) for _ in range(DEAD)]
        contestants = [
            Contestant(ALONE, partial(_turn, setup, ours, live, dead, are_enabled=False)),
            Contestant(BESIDE, partial(_turn, setup, ours, live, dead, are_enabled=True)),
        ]
        interleave(result, contestants, setup.rounds)
    rate = result.median(ALONE, "per_second")
    result.checks.append(Check("deliveries/s", rate, 200, "higher", unit="/s"))
    result.check_ratio(BESIDE, ALONE, "per_second", at_least=(0.9, None))
    result.notes.append(
        "All events of a turn exist before the first is sent. Every message has a connection of its"
        " own, without TLS."
    )
    return result


def _turn(setup: Setup, ours: Docvault, live: str, dead: list[str], *, are_enabled: bool) -> Sample:
    events = QUICK_EVENTS if setup.quick else EVENTS
    with ours.client() as client:
        for webhook in dead:
            path = f"/v1/admin/webhooks/{webhook}"
            client.patch(path, json={"enabled": are_enabled}).raise_for_status()
    with psycopg.connect(ours.database_url, autocommit=True) as connection:
        cost = Cost(worker=ours.worker, database=ours.database)
        started = time.perf_counter()
        connection.execute(ADD, [events])
        while connection.execute(WAITS, [live]).fetchone() == (True,):
            time.sleep(POLL_SECONDS)
        seconds = time.perf_counter() - started
    return {"per_second": events / seconds, **cost.figures(events)}


def _add_webhook(ours: Docvault, port: int) -> str:
    body = {"name": "bench", "url": f"http://127.0.0.1:{port}/", "types": ["*"]}
    with ours.client() as client:
        response = client.post("/v1/admin/webhooks", json=body)
    webhook: str = response.raise_for_status().json()["id"]
    return webhook


@contextmanager
def _silent_port() -> Iterator[int]:
    """Accept connections and never respond."""
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
        yield listener.getsockname()[1]
