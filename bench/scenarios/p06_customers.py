"""P6: the cost of a page of the customer list does not grow up to a million customers."""

import itertools
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import combinations, compress
from typing import Any
from urllib.parse import urlencode

import psycopg
from starlette.requests import Request

from bench import requests
from bench.data import REQUIRED, SHARES, WITH_FIELD, Population, populate
from bench.load import closed_loop
from bench.measure import Check, Plot, Result
from bench.peers.docvault import SECRET, Docvault, docvault, items
from bench.setup import Setup
from bench.statements import buffers, explain, logged
from docvault.api.http.pagination import Cursors
from docvault.auth.keyring import Keyring

TITLE = "Customer list: every filter and pair of filters, first page and page 10,000"
TARGET = "p95 at most 50 ms each; at most twice as long as with 10,000 customers; no query per row"
PATH = "/v1/admin/customers"
PAGE, DEEP_PAGE = 25, 10_000
SIZES, QUICK_SIZES = (10_000, 100_000, 1_000_000), (500, 2_000)
REPEATS, QUICK_REPEATS = 20, 3
# The total time of one query, so that a slow one does not stop the bench.
QUERY_SECONDS = 3.0
SORTS = ("-created_at", "name", "-name")

Parameters = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter, and the customers that match it."""

    name: str
    value: str
    holds: Callable[[Population, int], bool]


@dataclass(frozen=True, slots=True)
class Query:
    """A requested page, and the expected ids if known."""

    parameters: Parameters
    page: str
    request: bytes
    target: str
    expected: list[str] | None
    matches: int


@dataclass(frozen=True, slots=True)
class Place:
    """A docvault with a given number of customers."""

    ours: Docvault
    population: Population


def filters(types: Sequence[str]) -> list[Filter]:
    """Return every filter, each with a common and a rare value."""

    def has(number: int, *, wanted: bool) -> Callable[[Population, int], bool]:
        return lambda population, n: population.has(n, number) is wanted

    nearly_all, many, half, hardly_any = 0, 1, 5, len(SHARES) - 1
    return [
        Filter("has_documents", "true", lambda population, n: bool(population.filled[n])),
        Filter("has_documents", "false", lambda population, n: not population.filled[n]),
        *(
            Filter("uploaded", types[number], has(number, wanted=True))
            for number in (nearly_all, half, hardly_any)
        ),
        *(
            Filter("not_uploaded", types[number], has(number, wanted=False))
            for number in (nearly_all, many, half, hardly_any)
        ),
        Filter("gate", "open", lambda population, n: population.is_open(n)),
        Filter("gate", "blocked", lambda population, n: not population.is_open(n)),
        Filter("q", "jan", lambda population, n: population.name(n).startswith("Jan ")),
        Filter("q", "c-0000123", lambda _, n: n == 123),
    ]


def measure(setup: Setup) -> Result:
    """Send the same queries to services of several sizes."""
    result = Result("P6", TITLE, TARGET)
    sizes = QUICK_SIZES if setup.quick else SIZES
    with ExitStack() as stack:
        places = [_start(stack, setup, size) for size in sizes]
        plans: list[str] = []
        rows = []
        queries = [_queries(place) for place in places]
        for same in zip(*queries, strict=True):
            for place, query in zip(places, same, strict=True):
                rows.append(_run_query(place, query, setup))
        for place, asked in zip(places, queries, strict=True):
            plans += _explain(place, asked, rows)
        statements = _statements_by_limit(places[-1])
    slowest = sorted(rows, key=lambda row: row["p95_ms"], reverse=True)
    result.tables["Queries, slowest first"] = slowest
    result.attachments["plans.txt"] = "\n\n".join(plans)
    _add_checks(result, rows, statements)
    return result


def _start(stack: ExitStack, setup: Setup, customers: int) -> Place:
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


def _queries(place: Place) -> list[Query]:
    """Return the pages to request, in the same order for every size."""
    found = filters(place.ours.types)
    population = place.population
    flags = {f: bytes(f.holds(population, n) for n in range(len(population))) for f in found}
    queries: list[Query] = []
    for chosen in _combinations(found):
        matching = _matching(population, [flags[f] for f in chosen])
        parameters = tuple((f.name, f.value) for f in chosen)
        queries += _pages(place, parameters, matching)
        if len(chosen) <= 1:
            queries += [
                _query(place, (*parameters, ("sort", sort)), "first", None, None, len(matching))
                for sort in SORTS
            ]
    return [*queries, *_deep_by_name(place)]


def _combinations(found: Sequence[Filter]) -> Iterator[tuple[Filter, ...]]:
    """Yield no filter, each filter, and every valid pair."""
    yield ()
    for one in found:
        yield (one,)
    for one, other in combinations(found, 2):
        if one.name != other.name or one.name in {"uploaded", "not_uploaded"}:
            yield (one, other)


def _matching(population: Population, flags: Sequence[bytes]) -> list[int]:
    """Return the numbers of the customers that match all filters."""
    size = len(population)
    if not flags:
        return list(range(size))
    both = int.from_bytes(flags[0])
    for other in flags[1:]:
        both &= int.from_bytes(other)
    return list(compress(range(size), both.to_bytes(size)))


def _pages(place: Place, parameters: Parameters, matching: list[int]) -> Iterator[Query]:
    """Yield the first page and page 10,000, or the last one of a shorter list."""
    population, count = place.population, len(matching)
    ids = [population.external_id(n) for n in matching[:PAGE]]
    yield _query(place, parameters, "first", None, ids, count)
    before = min((DEEP_PAGE - 1) * PAGE, count - PAGE)
    if before <= 0:
        # The longest list, so that rows of both sizes can be compared.
        yield _query(place, parameters, "deep", None, ids, count)
        return
    last = matching[before - 1]
    where = [population.created_at(last).isoformat(), population.external_id(last)]
    ids = [population.external_id(n) for n in matching[before : before + PAGE]]
    yield _query(place, parameters, "deep", where, ids, count)


def _deep_by_name(place: Place) -> Iterator[Query]:
    """Yield page 10,000 of all customers by name, or the last one."""
    before = min((DEEP_PAGE - 1) * PAGE, len(place.population) - PAGE)
    by_name = """
        SELECT lower(coalesce(name, '')), external_id FROM customers
        ORDER BY lower(coalesce(name, '')), external_id OFFSET %s LIMIT 1
    """
    with psycopg.connect(place.ours.database_url) as connection:
        where = connection.execute(by_name, [before - 1]).fetchone()
    assert where is not None
    yield _query(place, (("sort", "name"),), "deep", list(where), None, len(place.population))


def _query(
    place: Place,
    parameters: Parameters,
    page: str,
    where: list[str] | None,
    expected: list[str] | None,
    matches: int,
) -> Query:
    asked = list(parameters)
    if where is not None:
        # As the service creates them: bound to this list with these filters.
        query_string = urlencode(asked).encode()
        scope = {"type": "http", "path": PATH, "query_string": query_string, "headers": []}
        cursors = Cursors.of(Request(scope), Keyring(SECRET.encode()))
        asked.append(("cursor", cursors.encode([*where])))
    target = f"{PATH}?{urlencode(asked)}"
    request = requests.get(target, place.ours.admin_headers())
    return Query(parameters, page, request, target, expected, matches)


def _run_query(place: Place, query: Query, setup: Setup) -> dict[str, Any]:
    """Check one response, then repeat the request on one connection."""
    with place.ours.client() as client:
        returned = [item["id"] for item in items(client.get(query.target))]
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


def _explain(place: Place, queries: Sequence[Query], rows: Sequence[dict[str, Any]]) -> list[str]:
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
            pages = [s for s in log.new() if "FROM customers" in s.text and "ORDER BY" in s.text]
            shown = [explain(connection, statement) for statement in pages]
            row["buffers"] = sum(map(buffers, shown))
            title = f"== {row['customers']} customers, {row['page']} page: {row['query']}"
            plans.append("\n".join([title, *(s.text for s in pages), *shown]))
    return plans


def _statements_by_limit(place: Place) -> list[int]:
    """Return the number of statements for a page of one and of a hundred customers."""
    with (
        psycopg.connect(place.ours.database_url, autocommit=True) as connection,
        logged(connection) as log,
        place.ours.client() as client,
    ):
        counts = []
        for limit in (1, 100):
            client.get(PATH, params={"limit": limit})
            log.new()
            client.get(PATH, params={"limit": limit})
            counts.append(len(log.new()))
    return counts


def _add_checks(result: Result, rows: Sequence[dict[str, Any]], statements: Sequence[int]) -> None:
    sizes = sorted({row["customers"] for row in rows})
    small, large = (
        [row for row in rows if row["customers"] == size] for size in (sizes[0], sizes[-1])
    )
    slowest = max(large, key=lambda row: row["p95_ms"])
    result.checks.append(
        Check(
            f"p95 of the slowest query ({slowest['page']} page, {slowest['query']})",
            slowest["p95_ms"],
            50,
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
    per_row = statements[1] - statements[0]
    result.checks.append(
        Check("more statements for 100 customers than for 1", per_row, 0, "lower", 0, "")
    )
    by_size = {size: [row["p95_ms"] for row in rows if row["customers"] == size] for size in sizes}
    result.plots.append(
        Plot(
            "Customer list: p95 of all filters and pages",
            "customers",
            "ms",
            {
                "slowest": [(size, max(times)) for size, times in by_size.items()],
                "middle": [(size, statistics.median(times)) for size, times in by_size.items()],
            },
            logarithmic=True,
        )
    )
    late = sum(row["p95_ms"] > 50 for row in large)
    middle = statistics.median(row["p95_ms"] for row in large)
    result.notes.append(
        f"{len(large)} pages at {sizes[-1]} customers: p95 over 50 ms for {late}, median of the "
        f"p95 {middle:.1f} ms; {sum(ratio > 2 for ratio, _ in ratios)} take more than twice as "
        f"long as at {sizes[0]}. Every first and deep page by creation time had the "
        "expected customers."
    )
    result.notes.append(f"A page takes {statements[1]} statements, BEGIN and COMMIT included.")
