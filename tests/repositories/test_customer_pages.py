"""Every plan returns the correct page of customers, and the correct `is_last`."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert

from docvault.db.tables import CustomerRow, DocumentTypeRow, ErasureRow, FactSetRow, new_id
from docvault.domain.customers import CustomerCursor, CustomerFilter, CustomerSort
from docvault.domain.gate import GateDecision
from docvault.repositories import customer_pages
from docvault.repositories.customer_pages import (
    SearchPlan,
    cursor_parameters,
    filter_parameters,
    page_statement,
    plans,
)
from docvault.repositories.unit_of_work import UnitOfWork

SEEDS = range(4)
CUSTOMERS, TYPES, REQUIRED = 90, 3, 0
QUESTIONS = 80
BEGINNING, EPOCH = datetime(2024, 1, 1, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)
TAGS = ("new", "shop", "it's", "")
NAMES = ("Jan", "jansen", "Ja", "Anna", "\U0010ffff", "Zoë", None, "Jan Jansen", "Anna de Jong-Ja",
         "O'Jan", "50% jan", "   ", "jan jan", "(Jan)", "王 jan")  # fmt: skip

SEARCHES = ("j", "Jan", "c-1", "nobody", "\U0010ffff", "jan j", "de jo", "O'J", "%", " ", "(", "王")


@dataclass(frozen=True)
class Person:
    """A customer as in lists; `held` are the numbers of types with a document."""

    external_id: str
    name: str | None
    email: str | None
    created_at: datetime
    documents_changed_at: datetime
    last_uploaded_at: datetime | None
    tags: tuple[str, ...]
    held: frozenset[int]
    is_erased: bool

    def place(self, sort: CustomerSort) -> tuple[str, str]:
        """Return the sort value and the id."""
        match sort.removeprefix("-"):
            case "name":
                return (self.name or "").lower(), self.external_id
            case "created_at":
                return self.created_at.isoformat(), self.external_id
            case "last_uploaded_at":
                return (self.last_uploaded_at or EPOCH).isoformat(), self.external_id
        return self.documents_changed_at.isoformat(), self.external_id


@dataclass(frozen=True)
class PageRequest:
    """A requested page."""

    filter_: CustomerFilter
    sort: CustomerSort
    after: tuple[str, str] | None
    limit: int

    @property
    def place(self) -> CustomerCursor | None:
        """The cursor of the repository."""
        return None if self.after is None else CustomerCursor(*self.after)


@dataclass(frozen=True)
class Population:
    """Customers with every combination of some types, some of them created at the same time."""

    people: list[Person]
    type_ids: list[UUID]

    def response(self, question: PageRequest) -> list[str]:
        """Return the ids of a page in order."""
        shown = [person for person in self.people if self._is_shown(person, question.filter_)]
        places = sorted(
            (person.place(question.sort) for person in shown),
            reverse=question.sort.startswith("-"),
        )
        if question.after is not None:
            # It need not be the position of a listed customer.
            is_behind = (
                question.after.__gt__ if question.sort.startswith("-") else question.after.__lt__
            )
            places = [place for place in places if is_behind(place)]
        return [external_id for _, external_id in places[: question.limit]]

    def _is_shown(self, person: Person, filter_: CustomerFilter) -> bool:
        has = {id_: number in person.held for number, id_ in enumerate(self.type_ids)}
        is_open = not filter_.gate_enforced or REQUIRED in person.held
        texts = [person.external_id, person.email or "", *tails(person.name or "")]
        begin = (filter_.search or "").lower()
        return (
            not person.is_erased
            and filter_.has_documents in {None, bool(person.held)}
            and all(has[id_] for id_ in filter_.uploaded)
            and not any(has[id_] for id_ in filter_.not_uploaded)
            and (filter_.gate is None or (filter_.gate is GateDecision.OPEN) is is_open)
            and set(filter_.tags) <= set(person.tags)
            and any(text.lower().startswith(begin) for text in texts)
        )


def tails(name: str) -> list[str]:
    """Return the name and what begins at each of its words."""
    separates = [c.isascii() and not c.isalnum() for c in name]
    starts = [n for n in range(1, len(name)) if separates[n - 1] and not separates[n]]
    return [name, *(name[start:] for start in starts)]


async def populate(uow: UnitOfWork, rng: random.Random) -> Population:
    session = uow._connection.orm
    types = [
        {
            "id": new_id(),
            "key": f"t-{number}",
            "name": f"T {number}",
            "folded_name": f"t {number}",
            "upload_mode": "required" if number == REQUIRED else "optional",
            "collects_fields": False,
            "max_files": 1,
            "position": number,
        }
        for number in range(TYPES)
    ]
    numbers = [
        await session.scalar(insert(DocumentTypeRow).values(row).returning(DocumentTypeRow.number))
        for row in types
    ]
    fact_sets: dict[frozenset[int], int] = {frozenset(): 0}
    for held in (frozenset(c) for n in range(1, TYPES + 1) for c in combinations(range(TYPES), n)):
        row = insert(FactSetRow).values(numbers=[numbers[number] for number in sorted(held)])
        fact_sets[held] = (await session.scalars(row.returning(FactSetRow.id))).one()
    erasure_id = new_id()
    await session.execute(
        insert(ErasureRow).values(
            id=erasure_id,
            customer_pseudonym="p",
            customer_id=new_id(),
            documents=0,
            versions=0,
            blobs=0,
        )
    )
    people = [random_person(rng, number, list(fact_sets)) for number in range(CUSTOMERS)]
    await session.execute(
        insert(CustomerRow),
        [
            {
                "id": new_id(),
                "external_id": person.external_id,
                "name": person.name,
                "email": person.email,
                "tags": list(person.tags),
                "created_at": person.created_at,
                "documents_changed_at": person.documents_changed_at,
                "last_uploaded_at": person.last_uploaded_at,
                "fact_set_id": fact_sets[person.held],
                "erasure_id": erasure_id if person.is_erased else None,
            }
            for person in people
        ],
    )
    type_ids: list[Any] = [row["id"] for row in types]
    return Population(people, type_ids)


def random_person(rng: random.Random, number: int, fact_sets: list[frozenset[int]]) -> Person:
    name, is_erased = rng.choice(NAMES), rng.random() < 0.1
    return Person(
        external_id=f"{rng.choice(('c', 'jan', 'C'))}-{number}",
        # An erasure deletes it in the transaction that begins it.
        name=None if is_erased else name,
        email=rng.choice((None, f"{name}{number}@example.org", "jan@example.org")),
        created_at=BEGINNING + timedelta(days=rng.randrange(30)),
        documents_changed_at=BEGINNING + timedelta(days=rng.randrange(30)),
        last_uploaded_at=rng.choice((None, BEGINNING + timedelta(days=rng.randrange(30)))),
        tags=tuple(rng.sample(TAGS, rng.choice((0, 1, 2)))),
        held=rng.choice(fact_sets),
        is_erased=is_erased,
    )


def random_request(rng: random.Random, population: Population) -> PageRequest:
    sort = rng.choice(list(CustomerSort))
    return PageRequest(
        CustomerFilter(
            has_documents=rng.choice((None, None, True, False)),
            uploaded=tuple(rng.sample(population.type_ids, rng.choice((0, 0, 1)))),
            not_uploaded=tuple(rng.sample(population.type_ids, rng.choice((0, 0, 1)))),
            gate=rng.choice((None, None, *GateDecision)),
            gate_enforced=rng.random() < 0.7,
            tags=tuple(rng.sample(TAGS, rng.choice((0, 0, 0, 1, 1, 2)))),
            search=rng.choice((None, None, None, *SEARCHES)),
        ),
        sort,
        # Including erased customers, because the last of a page may have been erased since.
        rng.choice((None, rng.choice(population.people).place(sort))),
        rng.choice((1, 5, CUSTOMERS)),
    )


async def ask(uow: UnitOfWork, plan: SearchPlan, question: PageRequest) -> tuple[list[str], bool]:
    """Return the customers that a plan finds, and whether the page is the last."""
    parameters = {
        **filter_parameters(question.filter_),
        **cursor_parameters(question.place, question.sort),
        "limit": question.limit,
        "reachable_id": None,
    }
    statement = page_statement(plan, question.filter_, question.sort)
    rows = await uow._connection.rows(statement, parameters)
    return [row.external_id for row in rows if row.customer_id], rows[0].is_last


@pytest.fixture
def few_scanned(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Limit the plans to a few customers, as if there were many."""
    for name, number in (
        ("SCANNED", 7),
        ("SCANNED_WITH_TAGS", 8),
        ("SCANNED_WITH_SEARCH", 9),
        ("MAX_CHECKED", 8),
        ("SCANNED_WITH_DOCUMENTS", 20),
        ("MAX_READ_OF_FACT_SETS", 10),
        ("MAX_FOUND", 15),
        ("MAX_FOUND_ROWS", 12),
        ("MAX_WORDS", 2),
    ):
        monkeypatch.setattr(customer_pages, name, number)
    customer_pages._page_statement.cache_clear()
    yield
    customer_pages._page_statement.cache_clear()


@pytest.mark.req("R-094")
class TestPlans:
    """page_statement()."""

    @pytest.mark.usefixtures("few_scanned")
    @pytest.mark.parametrize("seed", SEEDS)
    async def test_every_plan_returns_first_rows_and_completeness(
        self, uow: UnitOfWork, seed: int
    ) -> None:
        rng = random.Random(seed)
        population = await populate(uow, rng)
        outcomes: set[tuple[SearchPlan, bool]] = set()
        for question in (random_request(rng, population) for _ in range(QUESTIONS)):
            expected = population.response(question)
            for plan in plans(question.filter_, question.sort):
                found, is_last = await ask(uow, plan, question)
                assert found == expected[: len(found)], (plan, question)
                is_whole = is_last or len(found) == question.limit
                assert not is_whole or found == expected, (plan, question)
                outcomes.add((plan, is_whole))
            # Without filters, more customers are scanned than a page has.
            assert is_whole or plan is SearchPlan.SCAN_NEXT, (plan, question)
        assert {plan for plan, is_whole in outcomes if is_whole} == set(SearchPlan)
        given_up = {plan for plan, is_whole in outcomes if not is_whole}
        assert given_up >= {SearchPlan.SCAN_NEXT, SearchPlan.BY_FACT_SET, SearchPlan.FEW_FOUND}
        assert not given_up & {SearchPlan.BY_TAG, SearchPlan.ALL_FOUND}

    @pytest.mark.parametrize(
        ("plan", "filter_", "limit"),
        [
            (SearchPlan.BY_FACT_SET, CustomerFilter(has_documents=True, tags=("shop",)),
             "MAX_READ_OF_FACT_SETS"),
            (SearchPlan.BY_FACT_SET, CustomerFilter(has_documents=True, search="jan"),
             "MAX_READ_OF_FACT_SETS"),
            (SearchPlan.FEW_FOUND, CustomerFilter(search="jan"), "MAX_FOUND"),
            (SearchPlan.BY_WORD, CustomerFilter(search="jan"), "MAX_WORDS"),
            (SearchPlan.BY_WORD, CustomerFilter(search="jan"), "MAX_BEGUN"),
        ],
    )  # fmt: skip
    async def test_plan_that_would_read_too_many_finds_nobody_and_says_so(
        self,
        uow: UnitOfWork,
        monkeypatch: pytest.MonkeyPatch,
        plan: SearchPlan,
        filter_: CustomerFilter,
        limit: str,
    ) -> None:
        population = await populate(uow, random.Random(0))
        question = PageRequest(filter_, CustomerSort.NAME, None, CUSTOMERS)
        assert await ask(uow, plan, question) == (population.response(question), True)
        monkeypatch.setattr(customer_pages, limit, 1)
        customer_pages._page_statement.cache_clear()
        assert await ask(uow, plan, question) == ([], False)
        customer_pages._page_statement.cache_clear()
