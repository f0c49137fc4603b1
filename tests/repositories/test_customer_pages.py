"""Wherever a page of customers is looked for, what is found is right, and whether it is all."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import combinations
from uuid import UUID

import pytest
from sqlalchemy import insert

from docvault.models import Customer, DocumentType, Erasure, Holding, new_id
from docvault.repositories import customer_pages
from docvault.repositories.customer_pages import (
    SEARCHED_HOLDINGS,
    Way,
    filter_parameters,
    page_statement,
    place_parameters,
    ways,
)
from docvault.repositories.unit import Unit
from docvault.rules.customers import CustomerFilter, CustomerPlace, CustomerSort
from docvault.rules.gate import GateDecision

SEEDS = range(6)
CUSTOMERS, TYPES, REQUIRED = 90, 3, 0
QUESTIONS = 60
BEGINNING = datetime(2024, 1, 1, tzinfo=UTC)
NAMES = ("Jan", "jansen", "Ja", "Anna", "\U0010ffff", "Zoë", None)


@dataclass(frozen=True)
class Person:
    """A customer as lists see them; `held` are numbers of types."""

    external_id: str
    name: str | None
    email: str | None
    created_at: datetime
    held: frozenset[int]
    is_erased: bool

    def place(self, sort: CustomerSort) -> tuple[str, str]:
        """Return the sort value and the id."""
        by_name = sort in {CustomerSort.NAME, CustomerSort.NAME_DESC}
        value = (self.name or "").lower() if by_name else self.created_at.isoformat()
        return value, self.external_id


@dataclass(frozen=True)
class Question:
    """A page that is asked for."""

    filter_: CustomerFilter
    sort: CustomerSort
    after: tuple[str, str] | None
    limit: int

    @property
    def place(self) -> CustomerPlace | None:
        """The place in the terms of the repository."""
        return None if self.after is None else CustomerPlace(*self.after)


@dataclass(frozen=True)
class Population:
    """Customers with every combination of some types, some of them created at one moment."""

    people: list[Person]
    type_ids: list[UUID]

    def answer(self, question: Question) -> list[str]:
        """Return the ids of a page in order."""
        shown = [person for person in self.people if self._is_shown(person, question.filter_)]
        places = sorted(
            (person.place(question.sort) for person in shown),
            reverse=question.sort.startswith("-"),
        )
        if question.after is not None:
            # It need not be the place of anybody who is shown.
            is_behind = (
                question.after.__gt__ if question.sort.startswith("-") else question.after.__lt__
            )
            places = [place for place in places if is_behind(place)]
        return [external_id for _, external_id in places[: question.limit]]

    def _is_shown(self, person: Person, filter_: CustomerFilter) -> bool:
        has = {id_: number in person.held for number, id_ in enumerate(self.type_ids)}
        is_open = not filter_.gate_enforced or REQUIRED in person.held
        texts = [person.external_id, person.name or "", person.email or ""]
        begin = (filter_.search or "").lower()
        return (
            not person.is_erased
            and filter_.has_documents in {None, bool(person.held)}
            and all(has[id_] for id_ in filter_.uploaded)
            and not any(has[id_] for id_ in filter_.not_uploaded)
            and (filter_.gate is None or (filter_.gate is GateDecision.OPEN) is is_open)
            and any(text.lower().startswith(begin) for text in texts)
        )


async def populate(unit: Unit, rng: random.Random) -> Population:
    session = unit._work.orm
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
        await session.scalar(insert(DocumentType).values(row).returning(DocumentType.number))
        for row in types
    ]
    holdings: dict[frozenset[int], int] = {frozenset(): 0}
    for held in (frozenset(c) for n in range(1, TYPES + 1) for c in combinations(range(TYPES), n)):
        row = insert(Holding).values(numbers=[numbers[number] for number in sorted(held)])
        holdings[held] = (await session.scalars(row.returning(Holding.id))).one()
    erasure_id = new_id()
    await session.execute(
        insert(Erasure).values(
            id=erasure_id,
            customer_pseudonym="p",
            customer_id=new_id(),
            documents=0,
            versions=0,
            blobs=0,
        )
    )
    people = [some_person(rng, number, list(holdings)) for number in range(CUSTOMERS)]
    await session.execute(
        insert(Customer),
        [
            {
                "id": new_id(),
                "external_id": person.external_id,
                "name": person.name,
                "email": person.email,
                "tags": [],
                "created_at": person.created_at,
                "holding_id": holdings[person.held],
                "erasure_id": erasure_id if person.is_erased else None,
            }
            for person in people
        ],
    )
    return Population(people, [row["id"] for row in types])


def some_person(rng: random.Random, number: int, holdings: list[frozenset[int]]) -> Person:
    name = rng.choice(NAMES)
    return Person(
        external_id=f"{rng.choice(('c', 'jan', 'C'))}-{number}",
        name=name,
        email=rng.choice((None, f"{name}{number}@example.org", "jan@example.org")),
        created_at=BEGINNING + timedelta(days=rng.randrange(30)),
        held=rng.choice(holdings),
        is_erased=rng.random() < 0.1,
    )


def some_question(rng: random.Random, population: Population) -> Question:
    sort = rng.choice(list(CustomerSort))
    return Question(
        CustomerFilter(
            has_documents=rng.choice((None, None, True, False)),
            uploaded=tuple(rng.sample(population.type_ids, rng.choice((0, 0, 1)))),
            not_uploaded=tuple(rng.sample(population.type_ids, rng.choice((0, 0, 1)))),
            gate=rng.choice((None, None, *GateDecision)),
            gate_enforced=rng.random() < 0.7,
            search=rng.choice((None, "j", "Jan", "c-1", "nobody", "\U0010ffff")),
        ),
        sort,
        # Of the erased too, for whoever was the last of a page may have gone since.
        rng.choice((None, rng.choice(population.people).place(sort))),
        rng.choice((1, 5, CUSTOMERS)),
    )


async def ask(unit: Unit, way: Way, question: Question) -> tuple[list[str], bool]:
    """Return who is found one way, and whether nobody else is there."""
    parameters = {
        **filter_parameters(question.filter_),
        **place_parameters(question.place, question.sort),
        "limit": question.limit,
        "reachable_id": None,
    }
    statement = page_statement(way, question.filter_, question.sort)
    rows = (await unit._work.orm.execute(statement, parameters)).all()
    return [row.external_id for row in rows if row.id], rows[0].is_last


@pytest.fixture
def few_nearby(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let only a few customers be nearby, as with many customers."""
    monkeypatch.setattr(customer_pages, "NEARBY", 7)
    monkeypatch.setattr(customer_pages, "NEARBY_SEARCHED", 9)
    customer_pages._page_statement.cache_clear()
    yield
    customer_pages._page_statement.cache_clear()


@pytest.mark.req("R-094")
class TestWays:
    """page_statement()."""

    @pytest.mark.usefixtures("few_nearby")
    @pytest.mark.parametrize("seed", SEEDS)
    async def test_each_way_finds_the_first_ones_and_knows_whether_that_is_all(
        self, unit: Unit, seed: int
    ) -> None:
        rng = random.Random(seed)
        population = await populate(unit, rng)
        whole: dict[Way, int] = dict.fromkeys(Way, 0)
        for question in (some_question(rng, population) for _ in range(QUESTIONS)):
            expected = population.answer(question)
            tried = ways(question.filter_, question.sort, question.place)
            for way in tried:
                found, is_last = await ask(unit, way, question)
                assert found == expected[: len(found)], (way, question)
                is_whole = is_last or len(found) == question.limit
                assert not is_whole or found == expected, (way, question)
                whole[way] += is_whole
            assert is_whole or way is Way.NEARBY, (tried, question)
        assert min(whole.values()) > 0
        assert whole[Way.NEARBY] < QUESTIONS

    async def test_a_search_in_too_many_holdings_finds_nobody_and_says_so(self, unit: Unit) -> None:
        population = await populate(unit, random.Random(0))
        question = Question(
            CustomerFilter(has_documents=True, search="jan"), CustomerSort.CREATED_AT, None, 5
        )
        assert await ask(unit, Way.BY_HOLDING, question) == (population.answer(question), True)
        await unit._work.orm.execute(
            insert(Holding), [{"numbers": [1000 + n]} for n in range(SEARCHED_HOLDINGS)]
        )
        assert await ask(unit, Way.BY_HOLDING, question) == ([], False)
        found, _ = await ask(unit, Way.BY_SEARCH, question)
        assert found == population.answer(question)
