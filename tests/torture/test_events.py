"""Followers of the feed while many write, and a sequencer is killed (T71)."""

import asyncio
import itertools
import random
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb
from tests.torture.figures import Figure, Size

from docvault.domain.events import Event
from docvault.services.events import EventQuery, read_events
from docvault.services.resources import Resources

pytestmark = pytest.mark.torture

WRITERS, CUSTOMERS, FOLLOWERS = 24, 50, 3
ROLLED_BACK = 0.1
# Locks the customer, as every change does, and numbers the change.
CHANGE = """
    UPDATE customers SET tags = ARRAY[(tags[1]::integer + 1)::text]
    WHERE external_id = %s RETURNING id, tags[1]::integer
"""
ADD = "INSERT INTO events (id, type, customer_id, data) VALUES (%s, 'document.updated', %s, %s)"
MAKE = """
    INSERT INTO customers (id, external_id, tags)
    SELECT gen_random_uuid(), 'c-' || number, '{0}' FROM generate_series(1, %s) AS number
"""
SEQUENCER = """
import psycopg, sys
with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    print("ready", flush=True)
    while True:
        connection.execute("SELECT sequence_events(50)")
"""


@dataclass(slots=True)
class Followed:
    """What one follower has read, in its order."""

    events: list[Event] = field(default_factory=list)

    def compare(self, written: Mapping[UUID, tuple[str, int]]) -> dict[str, int]:
        """Return what is wrong with it."""
        ids = [event.id for event in self.events]
        positions = [event.position for event in self.events]
        turned = 0
        last: dict[str, int] = {}
        for event in self.events:
            customer, number = written.get(event.id, ("", 0))
            turned += number <= last.get(customer, 0)
            last[customer] = number
        return {
            "missed": len(written.keys() - set(ids)),
            "repeated": len(ids) - len(set(ids)),
            "not committed": len(set(ids) - written.keys()),
            "turned round": turned,
            "holes": sum(b != a + 1 for a, b in itertools.pairwise([0, *positions])),
        }


class Writers:
    """Changes of random customers, some of which are rolled back."""

    def __init__(self, url: str, number: int) -> None:
        self._url = url
        self._left = number
        self.written: dict[UUID, tuple[str, int]] = {}
        self.rolled_back = 0

    async def run(self) -> None:
        """Write until enough is committed."""
        await asyncio.gather(*(self._write(random.Random(seed)) for seed in range(WRITERS)))

    async def _write(self, chance: random.Random) -> None:
        async with await psycopg.AsyncConnection.connect(self._url) as connection:
            while self._left > 0:
                self._left -= 1
                customer, event_id = f"c-{chance.randint(1, CUSTOMERS)}", uuid4()
                rows = await connection.execute(CHANGE, [customer])
                row = await rows.fetchone()
                assert row is not None
                customer_id, number = row
                data: Any = Jsonb({"document_type": "t", "version": number})
                await connection.execute(ADD, [event_id, customer_id, data])
                if chance.random() < ROLLED_BACK:
                    await connection.rollback()
                    self.rolled_back += 1
                    self._left += 1
                    continue
                await connection.commit()
                self.written[event_id] = (customer, number)


async def follow(resources: Resources, followed: Followed, writers: asyncio.Task[None]) -> None:
    """Read page after page until the writers have ended and nothing follows."""
    after: str | None = None
    while True:
        is_last = writers.done()
        query = EventQuery(after, (), None, 100)
        page = await read_events(resources, resources.system_context(), query)
        followed.events += page.events
        after = str(page.next_after)
        if is_last and not page.events and not page.has_more:
            return
        await asyncio.sleep(0)


async def kill_sequencers(url: str, times: int) -> None:
    """Start a process that sequences all the time and kill it, again and again."""
    for number in range(times):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SEQUENCER, url, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        await asyncio.sleep(0.005 * (number % 20))
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@pytest.mark.req("B-239")
@pytest.mark.guarantee(
    "T71",
    promise="Followers of the feed miss no event, read none twice, and get those of one"
    " customer in the order of their changes.",
    tried="24 connections change 50 customers, with an event each, and roll back every tenth."
    " Three followers read page after page, and sequence before each read. In the second case a"
    " process that does nothing but sequence is killed and started again meanwhile. Each follower"
    " is compared with what was committed.",
    not_shown="A crash of the database server: see T01. Reads through several API processes.",
)
@pytest.mark.parametrize("kills", [False, True], ids=["undisturbed", "sequencer killed"])
async def test_followers_read_every_event_once_in_order(
    resources: Resources,
    database_url: str,
    size: Size,
    figures: dict[str, Figure],
    *,
    kills: bool,
) -> None:
    number = size.of(ci=1_000, full=50_000)
    with psycopg.connect(database_url) as connection:
        connection.execute(MAKE, [CUSTOMERS])
    writers = Writers(database_url, number)
    writing = asyncio.create_task(writers.run())
    followers = [Followed() for _ in range(FOLLOWERS)]
    following = [follow(resources, followed, writing) for followed in followers]
    killed = size.of(ci=5, full=100) if kills else 0
    await asyncio.gather(writing, kill_sequencers(database_url, killed), *following)
    found = [followed.compare(writers.written) for followed in followers]
    totals = {name: sum(one[name] for one in found) for name in found[0]}
    assert totals == dict.fromkeys(totals, 0)
    assert len(writers.written) == number
    figures |= {"events": number, "rolled back": writers.rolled_back, "followers": FOLLOWERS}
    figures |= {"sequencers killed": killed, **totals}
