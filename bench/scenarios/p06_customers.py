"""P6: the cost of a page of the customer list does not grow up to a million customers."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import psycopg

from bench.data import SHARES, Population
from bench.list_pages import (
    DEEP_PAGE,
    PAGE,
    QUICK_SIZES,
    SIZES,
    Parameters,
    Place,
    Query,
    add_page_checks,
    explain_pages,
    make_query,
    matching_all,
    run_query,
    start_place,
)
from bench.measure import Check, Plot, Result
from bench.setup import Setup
from bench.statements import logged

TITLE = "Customer list: every filter and pair of filters, first page and page 10,000"
TARGET = "p95 at most 50 ms each; at most twice as long as with 10,000 customers; no query per row"
PATH = "/v1/admin/customers"
SORTS = (
    *("-created_at", "name", "-name", "documents_changed_at", "-documents_changed_at"),
    *("last_uploaded_at", "-last_uploaded_at"),
)
# Filters that narrow each other when they are repeated.
REPEATABLE = {"uploaded", "not_uploaded", "tag"}


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter, and the customers that match it."""

    name: str
    value: str
    holds: Callable[[Population, int], bool]


def filters(types: Sequence[str]) -> list[Filter]:
    """Return every filter, each with a common and a rare value."""

    def has(number: int, *, wanted: bool) -> Callable[[Population, int], bool]:
        return lambda population, n: population.has(n, number) is wanted

    def has_tag(tag: str) -> Callable[[Population, int], bool]:
        return lambda population, n: tag in population.tags(n)

    def has_word(search: str) -> Callable[[Population, int], bool]:
        return lambda population, n: f" {search}" in f" {population.name(n).lower()}"

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
        *(Filter("tag", tag, has_tag(tag)) for tag in ("region-3", "wholesale", "vip")),
        # A first name and the beginning of a last name, a last name, and a whole name.
        *(Filter("q", search, has_word(search)) for search in ("jan", "bakker", "jan bakker")),
        Filter("q", "c-0000123", lambda _, n: n == 123),
    ]


def measure(setup: Setup) -> Result:
    """Send the same queries to services of several sizes."""
    result = Result("P6", TITLE, TARGET)
    sizes = QUICK_SIZES if setup.quick else SIZES
    with ExitStack() as stack:
        places = [start_place(stack, setup, size) for size in sizes]
        plans: list[str] = []
        rows = []
        queries = [_queries(place) for place in places]
        for same in zip(*queries, strict=True):
            for place, query in zip(places, same, strict=True):
                rows.append(run_query(place, query, setup, lambda item: item["id"]))
        for place, asked in zip(places, queries, strict=True):
            plans += explain_pages(place, asked, rows, "customers")
        statements = _statements_by_limit(places[-1])
    slowest = sorted(rows, key=lambda row: row["p95_ms"], reverse=True)
    result.tables["Queries, slowest first"] = slowest
    result.attachments["plans.txt"] = "\n\n".join(plans)
    _add_checks(result, rows, statements)
    return result


def _queries(place: Place) -> list[Query]:
    """Return the pages to request, in the same order for every size."""
    found = filters(place.ours.types)
    population = place.population
    flags = {f: bytes(f.holds(population, n) for n in range(len(population))) for f in found}
    queries: list[Query] = []
    for chosen in _combinations(found):
        matching = matching_all(len(population), [flags[f] for f in chosen])
        parameters = tuple((f.name, f.value) for f in chosen)
        queries += _pages(place, parameters, matching)
        if len(chosen) <= 1:
            queries += [
                make_query(
                    place, PATH, (*parameters, ("sort", sort)), "first", None, None, len(matching)
                )
                for sort in SORTS
            ]
    return [*queries, *_deep_by_name(place)]


def _combinations(found: Sequence[Filter]) -> Iterator[tuple[Filter, ...]]:
    """Yield no filter, each filter, and every valid pair."""
    yield ()
    for one in found:
        yield (one,)
    for one, other in combinations(found, 2):
        if one.name != other.name or one.name in REPEATABLE:
            yield (one, other)


def _pages(place: Place, parameters: Parameters, matching: list[int]) -> Iterator[Query]:
    """Yield the first page and page 10,000, or the last one of a shorter list."""
    population, count = place.population, len(matching)
    ids = [population.external_id(n) for n in matching[:PAGE]]
    yield make_query(place, PATH, parameters, "first", None, ids, count)
    before = min((DEEP_PAGE - 1) * PAGE, count - PAGE)
    if before <= 0:
        # The longest list, so that rows of both sizes can be compared.
        yield make_query(place, PATH, parameters, "deep", None, ids, count)
        return
    last = matching[before - 1]
    where = [population.created_at(last).isoformat(), population.external_id(last)]
    ids = [population.external_id(n) for n in matching[before : before + PAGE]]
    yield make_query(place, PATH, parameters, "deep", where, ids, count)


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
    yield make_query(
        place, PATH, (("sort", "name"),), "deep", list(where), None, len(place.population)
    )


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
    add_page_checks(result, rows, 50)
    per_row = statements[1] - statements[0]
    result.checks.append(
        Check("more statements for 100 customers than for 1", per_row, 0, "lower", 0, "")
    )
    sizes = sorted({row["customers"] for row in rows})
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
    large = [row["p95_ms"] for row in rows if row["customers"] == sizes[-1]]
    result.notes.append(
        f"{len(large)} pages at {sizes[-1]} customers: p95 over 50 ms for "
        f"{sum(time > 50 for time in large)}, over 20 ms for {sum(time > 20 for time in large)}, "
        f"median of the p95 {statistics.median(large):.1f} ms. Every first and deep page by "
        "creation time had the expected customers."
    )
    result.notes.append(f"A page takes {statements[1]} statements, BEGIN and COMMIT included.")
