"""The statements behind the customer list; see decision 0025.

A filter by documents picks holdings. They are few, and customers are indexed by them in each
order, so what a page costs does not grow with the number of customers.
"""

from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any, Final

from sqlalchemy import TextClause, text

from docvault.repositories.verdicts import PICKED
from docvault.rules.customers import CustomerFilter, CustomerPlace, CustomerSort
from docvault.rules.gate import GateDecision

# So many customers are looked at in order before another way is taken. They hold a full page
# when the filter lets one in twenty through, and cost a millisecond.
NEARBY: Final = 500
# A filter that picks no more customers than these is followed rather than the search.
FEW: Final = 5000


class Way(Enum):
    """How the first customers behind a place are found."""

    # All of them.
    IN_ORDER = """
        SELECT {column} AS sort_value, external_id FROM customers WHERE {behind}
        ORDER BY {column} {direction}, external_id {direction} LIMIT :limit
    """
    # Those that match among the next few.
    NEARBY = """
        SELECT sort_value, external_id FROM (
            SELECT {column} AS sort_value, external_id, holding_id,
                lower_external_id, lower_name, lower_email
            FROM customers WHERE {behind}
            ORDER BY {column} {direction}, external_id {direction} LIMIT {nearby}
        ) AS customers
        WHERE {by_documents} AND {by_search}
        ORDER BY sort_value {direction}, external_id {direction} LIMIT :limit
    """
    # By the holdings the filter picks. The customers of a page have no more holdings than there
    # are customers on it: those whose own first customer comes first.
    BY_HOLDING = """
        SELECT sort_value, external_id FROM (
            SELECT picked.id FROM ({picked}) AS picked CROSS JOIN LATERAL (
                SELECT {column} AS sort_value, external_id FROM customers
                WHERE holding_id = picked.id AND {behind} AND {by_search}
                ORDER BY {column} {direction}, external_id {direction} LIMIT 1
            ) AS head
            ORDER BY head.sort_value {direction}, head.external_id {direction} LIMIT :limit
        ) AS holdings CROSS JOIN LATERAL (
            SELECT {column} AS sort_value, external_id FROM customers
            WHERE holding_id = holdings.id AND {behind} AND {by_search}
            ORDER BY {column} {direction}, external_id {direction} LIMIT :limit
        ) AS customers
        ORDER BY sort_value {direction}, external_id {direction} LIMIT :limit
    """
    # By all that the search finds.
    BY_SEARCH = """
        SELECT sort_value, external_id FROM (
            {found_by_external_id} UNION {found_by_name} UNION {found_by_email}
        ) AS customers
        ORDER BY sort_value {direction}, external_id {direction} LIMIT :limit
    """


# Where the search has another index than the order, `OFFSET 0` keeps the planner from reading
# customers in order until it has found enough.
_FOUND = """(
    SELECT sort_value, external_id FROM (
        SELECT {column} AS sort_value, external_id FROM customers
        WHERE {behind} AND {begins} AND {by_documents} {fence}
    ) AS customers
    ORDER BY sort_value {direction}, external_id {direction} LIMIT :limit
)"""
_PAGE = """
    SELECT id, customers.external_id, name, email, tags, erasure_id, tokens_valid_from,
        created_at, updated_at, sort_value
    FROM ({rows}) AS page JOIN customers ON customers.external_id = page.external_id
    WHERE CAST(:reachable_id AS uuid) IS NULL OR id = :reachable_id
    ORDER BY page.sort_value {direction}, page.external_id {direction}
"""
_BEHIND = "erasure_id IS NULL AND ({column}, external_id) {beyond} ({start}, :after_id)"
_COUNT = """
    SELECT count(*) FROM customers
    WHERE erasure_id IS NULL AND {by_documents} AND {by_search}
        AND (CAST(:reachable_id AS uuid) IS NULL OR id = :reachable_id)
"""
# How many customers a filter picks, whatever is searched, counted up to one more than a few.
_FEW = """
    SELECT count(*) FROM (
        SELECT FROM ({picked}) AS picked CROSS JOIN LATERAL (
            SELECT FROM customers WHERE holding_id = picked.id AND erasure_id IS NULL
            LIMIT {few} + 1
        ) AS customers
        LIMIT {few} + 1
    ) AS customers
"""
# A range instead of LIKE, and its ends in subqueries: both are there before the first row, and
# the plan is the same whether the planner sees the value or not. The end is longer than any text
# that is searched, and of the last character there is.
_BEGINS = """{} BETWEEN (SELECT lower(CAST(:search AS text)))
    AND (SELECT lower(:search) || repeat(chr(1114111), 1000))"""
# A look-up in a hash table. As a join it is planned from a guess of how many holdings there are.
_IS_PICKED = f"(holding_id IN ({PICKED})) IS TRUE"


@dataclass(frozen=True, slots=True)
class _Order:
    column: str
    type: str
    direction: str
    beyond: str
    # What comes before every sort value.
    start: str


_ORDERS = {
    CustomerSort.CREATED_AT: _Order("created_at", "timestamptz", "ASC", ">", "-infinity"),
    CustomerSort.CREATED_AT_DESC: _Order("created_at", "timestamptz", "DESC", "<", "infinity"),
    CustomerSort.NAME: _Order("lower_name", "text", "ASC", ">", ""),
    CustomerSort.NAME_DESC: _Order("lower_name", "text", "DESC", "<", "\U0010ffff" * 1000),
}


def page_statement(way: Way, filter_: CustomerFilter, sort: CustomerSort) -> TextClause:
    """Return the statement for the first customers found one way, with their sort values."""
    return _page_statement(way, sort, filter_.is_by_documents, filter_.search is not None)


def count_statement(filter_: CustomerFilter) -> TextClause:
    """Return the statement that counts the customers a filter lets through."""
    conditions = _conditions(filter_.is_by_documents, filter_.search is not None)
    return text(_COUNT.format(**conditions))


def few_statement() -> TextClause:
    """Return the statement that counts the customers a filter picks, up to `FEW` and one more."""
    return text(_FEW.format(picked=PICKED, few=FEW))


def filter_parameters(filter_: CustomerFilter) -> dict[str, Any]:
    """Return the parameters of a filter."""
    return {
        "has_documents": filter_.has_documents,
        "uploaded": list(filter_.uploaded),
        "not_uploaded": list(filter_.not_uploaded),
        "is_open": None if filter_.gate is None else filter_.gate is GateDecision.OPEN,
        "gate_enforced": filter_.gate_enforced,
        "search": filter_.search,
    }


def place_parameters(after: CustomerPlace | None, sort: CustomerSort) -> dict[str, Any]:
    """Return the parameters of the place a page starts at."""
    if after is None:
        return {"after_value": _ORDERS[sort].start, "after_id": ""}
    return {"after_value": after.value, "after_id": after.external_id}


@cache
def _page_statement(
    way: Way, sort: CustomerSort, is_by_documents: bool, is_searched: bool
) -> TextClause:
    order = _ORDERS[sort]
    parts = _conditions(is_by_documents, is_searched) | {
        "picked": PICKED,
        "nearby": NEARBY,
        "column": order.column,
        "direction": order.direction,
        "behind": _BEHIND.format(
            column=order.column,
            beyond=order.beyond,
            start=f"CAST(:after_value AS {order.type})",
        ),
    }
    for name in ("external_id", "name", "email"):
        column = f"lower_{name}"
        fence = "" if column == order.column else "OFFSET 0"
        parts[f"found_by_{name}"] = _FOUND.format(
            begins=_BEGINS.format(column), fence=fence, **parts
        )
    rows = way.value.format(**parts)
    return text(_PAGE.format(rows=rows, direction=order.direction))


def _conditions(is_by_documents: bool, is_searched: bool) -> dict[str, Any]:
    columns = ("lower_external_id", "lower_name", "lower_email")
    begins = " OR ".join(_BEGINS.format(column) for column in columns)
    return {
        "by_documents": _IS_PICKED if is_by_documents else "true",
        "by_search": f"({begins})" if is_searched else "true",
    }
