"""The statements behind the customer list; see decision 0025.

A filter by documents picks holdings. They are few, and customers are indexed by them in each
order, so what a page costs does not grow with the number of customers.
"""

from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from typing import Any, Final

from sqlalchemy import TextClause, text

from docvault.repositories.verdicts import PICKED
from docvault.rules.customers import CustomerFilter, CustomerPlace, CustomerSort
from docvault.rules.gate import GateDecision

# So many customers are looked at in order before another way is taken. They hold a full page
# when the filter lets one in twenty through, and cost a millisecond.
NEARBY: Final = 500
# The same for a search: what comes after, walking through all that it finds, costs far more.
NEARBY_SEARCHED: Final = 2000
# In so many holdings a search looks one after the other: a few milliseconds. There can be more
# (decision 0025), and then all that it finds is walked through.
SEARCHED_HOLDINGS: Final = 1000


class Way(Enum):
    """Where the customers of a page are looked for."""

    # Among the next in order.
    NEARBY = auto()
    # Among those of the holdings that the filter picks: the next ones, or all that a search finds.
    BY_HOLDING = auto()
    # Among all that the search finds.
    BY_SEARCH = auto()


_NEARBY = """
    SELECT {column} AS sort_value, external_id, holding_id {searched}
    FROM customers WHERE erasure_id IS NULL AND {is_behind}
    ORDER BY {column} {direction}, external_id {direction} LIMIT {looked_at}
"""
# The first customers have no more holdings than there are of them: the holdings whose own first
# customer comes first.
_BY_HOLDING = """
    SELECT sort_value, external_id FROM (
        SELECT picked.id FROM ({picked}) AS picked CROSS JOIN LATERAL (
            SELECT {column} AS sort_value, external_id FROM customers
            WHERE holding_id = picked.id AND erasure_id IS NULL AND {is_behind}
            ORDER BY {column} {direction}, external_id {direction} LIMIT 1
        ) AS head
        ORDER BY sort_value {direction}, external_id {direction} LIMIT {looked_at}
    ) AS holdings CROSS JOIN LATERAL (
        SELECT {column} AS sort_value, external_id FROM customers
        WHERE holding_id = holdings.id AND erasure_id IS NULL AND {is_behind}
        ORDER BY {column} {direction}, external_id {direction} LIMIT {looked_at}
    ) AS customers
    ORDER BY sort_value {direction}, external_id {direction} LIMIT {looked_at}
"""
_PICKED = f"picked AS MATERIALIZED ({PICKED} LIMIT {SEARCHED_HOLDINGS + 1}),"
_PICKED_ARE_FEW = f"(SELECT count(*) FROM picked) <= {SEARCHED_HOLDINGS}"  # noqa: S608 - made of constants
# One look into the index for each holding, whatever the planner thinks of it: hence `OFFSET 0`.
_BY_HOLDING_AND_SEARCH = f"""(
    SELECT sort_value, external_id FROM picked CROSS JOIN LATERAL (
        SELECT {{column}} AS sort_value, external_id FROM customers
        WHERE holding_id = picked.id AND erasure_id IS NULL AND {{begins}} AND {{is_behind}}
        OFFSET 0
    ) AS customers
    WHERE {_PICKED_ARE_FEW}
    ORDER BY sort_value {{direction}}, external_id {{direction}} LIMIT :limit
)"""  # noqa: S608 - made of constants
# What begins with the search is found first and sorted then: `OFFSET 0` keeps the planner from
# reading customers in order until enough of them match. Reading in the direction of the order
# meets early what sorts early, as far as the two go together.
_BY_SEARCH = """(
    SELECT {column} AS sort_value, external_id FROM (
        SELECT {column}, external_id, holding_id FROM customers
        WHERE erasure_id IS NULL AND {begins} ORDER BY {searched_column} {direction} OFFSET 0
    ) AS customers
    WHERE {is_behind} AND {by_documents}
    ORDER BY {column} {direction}, external_id {direction} LIMIT :limit
)"""
# A left join, for `is_last` is needed also when no candidate matches.
_PAGE = """
    WITH {picked} candidates AS MATERIALIZED ({candidates}),
    page AS (
        SELECT sort_value, external_id FROM candidates WHERE {conditions}
        ORDER BY sort_value {direction}, external_id {direction} LIMIT :limit
    )
    SELECT is_last, id, page.external_id, name, email, tags, erasure_id, tokens_valid_from,
        created_at, updated_at, sort_value
    FROM (SELECT {is_last} AS is_last) AS known
    LEFT JOIN (page JOIN customers ON customers.external_id = page.external_id)
        ON CAST(:reachable_id AS uuid) IS NULL OR id = :reachable_id
    ORDER BY sort_value {direction}, page.external_id {direction}
"""
_SAW_ALL = "(SELECT count(*) FROM candidates) < {looked_at}"
_COUNT = """
    SELECT count(*) FROM customers
    WHERE erasure_id IS NULL AND {conditions}
        AND (CAST(:reachable_id AS uuid) IS NULL OR id = :reachable_id)
"""
# A look-up in a hash table. As a join it is planned from a guess of how many holdings there are.
_BY_DOCUMENTS = f"(holding_id IN ({PICKED})) IS TRUE"
_SEARCHED = ("lower_external_id", "lower_name", "lower_email")
# A range instead of LIKE, and its ends in subqueries: both are there before the first row, and
# the plan is the same whether the planner sees the value or not. The end is longer than any text
# that is searched, and of the last character there is.
_BEGINS = """{} BETWEEN (SELECT lower(CAST(:search AS text)))
    AND (SELECT lower(:search) || repeat(chr(1114111), 1000))"""
_BY_ANY_SEARCHED = f"({' OR '.join(map(_BEGINS.format, _SEARCHED))})"


@dataclass(frozen=True, slots=True)
class _Order:
    column: str
    is_behind: str
    direction: str
    # The place before all customers.
    start: CustomerPlace


def _order(column: str, type_: str, sign: str, start: str) -> _Order:
    direction = "ASC" if sign == ">" else "DESC"
    is_behind = f"({column}, external_id) {sign} (CAST(:after_value AS {type_}), :after_id)"
    return _Order(column, is_behind, direction, CustomerPlace(start, ""))


_ORDERS = {
    CustomerSort.CREATED_AT: _order("created_at", "timestamptz", ">", "-infinity"),
    CustomerSort.CREATED_AT_DESC: _order("created_at", "timestamptz", "<", "infinity"),
    CustomerSort.NAME: _order("lower_name", "text", ">", ""),
    CustomerSort.NAME_DESC: _order("lower_name", "text", "<", "\U0010ffff" * 1000),
}

_BY_NAME = {CustomerSort.NAME, CustomerSort.NAME_DESC}


def ways(filter_: CustomerFilter, sort: CustomerSort, after: CustomerPlace | None) -> list[Way]:
    """Return where to look, one after the other until the page is whole."""
    # Whoever comes first by name has hardly the name that is searched for.
    starts_elsewhere = filter_.search is not None and sort in _BY_NAME and after is None
    found = [] if starts_elsewhere else [Way.NEARBY]
    if filter_.is_by_documents:
        found.append(Way.BY_HOLDING)
    if filter_.search is not None:
        found.append(Way.BY_SEARCH)
    return found


def page_statement(way: Way, filter_: CustomerFilter, sort: CustomerSort) -> TextClause:
    """Return the statement for the first customers found one way, with their sort values.

    `is_last` says that there are no others; without any customer there is a row of nulls.
    """
    return _page_statement(way, sort, filter_.is_by_documents, filter_.search is not None)


def count_statement(filter_: CustomerFilter) -> TextClause:
    """Return the statement that counts the customers a filter lets through."""
    conditions = _conditions(filter_.is_by_documents, filter_.search is not None)
    return text(_COUNT.format(conditions=conditions))


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
    place = _ORDERS[sort].start if after is None else after
    return {"after_value": place.value, "after_id": place.external_id}


@cache
def _page_statement(
    way: Way, sort: CustomerSort, is_by_documents: bool, is_searched: bool
) -> TextClause:
    order = _ORDERS[sort]
    looked_at, conditions, picked, is_last = ":limit", "true", "", _SAW_ALL
    parts = {
        "column": order.column,
        "direction": order.direction,
        "is_behind": order.is_behind,
        "picked": PICKED,
        "searched": "".join(f", {column}" for column in _SEARCHED) if is_searched else "",
        "by_documents": _BY_DOCUMENTS if is_by_documents else "true",
    }
    if way is Way.BY_SEARCH:
        candidates = _for_each_searched(_BY_SEARCH, parts)
    elif way is Way.NEARBY:
        looked_at = str(NEARBY_SEARCHED if is_searched else NEARBY)
        conditions = _conditions(is_by_documents, is_searched)
        candidates = _NEARBY.format(looked_at=looked_at, **parts)
    elif is_searched:
        picked, is_last = _PICKED, _PICKED_ARE_FEW
        candidates = _for_each_searched(_BY_HOLDING_AND_SEARCH, parts)
    else:
        candidates = _BY_HOLDING.format(looked_at=looked_at, **parts)
    return text(
        _PAGE.format(
            picked=picked,
            candidates=candidates,
            conditions=conditions,
            is_last=is_last.format(looked_at=looked_at),
            direction=order.direction,
        )
    )


def _for_each_searched(template: str, parts: dict[str, str]) -> str:
    return " UNION ".join(
        template.format(begins=_BEGINS.format(column), searched_column=column, **parts)
        for column in _SEARCHED
    )


def _conditions(is_by_documents: bool, is_searched: bool) -> str:
    by_documents = _BY_DOCUMENTS if is_by_documents else "true"
    return f"{by_documents} AND {_BY_ANY_SEARCHED if is_searched else 'true'}"
