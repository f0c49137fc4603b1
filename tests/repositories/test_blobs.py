"""Announcing within a quota: one after the other for a customer, whoever does it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from docvault.auth.principals import Access
from docvault.database import Database
from docvault.models import new_id
from docvault.repositories.unit import Unit
from docvault.rules.quotas import Volume
from docvault.services.blobs import new_intent

ONE_FILE = Volume(1, 0)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    yield opened
    await opened.close()


async def announce(
    unit: Unit, customer_id: UUID, quota: Volume = ONE_FILE, number: int = 1
) -> Volume | None:
    """Announce files of ten bytes each."""
    intents = [new_intent(customer_id, 10, "0" * 64) for _ in range(number)]
    return await unit.blobs.announce(intents, quota=quota)


async def announce_alone(database: Database, customer_id: UUID, **more: Volume) -> Volume | None:
    async with database.statements() as session:
        return await announce(Unit(session, Access.everyone()), customer_id, **more)


async def is_waited_for(database: Database) -> bool:
    """Whether somebody waits for a lock that is not of a table or a row."""
    query = "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    async with database.statements() as session:
        return bool(await session.orm.scalar(text(query)))


class TestAnnounce:
    """BlobRepository.announce."""

    async def test_the_next_one_waits_for_the_commit_and_then_sees_it(
        self, database: Database
    ) -> None:
        customer_id = new_id()
        async with database.transaction() as session:
            assert await announce(Unit(session, Access.everyone()), customer_id) is None
            other = asyncio.create_task(announce_alone(database, customer_id))
            while not other.done() and not await is_waited_for(database):  # noqa: ASYNC110 - PostgreSQL tells nobody
                await asyncio.sleep(0.01)
            assert not other.done()
        assert await other == Volume(1, 10)

    async def test_after_a_rollback_there_is_room(self, database: Database) -> None:
        customer_id = new_id()
        async with database.transaction() as session:
            await announce(Unit(session, Access.everyone()), customer_id)
            await session.rollback()
        assert await announce_alone(database, customer_id) is None

    @pytest.mark.parametrize("quota", [ONE_FILE, Volume(0, 0)])
    async def test_nobody_waits_for_another_customer_or_without_a_quota(
        self, database: Database, quota: Volume
    ) -> None:
        one = new_id()
        other = one if quota == Volume(0, 0) else new_id()
        async with database.transaction() as session:
            await announce(Unit(session, Access.everyone()), one, quota=quota)
            assert await announce_alone(database, other, quota=quota) is None

    async def test_several_fit_together_or_not_at_all(self, database: Database) -> None:
        customer_id = new_id()
        async with database.statements() as session:
            unit = Unit(session, Access.everyone())
            assert await announce(unit, customer_id, Volume(5, 50), 3) is None
            assert await announce(unit, customer_id, Volume(5, 50), 3) == Volume(3, 30)
            assert await unit.blobs.usage(customer_id) == Volume(3, 30)
            assert await announce(unit, customer_id, Volume(5, 50), 2) is None
            assert await unit.blobs.usage(customer_id) == Volume(5, 50)

    async def test_what_has_expired_counts_no_more(self, database: Database) -> None:
        customer_id = new_id()
        async with database.statements() as session:
            unit = Unit(session, Access.everyone())
            intent = new_intent(customer_id, 10, "0" * 64)
            await unit.blobs.announce([intent], timedelta(seconds=-1))
            assert await unit.blobs.usage(customer_id) == Volume(0, 0)
            assert await announce(unit, customer_id) is None
