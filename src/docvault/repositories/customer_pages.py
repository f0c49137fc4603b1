"""The statements of the customer list; see decision 0025.

A filter by documents selects fact sets. There are few, and customers are indexed by fact set and
sort order, so that the cost of a page does not grow with the number of customers.
"""

from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from typing import Any, Final

from docvault.db.prepared_statements import PreparedStatement
from docvault.domain.customers import CustomerCursor, CustomerFilter, CustomerSort
from docvault.domain.gate import GateDecision
from docvault.repositories.records import CustomerRecord
from docvault.repositories.sql import load_statement, read_sql

# How many customers SCAN_NEXT reads. They fill a page if the filter matches one in twenty, and
# take a millisecond.
SCANNED: Final = 500
# With a search, more: the other plans read every match of the search, which costs far more.
SCANNED_WITH_SEARCH: Final = 2000
# With tags, still more: the customers with a tag are not kept in any order.
SCANNED_WITH_TAGS: Final = 5000
# With tags and a filter by documents, the customers of the matching fact sets are read if there are
# at most this many. Otherwise all customers with the tags are read.
MAX_READ_OF_FACT_SETS: Final = 5000
# With a search, each fact set is searched if at most this many match, which takes a few
# milliseconds. Otherwise all matches of the search are read (decision 0025).
MAX_SEARCHED_FACT_SETS: Final = 1000


class SearchPlan(Enum):
    """Where the customers of a page are looked for; the files of `sql/candidates` say how."""

    SCAN_NEXT = auto()
    BY_FACT_SET = auto()
    BY_SEARCH = auto()
    BY_TAG = auto()


@dataclass
class ListedCustomer(CustomerRecord):
    """A customer of a page; or a row of nulls with `is_last` alone, for an empty page."""

    sort_value: object
    is_last: bool


@dataclass(slots=True)
class Count:
    """The number of matching customers."""

    number: int


_FEWER_THAN_LIMIT = "(SELECT count(*) FROM candidates) < {limit}"
_HAS_FEW_CANDIDATES = f"(SELECT count(*) FROM candidates) <= {MAX_READ_OF_FACT_SETS}"  # noqa: S608 - a constant
_HAS_FEW_SETS = f"(SELECT count(*) FROM matching) <= {MAX_SEARCHED_FACT_SETS}"  # noqa: S608 - a constant


@dataclass(frozen=True, slots=True)
class _Order:
    column: str
    is_after_cursor: str
    direction: str
    # The cursor before all customers.
    start: CustomerCursor


def _order(column: str, type_: str, sign: str, start: str) -> _Order:
    is_after = f"({column}, external_id) {sign} (%(after_value)s::{type_}, %(after_id)s::text)"
    return _Order(column, is_after, "ASC" if sign == ">" else "DESC", CustomerCursor(start, ""))


@dataclass(frozen=True, slots=True)
class _Shape:
    """What the statements of a filter depend on, beside its values."""

    is_by_documents: bool
    # The columns that a search looks into; none without a search.
    searched: tuple[str, ...]
    has_tags: bool

    @classmethod
    def of(cls, filter_: CustomerFilter) -> "_Shape":
        """Return the shape of a filter."""
        columns = ("lower_external_id", "lower_name", "lower_email")
        searched = () if filter_.search is None else columns[: 2 + filter_.searches_email]
        return cls(filter_.is_by_documents, searched, bool(filter_.tags))


_ORDERS = {
    CustomerSort.CREATED_AT: _order("created_at", "timestamptz", ">", "-infinity"),
    CustomerSort.CREATED_AT_DESC: _order("created_at", "timestamptz", "<", "infinity"),
    CustomerSort.NAME: _order("lower_name", "text", ">", ""),
    CustomerSort.NAME_DESC: _order("lower_name", "text", "<", "\U0010ffff" * 1000),
    CustomerSort.DOCUMENTS_CHANGED_AT: _order(
        "documents_changed_at", "timestamptz", ">", "-infinity"
    ),
    CustomerSort.DOCUMENTS_CHANGED_AT_DESC: _order(
        "documents_changed_at", "timestamptz", "<", "infinity"
    ),
}

_BY_NAME = {CustomerSort.NAME, CustomerSort.NAME_DESC}


def plans(
    filter_: CustomerFilter, sort: CustomerSort, after: CustomerCursor | None
) -> list[SearchPlan]:
    """Return the plans to try in turn until the page is full."""
    # On page one sorted by name the next rows are unlikely to match the search: skip the scan.
    is_scan_futile = filter_.search is not None and sort in _BY_NAME and after is None
    found = [] if is_scan_futile else [SearchPlan.SCAN_NEXT]
    if filter_.is_by_documents and not (filter_.tags and filter_.search is not None):
        found.append(SearchPlan.BY_FACT_SET)
    if filter_.tags:
        found.append(SearchPlan.BY_TAG)
    elif filter_.search is not None:
        found.append(SearchPlan.BY_SEARCH)
    return found


def page_statement(
    plan: SearchPlan, filter_: CustomerFilter, sort: CustomerSort
) -> PreparedStatement[ListedCustomer]:
    """Return the statement for the first customers that a plan finds.

    It returns at least one row: `is_last` says whether no customers follow.
    """
    return _page_statement(plan, sort, _Shape.of(filter_))


def count_statement(filter_: CustomerFilter) -> PreparedStatement[Count]:
    """Return the statement that counts the customers a filter matches."""
    return _count_statement(_Shape.of(filter_))


def filter_parameters(filter_: CustomerFilter) -> dict[str, Any]:
    """Return the parameters of a filter."""
    return {
        "has_documents": filter_.has_documents,
        "uploaded": list(filter_.uploaded),
        "not_uploaded": list(filter_.not_uploaded),
        "is_open": None if filter_.gate is None else filter_.gate is GateDecision.OPEN,
        "gate_enforced": filter_.gate_enforced,
        "search": filter_.search,
        "tags": list(filter_.tags),
    }


def cursor_parameters(after: CustomerCursor | None, sort: CustomerSort) -> dict[str, Any]:
    """Return the parameters of the cursor that a page starts after."""
    cursor = _ORDERS[sort].start if after is None else after
    return {"after_value": cursor.value, "after_id": cursor.external_id}


@cache
def _page_statement(
    plan: SearchPlan, sort: CustomerSort, shape: _Shape
) -> PreparedStatement[ListedCustomer]:
    order = _ORDERS[sort]
    parts = {
        "sort_column": order.column,
        "direction": order.direction,
        "is_after_cursor": order.is_after_cursor,
        **_condition_parts(shape),
        "is_last": _FEWER_THAN_LIMIT.format(limit="%(limit)s::integer"),
    }
    if plan is SearchPlan.SCAN_NEXT:
        parts |= _scan_parts(shape, parts)
    elif plan is SearchPlan.BY_SEARCH:
        parts["candidates"] = _read_for_each("by_search", shape.searched, parts)
    elif plan is SearchPlan.BY_TAG:
        is_tag_alone = not shape.is_by_documents and not shape.searched
        found_first = "" if is_tag_alone else "OFFSET 0"
        parts["candidates"] = read_sql("candidates/by_tag", **parts, found_first=found_first)
    elif shape.has_tags:
        parts |= _set_and_tag_parts(parts)
    elif shape.searched:
        parts |= _set_search_parts(shape.searched, parts)
    else:
        parts["candidates"] = read_sql("candidates/by_fact_set", **parts)
    return load_statement("list_customers", ListedCustomer, **_DEFAULTS | parts)


_DEFAULTS = {"before_candidates": "", "conditions": "true"}


def _scan_parts(shape: _Shape, parts: dict[str, str]) -> dict[str, str]:
    scanned = str(SCANNED_WITH_SEARCH if shape.searched else SCANNED)
    columns = shape.searched
    if shape.has_tags:
        scanned, columns = str(SCANNED_WITH_TAGS), (*columns, "tags")
    return {
        "candidates": read_sql(
            "candidates/scan_next",
            **parts,
            scanned=scanned,
            filtered_columns="".join(f", {column}" for column in columns),
        ),
        "conditions": " AND ".join(
            parts[name] for name in ("matches_documents", "matches_search", "matches_tags")
        ),
        "is_last": _FEWER_THAN_LIMIT.format(limit=scanned),
    }


def _set_and_tag_parts(parts: dict[str, str]) -> dict[str, str]:
    has_tags = f"(SELECT {parts['matches_tags']} FROM customers WHERE {_IS_CANDIDATE})"  # noqa: S608 - constants
    return {
        "candidates": read_sql(
            "candidates/by_fact_set_and_tag", **parts, max_read=str(MAX_READ_OF_FACT_SETS)
        ),
        "conditions": f"{_HAS_FEW_CANDIDATES} AND {has_tags}",
        "is_last": _HAS_FEW_CANDIDATES,
    }


_IS_CANDIDATE = "customers.external_id = candidates.external_id"


def _set_search_parts(searched: tuple[str, ...], parts: dict[str, str]) -> dict[str, str]:
    limit = MAX_SEARCHED_FACT_SETS + 1
    matching = read_sql("fragments/matching_fact_sets")
    return {
        "before_candidates": f"matching AS MATERIALIZED ({matching} LIMIT {limit}),",
        "candidates": _read_for_each(
            "by_fact_set_and_search", searched, parts | {"has_few_sets": _HAS_FEW_SETS}
        ),
        "is_last": _HAS_FEW_SETS,
    }


@cache
def _count_statement(shape: _Shape) -> PreparedStatement[Count]:
    return load_statement("count_matching_customers", Count, **_condition_parts(shape))


def _condition_parts(shape: _Shape) -> dict[str, str]:
    begins = " OR ".join(
        read_sql("fragments/begins_with_search", searched_column=column)
        for column in shape.searched
    )
    by_documents = shape.is_by_documents
    return {
        "matches_documents": read_sql("fragments/matches_documents") if by_documents else "true",
        "matches_search": f"({begins})" if shape.searched else "true",
        "matches_tags": "tags @> %(tags)s::text[]" if shape.has_tags else "true",
    }


def _read_for_each(name: str, searched: tuple[str, ...], parts: dict[str, str]) -> str:
    return " UNION ".join(
        read_sql(f"candidates/{name}", **parts, searched_column=column) for column in searched
    )
