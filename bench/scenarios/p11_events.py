"""P11: events are written and followed at a constant rate, and cost an upload next to nothing."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path

import psycopg

from bench import samples
from bench.load import closed_loop
from bench.measure import Check, Contestant, Cost, Result, Sample, interleave, load_sample
from bench.peers.docvault import Docvault, docvault
from bench.samples import KIBIBYTE
from bench.scenarios.p01_upload import own_uploads
from bench.setup import Setup

TITLE = "1,000 events/s and three followers; uploads of 100 KiB with and without events"
TARGET = (
    "1,000 events/s written and read by three followers without a gap; an upload costs at most 3 %"
    " more than without events"
)
FOLLOWED, WITH, WITHOUT = "three followers", "uploads", "uploads without events"
FOLLOWERS, WRITERS = 3, 8
# A little more than the target, which the writers would otherwise just miss.
PER_SECOND = 1_020
PAGE = 500
PATIENCE_SECONDS = 60
SIZE_BYTES = 100 * KIBIBYTE
WITHOUT_EVENTS = Path(__file__).parents[1] / "without_events"
ADD = """
    INSERT INTO events (id, type, data) VALUES (
        gen_random_uuid(), 'document_type.updated', '{"document_type": "type", "changed": ["name"]}'
    )
"""


def measure(setup: Setup) -> Result:
    """Let followers read what is written; upload to two services, one of which writes no events."""
    result = Result("P11", TITLE, TARGET, "per_second")
    content = samples.pdf(SIZE_BYTES)
    without = {"PYTHONPATH": str(WITHOUT_EVENTS)}
    with ExitStack() as stack:
        # A service of its own: what its many events leave to be done costs the others nothing.
        followed = stack.enter_context(docvault(setup, name="followed"))
        ours = stack.enter_context(docvault(setup))
        other = stack.enter_context(docvault(setup, name="without-events", settings=without))
        contestants = [Contestant(FOLLOWED, partial(_follow_turn, setup, followed))]
        followed.worker.pause()
        for name, place in ((WITH, ours), (WITHOUT, other)):
            uploads = own_uploads(place, content, customers=20 if setup.quick else 500)
            contestants.append(Contestant(name, partial(_upload_turn, setup, place, uploads)))
            place.worker.pause()
        interleave(result, contestants, setup.rounds)
        _require_events(ours, other)
    result.checks += [
        Check("events/s", result.median(FOLLOWED, "per_second"), 1_000, "higher", unit="/s"),
        Check("missed", result.median(FOLLOWED, "missed"), 0, "lower", unit=""),
        Check("repeated or turned", result.median(FOLLOWED, "turned"), 0, "lower", unit=""),
    ]
    for figure in ("server_cpu_us", "database_cpu_us"):
        result.check_ratio(WITH, WITHOUT, figure, at_most=(1.03, None))
    result.check_ratio(WITH, WITHOUT, "per_second", at_least=(0.97, None))
    result.notes.append(
        "Each event is written by a transaction of its own, directly in the database. Followers"
        f" read pages of {PAGE} and wait for the next. The lag is the time from an event to its"
        " arrival at a follower. Workers are paused while files are uploaded."
    )
    return result


@dataclass(slots=True)
class _Followed:
    """What a follower has read."""

    positions: list[int] = field(default_factory=list)
    lags_ms: list[float] = field(default_factory=list)
    ended: float = 0.0


def _follow_turn(setup: Setup, ours: Docvault) -> Sample:
    number = round(PER_SECOND * setup.seconds * 2) // WRITERS * WRITERS
    ours.worker.resume()
    cost = Cost(server=ours.server, database=ours.database, worker=ours.worker)
    with ours.client() as client:
        start = client.get("/v1/admin/events", params={"after": "latest"}).json()["next_after"]
    with ThreadPoolExecutor(WRITERS + FOLLOWERS) as pool:
        followed = [pool.submit(_follow, ours, start, number) for _ in range(FOLLOWERS)]
        began = time.perf_counter()
        written = [pool.submit(_write, ours, number // WRITERS) for _ in range(WRITERS)]
        ended = max(one.result() for one in written)
        found = [one.result() for one in followed]
    ours.worker.pause()
    lags = sorted(lag for one in found for lag in one.lags_ms)
    return {
        "per_second": number / (ended - began),
        "read_per_second": number / (max(one.ended for one in found) - began),
        "lag_p50_ms": lags[len(lags) // 2],
        "lag_p99_ms": lags[len(lags) * 99 // 100],
        "missed": float(sum(number - len(set(one.positions)) for one in found)),
        "turned": float(sum(_count_turned(one.positions) for one in found)),
        **cost.figures(number),
    }


def _write(ours: Docvault, number: int) -> float:
    """Write so many events at a constant rate; return when it was done."""
    with psycopg.connect(ours.database_url, autocommit=True) as connection:
        began = time.perf_counter()
        for written in range(number):
            due = began + written * WRITERS / PER_SECOND
            time.sleep(max(0.0, due - time.perf_counter()))
            connection.execute(ADD)
    return time.perf_counter()


def _follow(ours: Docvault, after: str, number: int) -> _Followed:
    """Read so many events, or what there is when patience ends."""
    found, deadline = _Followed(), time.perf_counter() + PATIENCE_SECONDS
    with ours.client() as client:
        while len(found.positions) < number and time.perf_counter() < deadline:
            query: dict[str, str | int] = {"after": after, "limit": PAGE, "wait": 5}
            page = client.get("/v1/admin/events", params=query).raise_for_status().json()
            now = datetime.now(UTC)
            for event in page["items"]:
                found.positions.append(event["position"])
                lag = now - datetime.fromisoformat(event["at"])
                found.lags_ms.append(lag.total_seconds() * 1e3)
            after = page["next_after"]
    found.ended = time.perf_counter()
    return found


def _count_turned(positions: list[int]) -> int:
    """Return how many positions do not follow the one before."""
    return sum(position != before + 1 for before, position in pairwise(positions))


def _upload_turn(setup: Setup, place: Docvault, uploads: Iterator[bytes]) -> Sample:
    return load_sample(
        lambda: closed_loop(place.port, uploads, seconds=setup.seconds),
        server=place.server,
        database=place.database,
    )


def _require_events(ours: Docvault, other: Docvault) -> None:
    """Check that only the one service has written events of its uploads."""
    found = []
    for place in (ours, other):
        with psycopg.connect(place.database_url) as connection:
            query = "SELECT EXISTS (SELECT FROM events WHERE type = 'document.uploaded')"
            row = connection.execute(query).fetchone()
            found.append(row is not None and row[0])
    if found != [True, False]:
        raise AssertionError(f"events of uploads: {found}")
