"""Pages of long lists: a service with many customers, and requests for pages, timed."""

import itertools
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import compress
from typing import Any
from urllib.parse import urlencode

import psycopg
from starlette.requests import Request

from bench import requests
from bench.data import REQUIRED, SHARES, WITH_FIELD, Population, populate
from bench.load import closed_loop
from bench.measure import Check, Result
from bench.peers.docvault import SECRET, Docvault, docvault, items
from bench.setup import Setup
from bench.statements import buffers, explain, logged
from docvault.api.http.pagination import Cursors
from docvault.auth.keyring import Keyring

PAGE, DEEP_PAGE = 25, 10_000
SIZES, QUICK_SIZES = (10_000, 100_000, 1_000_000), (500, 2_000)
REPEATS, QUICK_REPEATS = 20, 3
# The total time of one query, so that a slow one does not stop the bench.
QUERY_SECONDS = 3.0

Parameters = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Place:
    """A docvault with a given number of customers."""

    ours: Docvault
    population: Population


@dataclass(frozen=True, slots=True)
class Query:
    """A requested page, and the expected items if known."""

    parameters: Parameters
    page: str
    request: bytes
    target: str
    expected: list[str] | None
    matches: int


def start_place(stack: ExitStack, setup: Setup, customers: int) -> Place:
    """Run a docvault with ten types, an enforced gate and `customers` customers."""
    ours = stack.enter_context(docvault(setup, name=f"customers-{customers}"))
    for number in range(len(SHARES)):
        properties: dict[str, Any] = {}
        if number in REQUIRED:
            properties["upload_mode"] = "required"
        if number == WITH_FIELD:
            fields = [{"label": "Number", "required": True}]
            properties |= {"collects_fields": True, "fields": fields}
        ours.add_types(1, **properties)
    ours.enable_gate()
    ours.worker.pause()
    return Place(ours, populate(ours.database_url, customers))


def matching_all(size: int, flags: Sequence[bytes]) -> list[int]:
    """Return the places, among `size`, that are flagged by all filters."""
    if not flags:
        return list(range(size))
    both = int.from_bytes(flags[0])
    for other in flags[1:]:
        both &= int.from_bytes(other)
    return list(compress(range(size), both.to_bytes(size)))


def make_query(
    place: Place,
    path: str,
    parameters: Parameters,
    page: str,
    where: Sequence[str | int] | None,
    expected: list[str] | None,
    matches: int,
) -> Query:
    """Return the request for the page after a position."""
    asked = list(parameters)
    if where is not None:
        # As the service creates them: bound to this list with these filters.
        query_string = urlencode(asked).encode()
        scope = {"type": "http", "path": path, "query_string": query_string, "headers": []}
        cursors = Cursors.of(Request(scope), Keyring(SECRET.encode()))
        asked.append(("cursor", cursors.encode([*where])))
    target = f"{path}?{urlencode(asked)}"
    request = requests.get(target, place.ours.admin_headers())
    return Query(parameters, page, request, target, expected, matches)


def run_query(
    place: Place, query: Query, setup: Setup, identify: Callable[[dict[str, Any]], str]
) -> dict[str, Any]:
    """Check one response, then repeat the request on one connection."""
    with place.ours.client() as client:
        returned = [identify(item) for item in items(client.get(query.target))]
    if query.expected is not None and returned != query.expected:
        raise AssertionError(f"{query.parameters} returned {returned}, not {query.expected}")
    again = itertools.repeat(query.request, QUICK_REPEATS if setup.quick else REPEATS)
    load = closed_loop(place.ours.port, again, seconds=QUERY_SECONDS, connections=1)
    row = {
        "customers": len(place.population),
        "query": urlencode(query.parameters) or "all",
        "page": query.page,
        "matches": query.matches,
        "p50_ms": load.percentile(0.50) * 1e3,
        "p95_ms": load.percentile(0.95) * 1e3,
    }
    print(f"  {row['customers']:>9} {row['p95_ms']:8.1f} ms  {row['page']:5} {row['query']}")
    return row


def explain_pages(
    place: Place, queries: Sequence[Query], rows: Sequence[dict[str, Any]], table: str
) -> list[str]:
    """Return the plan of every page's statement; add the buffers it read to the rows."""
    plans = []
    mine = [row for row in rows if row["customers"] == len(place.population)]
    url = place.ours.database_url
    with (
        psycopg.connect(url, autocommit=True) as connection,
        logged(connection) as log,
        place.ours.client() as client,
    ):
        for query, row in zip(queries, mine, strict=True):
            log.new()
            client.get(query.target)
            pages = [s for s in log.new() if f"FROM {table}" in s.text and "ORDER BY" in s.text]
            shown = [explain(connection, statement) for statement in pages]
            row["buffers"] = sum(map(buffers, shown))
            title = f"== {row['customers']} customers, {row['page']} page: {row['query']}"
            plans.append("\n".join([title, *(s.text for s in pages), *shown]))
    return plans


def add_page_checks(result: Result, rows: Sequence[dict[str, Any]], at_most_ms: float) -> None:
    """Compare the slowest page with its target, and all pages with those of the shortest list."""
    sizes = sorted({row["customers"] for row in rows})
    small, large = (
        [row for row in rows if row["customers"] == size] for size in (sizes[0], sizes[-1])
    )
    slowest = max(large, key=lambda row: row["p95_ms"])
    result.checks.append(
        Check(
            f"p95 of the slowest query ({slowest['page']} page, {slowest['query']})",
            slowest["p95_ms"],
            at_most_ms,
            "lower",
            20,
            " ms",
        )
    )
    ratios = [
        (ours["p50_ms"] / theirs["p50_ms"], ours) for theirs, ours in zip(small, large, strict=True)
    ]
    ratio, worst = max(ratios, key=lambda pair: pair[0])
    what = f"p50 at {sizes[-1]} / at {sizes[0]} customers ({worst['page']} page, {worst['query']})"
    result.checks.append(Check(what, ratio, 2, "lower"))
