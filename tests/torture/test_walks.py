"""A list that is walked while it changes shows everyone who was there throughout, once (T16)."""

import asyncio
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from fastapi import FastAPI
from tests.torture.figures import Figure, Size
from tests.torture.inside import Inside, unlimited

from docvault.settings import Settings

pytestmark = pytest.mark.torture

CUSTOMERS = "/v1/admin/customers"
PAGE = 100
# Every hundredth customer goes or comes on the way.
CHANGED_SHARE = 100
# On an idle machine it is some milliseconds.
PAGE_WITHIN_SECONDS = 0.1
_MAKE = """
    INSERT INTO customers (id, external_id, name, tags, created_at)
    SELECT gen_random_uuid(), 'c-' || number, 'Customer ' || md5(number::text), '{}',
        now() - number * interval '1 second'
    FROM generate_series(1, %s) AS number
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return unlimited(tmp_path / "data")


@dataclass(slots=True)
class Walk:
    """A walk through the whole list in one order."""

    inside: Inside
    sort: str
    seen: list[str] = field(default_factory=list)
    page_seconds: list[float] = field(default_factory=list)
    is_over: bool = False

    async def go(self) -> None:
        """Read page after page, to the end."""
        cursor = None
        while not self.is_over:
            asked = {"sort": self.sort, "limit": PAGE} | ({"cursor": cursor} if cursor else {})
            began = time.perf_counter()
            answer = await self.inside.client.get(CUSTOMERS, params=asked)
            self.page_seconds.append(time.perf_counter() - began)
            assert answer.status_code == 200, answer.text
            page = answer.json()
            self.seen += [customer["id"] for customer in page["items"]]
            cursor = page["next_cursor"]
            self.is_over = cursor is None

    async def change(self, leaving: list[str]) -> tuple[set[str], set[str]]:
        """Let customers come and go meanwhile; return who did."""
        came, gone = set[str](), set[str]()
        client = self.inside.client
        for number, name in enumerate(leaving):
            if self.is_over:
                break
            new = f"new-{self.sort}-{number}"
            answers = await asyncio.gather(
                client.put(f"{CUSTOMERS}/{new}", json={"name": f"Customer {number}"}),
                client.delete(f"{CUSTOMERS}/{name}"),
            )
            assert [answer.status_code for answer in answers] == [201, 202]
            came.add(new)
            gone.add(name)
        return came, gone


@pytest.mark.guarantee(
    "T16",
    promise="A list that is read page by page while it changes shows everyone who was there "
    "throughout, each once, and its last page is as quick as its first.",
    tried="The customer list is walked in four orders, a hundred a page, while customers come and "
    "are erased all the time. Who was there before and after has to be seen exactly once, who "
    "came or went at most once.",
    not_shown="A customer who is renamed on the way: in the order of names they move, and can be "
    "met twice or never.",
)
async def test_a_walk_shows_everyone_who_stays_once(
    app: FastAPI, inside: Inside, size: Size, figures: dict[str, Figure]
) -> None:
    del app
    number = size.of(ci=2_000, full=100_000)
    inside.database.execute(_MAKE, (number,))
    inside.database.execute("ANALYZE customers")
    there, chance = {f"c-{one}" for one in range(1, number + 1)}, Random(16)
    changes = twice = missed = 0
    first_seconds, last_seconds = list[float](), list[float]()
    for sort in ("created_at", "-created_at", "name", "-name"):
        walk = Walk(inside, sort)
        leaving = chance.sample(sorted(there), number // CHANGED_SHARE)
        _, (came, gone) = await asyncio.gather(walk.go(), walk.change(leaving))
        changes += len(came) + len(gone)
        twice += len(walk.seen) - len(set(walk.seen))
        missed += len(there - gone - set(walk.seen))
        assert set(walk.seen) <= there | came
        there = there - gone | came
        tenth = max(1, len(walk.page_seconds) // 10)
        first_seconds += walk.page_seconds[:tenth]
        last_seconds += walk.page_seconds[-tenth:]
    figures["customers"] = number
    figures["walks"] = 4
    figures["came or went meanwhile"] = changes
    figures["seen twice"] = twice
    figures["missed"] = missed
    for name, seconds in (("first", first_seconds), ("last", last_seconds)):
        late = statistics.quantiles(seconds, n=20)[-1]
        figures[f"95 % of the {name} tenth of the pages within, ms"] = round(late * 1000, 1)
        assert late < PAGE_WITHIN_SECONDS or not size.is_full
    assert changes > 0
    assert (twice, missed) == (0, 0)
