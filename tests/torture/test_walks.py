"""Paging through a changing list shows every permanent customer exactly once (T16)."""

import asyncio
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from fastapi import FastAPI
from tests.torture.figures import Figure, Size
from tests.torture.inside import LocalService, unlimited

from docvault.settings import Settings

pytestmark = pytest.mark.torture

CUSTOMERS = "/v1/admin/customers"
PAGE = 100
# Every hundredth customer is created or erased during a walk.
CHANGED_SHARE = 100
# A few milliseconds on an idle machine; CI machines are busy.
PAGE_WITHIN_SECONDS, PAGE_WITHIN_SECONDS_IN_CI = 0.1, 1
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

    local_service: LocalService
    sort: str
    seen: list[str] = field(default_factory=list)
    page_seconds: list[float] = field(default_factory=list)
    is_over: bool = False

    async def go(self) -> None:
        """Read all pages."""
        cursor = None
        while not self.is_over:
            params: dict[str, Any] = {"sort": self.sort, "limit": PAGE} | (
                {"cursor": cursor} if cursor else {}
            )
            began = time.perf_counter()
            response = await self.local_service.client.get(CUSTOMERS, params=params)
            self.page_seconds.append(time.perf_counter() - began)
            assert response.status_code == 200, response.text
            page = response.json()
            self.seen += [customer["id"] for customer in page["items"]]
            cursor = page["next_cursor"]
            self.is_over = cursor is None

    async def change(self, leaving: list[str]) -> tuple[set[str], set[str]]:
        """Create and erase customers during the walks; return them."""
        created, erased = set[str](), set[str]()
        client = self.local_service.client
        for number, name in enumerate(leaving):
            if self.is_over:
                break
            new = f"new-{self.sort}-{number}"
            responses = await asyncio.gather(
                client.put(f"{CUSTOMERS}/{new}", json={"name": f"Customer {number}"}),
                client.delete(f"{CUSTOMERS}/{name}"),
            )
            assert [response.status_code for response in responses] == [201, 202]
            created.add(new)
            erased.add(name)
        return created, erased


@pytest.mark.guarantee(
    "T16",
    promise="Paging through a list that changes meanwhile shows every customer that existed "
    "throughout exactly once, and the last page is as fast as the first.",
    tried="The customer list is paged through in four orders, a hundred customers a page, while "
    "customers are constantly created and erased. Every customer that existed before and after "
    "must be seen exactly once, and every customer created or erased in between at most once.",
    not_shown="A customer renamed during the walk: ordered by name, it moves and can be seen "
    "twice or not at all.",
)
async def test_paging_shows_stable_customers_once(
    app: FastAPI, local_service: LocalService, size: Size, figures: dict[str, Figure]
) -> None:
    del app
    number = size.of(ci=2_000, full=100_000)
    local_service.database.execute(_MAKE, (number,))
    local_service.database.execute("ANALYZE customers")
    present, chance = {f"c-{one}" for one in range(1, number + 1)}, Random(16)
    changes = twice = missed = 0
    first_seconds, last_seconds = list[float](), list[float]()
    for sort in ("created_at", "-created_at", "name", "-name"):
        walk = Walk(local_service, sort)
        leaving = chance.sample(sorted(present), number // CHANGED_SHARE)
        _, (created, erased) = await asyncio.gather(walk.go(), walk.change(leaving))
        changes += len(created) + len(erased)
        twice += len(walk.seen) - len(set(walk.seen))
        missed += len(present - erased - set(walk.seen))
        assert set(walk.seen) <= present | created
        present = present - erased | created
        tenth = max(1, len(walk.page_seconds) // 10)
        first_seconds += walk.page_seconds[:tenth]
        last_seconds += walk.page_seconds[-tenth:]
    figures["customers"] = number
    figures["walks"] = 4
    figures["created or erased during a walk"] = changes
    figures["seen twice"] = twice
    figures["missed"] = missed
    bound = PAGE_WITHIN_SECONDS if size.is_full else PAGE_WITHIN_SECONDS_IN_CI
    for name, seconds in (("first", first_seconds), ("last", last_seconds)):
        late = statistics.quantiles(seconds, n=20)[-1]
        figures[f"p95 of the {name} tenth of the pages, ms"] = round(late * 1000, 1)
        assert late < bound
    assert changes > 0
    assert (twice, missed) == (0, 0)
