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
# With tags, more: the other plans read every customer with the tags.
SCANNED_WITH_TAGS: Final = 5000
# With a search, still more: all customers it finds may be many.
SCANNED_WITH_SEARCH: Final = 10_000
# With a filter by documents beside others: the index alone tells who has the documents. The other
# filters are checked for at most MAX_CHECKED of these.
SCANNED_WITH_DOCUMENTS: Final = 30_000
MAX_CHECKED: Final = 5000
# With tags or a search, the customers of the matching fact sets are read if there are at most this
# many.
MAX_READ_OF_FACT_SETS: Final = 5000
# The customers that a search finds are read if there are at most this many; if more, SCAN_NEXT
# probably fills a page. Orders that the index of a search does not have need the row of each.
MAX_FOUND: Final = 5000
MAX_FOUND_ROWS: Final = 3000
# How many words BY_WORD merges, which takes a few milliseconds.
MAX_WORDS: Final = 100
# BY_WORD reads every customer whose id or e-mail address begins with the search, in an index, if
# there are at most this many.
MAX_BEGUN: Final = 40_000


class SearchPlan(Enum):
    """Where the customers of a page are looked for; the files of `sql/candidates` say how."""

    SCAN_NEXT = auto()
    BY_FACT_SET = auto()
    BY_TAG = auto()
    FEW_FOUND = auto()
    BY_WORD = auto()
    ALL_FOUND = auto()


@dataclass
class ListedCustomer(CustomerRecord):
    """A customer of a page; or a row of nulls with `is_last` alone, for an empty page.

    `is_last` is false for a full page.
    """

    sort_value: object
    is_last: bool


@dataclass(slots=True)
class Count:
    """The number of matching customers."""

    number: int


_FEWER_THAN_LIMIT = "(SELECT count(*) FROM {rows}) < {limit}"


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
    # The columns whose beginning a search looks for, beside words of names; none without a search.
    searched: tuple[str, ...]
    has_tags: bool

    @classmethod
    def of(cls, filter_: CustomerFilter) -> "_Shape":
        """Return the shape of a filter."""
        columns = ("lower_external_id", "lower_email")
        searched = () if filter_.search is None else columns[: 1 + filter_.searches_email]
        return cls(filter_.is_by_documents, searched, bool(filter_.tags))


_LAST_UPLOADED_AT = "coalesce(last_uploaded_at, '1970-01-01 00:00:00+00')"
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
    CustomerSort.LAST_UPLOADED_AT: _order(_LAST_UPLOADED_AT, "timestamptz", ">", "-infinity"),
    CustomerSort.LAST_UPLOADED_AT_DESC: _order(_LAST_UPLOADED_AT, "timestamptz", "<", "infinity"),
}

_BY_NAME = {CustomerSort.NAME, CustomerSort.NAME_DESC}


def plans(filter_: CustomerFilter, sort: CustomerSort) -> list[SearchPlan]:
    """Return the plans to try in turn until the page is full."""
    if filter_.search is None:
        found = [SearchPlan.SCAN_NEXT]
        found += [SearchPlan.BY_FACT_SET] if filter_.is_by_documents else []
        return found + ([SearchPlan.BY_TAG] if filter_.tags else [])
    found = [SearchPlan.FEW_FOUND]
    found += [SearchPlan.BY_FACT_SET] if filter_.is_by_documents else []
    is_by_name = sort in _BY_NAME
    # The next customers in this order may all have other words than those of the search.
    if is_by_name and not filter_.tags:
        found.append(SearchPlan.BY_WORD)
    if not (is_by_name and filter_.tags):
        found.append(SearchPlan.SCAN_NEXT)
    return [*found, SearchPlan.BY_TAG if filter_.tags else SearchPlan.ALL_FOUND]


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
        "is_last": _FEWER_THAN_LIMIT.format(rows="candidates", limit="%(limit)s::integer"),
    }
    if plan is SearchPlan.SCAN_NEXT:
        parts |= _scan_parts(shape, parts)
    elif plan is SearchPlan.BY_WORD:
        parts |= _word_parts(shape, parts)
    elif plan is SearchPlan.BY_TAG:
        is_tag_alone = not shape.is_by_documents and not shape.searched
        found_first = "" if is_tag_alone else "OFFSET 0"
        parts["candidates"] = read_sql("candidates/by_tag", **parts, found_first=found_first)
    elif plan is not SearchPlan.BY_FACT_SET:
        parts |= _found_parts(shape, sort, parts, has_limit=plan is SearchPlan.FEW_FOUND)
    elif shape.has_tags or shape.searched:
        parts |= _few_parts(parts)
    else:
        parts["candidates"] = read_sql("candidates/by_fact_set", **parts)
    return load_statement("list_customers", ListedCustomer, **_DEFAULTS | parts)


_DEFAULTS = {"before_candidates": "", "conditions": "true"}


def _scan_parts(shape: _Shape, parts: dict[str, str]) -> dict[str, str]:
    columns = (*shape.searched, "lower_name") if shape.searched else ()
    columns += ("tags",) if shape.has_tags else ()
    if shape.is_by_documents and columns:
        scan = _scan_next(SCANNED_WITH_DOCUMENTS, (), parts)
        all_scanned = _FEWER_THAN_LIMIT.format(rows="scanned", limit=SCANNED_WITH_DOCUMENTS)
        all_checked = _FEWER_THAN_LIMIT.format(rows="candidates", limit=MAX_CHECKED)
        return {
            "before_candidates": f"scanned AS MATERIALIZED ({scan}),",
            "candidates": read_sql("candidates/scanned", **parts, max_checked=str(MAX_CHECKED)),
            "conditions": _candidate_matches("matches_search", "matches_tags", parts=parts),
            "is_last": f"{all_scanned} AND {all_checked}",
        }
    with_tags = SCANNED_WITH_TAGS if shape.has_tags else SCANNED
    limit = SCANNED_WITH_SEARCH if shape.searched else with_tags
    return {
        "candidates": _scan_next(limit, columns, parts),
        "conditions": " AND ".join(
            parts[name] for name in ("matches_documents", "matches_search", "matches_tags")
        ),
        "is_last": _FEWER_THAN_LIMIT.format(rows="candidates", limit=limit),
    }


def _scan_next(scanned: int, columns: tuple[str, ...], parts: dict[str, str]) -> str:
    return read_sql(
        "candidates/scan_next",
        **parts,
        scanned=str(scanned),
        filtered_columns="".join(f", {column}" for column in columns),
    )


def _few_parts(parts: dict[str, str]) -> dict[str, str]:
    has_few = f"(SELECT count(*) FROM candidates) <= {MAX_READ_OF_FACT_SETS}"  # noqa: S608 - a constant
    matches = _candidate_matches("matches_search", "matches_tags", parts=parts)
    return {
        "candidates": read_sql(
            "candidates/by_fact_set_and_filter", **parts, max_read=str(MAX_READ_OF_FACT_SETS)
        ),
        "conditions": f"{has_few} AND {matches}",
        "is_last": has_few,
    }


def _candidate_matches(*names: str, parts: dict[str, str]) -> str:
    """Whether filters match a candidate, of whom the rest is known."""
    matches = " AND ".join(parts[name] for name in names)
    return f"(SELECT {matches} FROM customers WHERE {_IS_CANDIDATE})"  # noqa: S608 - constants


_IS_CANDIDATE = "customers.external_id = candidates.external_id"


def _found_parts(
    shape: _Shape, sort: CustomerSort, parts: dict[str, str], *, has_limit: bool
) -> dict[str, str]:
    """Return the parts of a plan that reads all customers whom a search finds."""
    is_in_order = sort in _KEPT_WITH_WORDS
    limit = MAX_FOUND if is_in_order else MAX_FOUND_ROWS
    is_few = f"(SELECT count(*) FROM found) <= {limit}" if has_limit else "true"  # noqa: S608 - a constant
    found = {
        "before_candidates": read_sql(
            "fragments/found_customers",
            has_tail=_HAS_TAIL,
            found_by_beginning=_found_by_beginning(shape),
            at_most=f"LIMIT {limit} + 1" if has_limit else "",
        ),
        "is_last": is_few,
    }
    if not is_in_order:
        return found | {
            "candidates": read_sql("candidates/found_and_sorted", **parts, has_few_found=is_few)
        }
    is_alone = not shape.is_by_documents and not shape.has_tags
    matches = _candidate_matches("matches_documents", "matches_tags", parts=parts)
    return found | {
        "candidates": read_sql("candidates/found", **parts, has_few_found=is_few),
        "conditions": "true" if is_alone else matches,
    }


def _found_by_beginning(shape: _Shape, more_columns: str = "") -> str:
    return " UNION ALL ".join(
        read_sql(
            "fragments/found_by_beginning", begins_with_search=condition, more_columns=more_columns
        )
        for condition in _begins(shape)
    )


def _word_parts(shape: _Shape, parts: dict[str, str]) -> dict[str, str]:
    """Return the parts of a plan that merges words, each in the order of names."""
    few_words = f"(SELECT count(*) FROM some_words) <= {MAX_WORDS}"  # noqa: S608 - a constant
    few_begun = f"(SELECT count(*) FROM begun) <= {MAX_BEGUN}"  # noqa: S608 - a constant
    has_word = "customers.external_id = customer_words.external_id"
    matches = f"(SELECT {parts['matches_documents']} FROM customers WHERE {has_word})"  # noqa: S608 - constants
    parts = parts | {
        "has_few_words": f"{few_words} AND {few_begun}",
        "has_tail": _HAS_TAIL,
        "customer_matches": matches if shape.is_by_documents else "true",
    }
    names = ("by_word", "by_beginning")
    return {
        "before_candidates": read_sql(
            "fragments/merged_words",
            found_by_beginning=_found_by_beginning(shape, ", fact_set_id"),
            max_words=str(MAX_WORDS),
            max_begun=str(MAX_BEGUN),
        ),
        "candidates": " UNION ".join(read_sql(f"candidates/{name}", **parts) for name in names),
        "is_last": f"{parts['has_few_words']} AND {parts['is_last']}",
    }


# The orders of which `customer_words` has the value.
_KEPT_WITH_WORDS = {CustomerSort.CREATED_AT, CustomerSort.CREATED_AT_DESC, *_BY_NAME}


@cache
def _count_statement(shape: _Shape) -> PreparedStatement[Count]:
    return load_statement("count_matching_customers", Count, **_condition_parts(shape))


def _condition_parts(shape: _Shape) -> dict[str, str]:
    found = [*_begins(shape), read_sql("fragments/matches_words")] if shape.searched else ["true"]
    by_documents = shape.is_by_documents
    return {
        "matches_documents": read_sql("fragments/matches_documents") if by_documents else "true",
        "matches_search": f"({' OR '.join(found)})",
        "matches_tags": "tags @> %(tags)s::text[]" if shape.has_tags else "true",
    }


def _begins(shape: _Shape) -> list[str]:
    return [
        read_sql("fragments/begins_with_search", searched_column=column)
        for column in shape.searched
    ]


_HAS_TAIL = read_sql("fragments/begins_with_search", searched_column="tail")
