"""P14: the cost of a page of the documents of all customers does not grow to six million."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations

from bench.data import SHARES, WITH_FIELD, Population
from bench.list_pages import (
    DEEP_PAGE,
    PAGE,
    QUICK_SIZES,
    SIZES,
    Place,
    Query,
    add_page_checks,
    explain_pages,
    make_query,
    matching_all,
    run_query,
    start_place,
)
from bench.measure import Result
from bench.setup import Setup

TITLE = "Documents of all customers: every filter and pair of filters, first page and page 10,000"
TARGET = "p95 at most 20 ms each; at most twice as long as with 10,000 customers"
PATH = "/v1/admin/documents"
# Most customers were created before this.
RECENTLY = datetime(2025, 12, 1, tzinfo=UTC)

Holds = Callable[[int, int], bool]


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter, and whether the document of a customer of a type matches it."""

    name: str
    value: str
    holds: Holds


def measure(setup: Setup) -> Result:
    """Send the same queries to services of several sizes."""
    result = Result("P14", TITLE, TARGET)
    with ExitStack() as stack:
        sizes = QUICK_SIZES if setup.quick else SIZES
        places = [start_place(stack, setup, size) for size in sizes]
        queries = [list(_queries(place)) for place in places]
        rows = [
            run_query(
                place, query, setup, lambda item: f"{item['customer_id']} {item['type']['key']}"
            )
            for same in zip(*queries, strict=True)
            for place, query in zip(places, same, strict=True)
        ]
        plans: list[str] = []
        for place, asked in zip(places, queries, strict=True):
            plans += explain_pages(place, asked, rows, "documents")
    result.tables["Queries, slowest first"] = sorted(
        rows, key=lambda row: row["p95_ms"], reverse=True
    )
    result.attachments["plans.txt"] = "\n\n".join(plans)
    add_page_checks(result, rows, 20)
    large = [row["p95_ms"] for row in rows if row["customers"] == sizes[-1]]
    result.notes.append(
        f"{len(large)} pages of {max(row['matches'] for row in rows)} documents, median of the p95 "
        f"{statistics.median(large):.1f} ms. Every page had the expected documents. States of a "
        "review and of validity do not exist yet."
    )
    return result


def _filters(population: Population, types: Sequence[str]) -> list[Filter]:
    """Return every filter, each with a common and a rare value."""

    def of_type(number: int) -> Filter:
        return Filter("document_type", types[number], lambda _, type_: type_ == number)

    def by(kind: str) -> Filter:
        return Filter("uploaded_by", kind, lambda n, type_: population.uploader(n, type_) == kind)

    one = len(population) // 3
    return [
        *(of_type(number) for number in (0, WITH_FIELD, len(SHARES) - 1)),
        Filter("status", "accepted", lambda n, type_: not population.lacks_value(n, type_)),
        Filter("status", "incomplete", population.lacks_value),
        *(by(kind) for kind in ("customer", "admin", "integration")),
        Filter(
            "uploaded_since",
            RECENTLY.isoformat().replace("+00:00", "Z"),
            lambda n, _: population.created_at(n) >= RECENTLY,
        ),
        Filter("customer", population.external_id(one), lambda n, _: n == one),
    ]


def _queries(place: Place) -> Iterator[Query]:
    """Yield the pages to request, in the same order for every size."""
    population, types = place.population, place.ours.types
    # Newest first: documents of one customer have one time and are ordered by their number.
    documents = [
        (n, type_)
        for n in reversed(range(len(population)))
        for type_ in reversed(range(len(types)))
        if population.has(n, type_)
    ]
    found = _filters(population, types)
    flags = {f: bytes(f.holds(n, type_) for n, type_ in documents) for f in found}
    chosen_ones: list[tuple[Filter, ...]] = [(), *((f,) for f in found)]
    chosen_ones += [pair for pair in combinations(found, 2) if pair[0].name != pair[1].name]
    for chosen in chosen_ones:
        matching = matching_all(len(documents), [flags[f] for f in chosen])
        parameters = tuple((f.name, f.value) for f in chosen)
        before = max(0, min((DEEP_PAGE - 1) * PAGE, len(matching) - PAGE))
        for page, first in (("first", 0), ("deep", before)):
            expected = [documents[place_] for place_ in matching[first : first + PAGE]]
            yield make_query(
                place,
                PATH,
                parameters,
                page,
                [population.version_id(*documents[matching[first - 1]])] if first else None,
                [f"{population.external_id(n)} {types[type_]}" for n, type_ in expected],
                len(matching),
            )
