"""Counts shared by all processes: exact under concurrency."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from tests.factories.contexts import system_context

from docvault.db.engine import Database
from docvault.domain.rate_limits import WINDOW_SECONDS
from docvault.repositories.unit_of_work import UnitOfWork

A, B = b"a" * 32, b"b" * 32


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    yield opened
    await opened.close()


async def count(database: Database, *ids: bytes) -> list[int]:
    """Count in a separate transaction; return the counts."""
    async with database.transaction() as session:
        counted = await UnitOfWork(session, system_context()).rate_limits.count(ids)
    # A transaction that waited for another may have started before the window.
    assert all(0 < one.seconds_left < WINDOW_SECONDS + 5 for one in counted)
    return [one.number for one in counted]


async def shift(database: Database, seconds: int) -> None:
    """Move every window back in time."""
    async with database.transaction() as session:
        await session.execute(
            text("UPDATE rate_limits SET ends_at = ends_at - make_interval(secs => :seconds)"),
            {"seconds": seconds},
        )


async def rows(database: Database) -> int:
    async with database.transaction() as session:
        return await session.scalar(text("SELECT count(*) FROM rate_limits")) or 0


class TestCount:
    """RateLimitRepository.count."""

    async def test_counts_start_at_one(self, database: Database) -> None:
        assert [await count(database, A) for _ in range(3)] == [[1], [2], [3]]

    async def test_counts_are_shared_between_processes(
        self, database: Database, database_url: str
    ) -> None:
        other = Database(database_url)
        each = [count(one, A) for one in (database, other) for _ in range(20)]
        numbers = [number for (number,) in await asyncio.gather(*each)]
        await other.close()
        assert sorted(numbers) == list(range(1, 41))

    async def test_several_ids_in_any_order_do_not_deadlock(self, database: Database) -> None:
        each = [count(database, *pair) for _ in range(20) for pair in ((A, B), (B, A))]
        numbers = [number for pair in await asyncio.gather(*each) for number in pair]
        assert sorted(numbers) == sorted([*range(1, 41), *range(1, 41)])

    async def test_duplicate_id_is_counted_once(self, database: Database) -> None:
        assert await count(database, A, A) == [1]

    async def test_window_ends_one_minute_after_first_count(self, database: Database) -> None:
        await count(database, A)
        await shift(database, WINDOW_SECONDS // 2)
        assert await count(database, A) == [2]
        await shift(database, WINDOW_SECONDS // 2)
        assert await count(database, A) == [1]

    async def test_rolled_back_count_is_not_kept(self, database: Database) -> None:
        async with database.transaction() as session:
            await UnitOfWork(session, system_context()).rate_limits.count([A])
            await session.rollback()
        assert await count(database, A) == [1]

    async def test_counters_are_in_unlogged_table(self, database: Database) -> None:
        async with database.transaction() as session:
            kind = await session.scalar(
                text("SELECT relpersistence FROM pg_class WHERE relname = 'rate_limits'")
            )
        assert kind == "u"


class TestDeleteExpired:
    """RateLimitRepository.delete_over."""

    async def test_only_expired_windows_are_deleted(self, database: Database) -> None:
        await count(database, A)
        await shift(database, WINDOW_SECONDS)
        await count(database, B)
        async with database.transaction() as session:
            await UnitOfWork(session, system_context()).rate_limits.delete_over()
        assert await rows(database) == 1
        assert await count(database, B) == [2]
