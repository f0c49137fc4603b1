"""Announcing: within a quota, one after the other for a customer; never for an erased one."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text
from tests.factories.blobs import add_customer

from docvault.auth.principals import Access
from docvault.database import Database
from docvault.errors import CustomerBeingErased, CustomerUnknown
from docvault.models import new_id
from docvault.repositories.unit import Unit
from docvault.rules.erasures import NewErasure
from docvault.rules.quotas import Volume
from docvault.services.blobs import new_intent

ONE_FILE = Volume(1, 0)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    yield opened
    await opened.close()


@pytest.fixture
async def customer_id(database: Database) -> UUID:
    """The internal id of a customer."""
    return await another_customer(database)


async def another_customer(database: Database) -> UUID:
    async with database.transaction() as session:
        return await add_customer(Unit(session, Access.everyone()))


async def announce(
    unit: Unit, customer_id: UUID, quota: Volume = ONE_FILE, number: int = 1
) -> Volume | None:
    """Announce files of ten bytes each."""
    intents = [new_intent(customer_id, 10, "0" * 64) for _ in range(number)]
    return await unit.blobs.announce(intents, quota=quota)


async def announce_alone(database: Database, customer_id: UUID, **more: Volume) -> Volume | None:
    async with database.statements() as session:
        return await announce(Unit(session, Access.everyone()), customer_id, **more)


async def wait_until_blocked(database: Database, lock: str) -> None:
    """Wait until somebody waits for a lock of this type; two seconds at most."""
    query = text("SELECT count(*) > 0 FROM pg_locks WHERE locktype = :lock AND NOT granted")
    for _ in range(200):
        async with database.statements() as session:
            if await session.orm.scalar(query, {"lock": lock}):
                return
        await asyncio.sleep(0.01)


async def begin_erasure(unit: Unit, customer_id: UUID) -> None:
    await unit.customers.lock(customer_id, exclusively=True)
    erasure = NewErasure(new_id(), customer_id, "pseudonym")
    await unit.erasures.add(erasure, documents=0, versions=0, blobs=0)


class TestAnnounce:
    """BlobRepository.announce."""

    async def test_the_next_one_waits_for_the_commit_and_then_sees_it(
        self, database: Database, customer_id: UUID
    ) -> None:
        async with database.transaction() as session:
            assert await announce(Unit(session, Access.everyone()), customer_id) is None
            other = asyncio.create_task(announce_alone(database, customer_id))
            await wait_until_blocked(database, "advisory")
            assert not other.done()
        assert await other == Volume(1, 10)

    async def test_after_a_rollback_there_is_room(
        self, database: Database, customer_id: UUID
    ) -> None:
        async with database.transaction() as session:
            await announce(Unit(session, Access.everyone()), customer_id)
            await session.rollback()
        assert await announce_alone(database, customer_id) is None

    @pytest.mark.parametrize("quota", [ONE_FILE, Volume(0, 0)])
    async def test_nobody_waits_for_another_customer_or_without_a_quota(
        self, database: Database, customer_id: UUID, quota: Volume
    ) -> None:
        other = customer_id if quota == Volume(0, 0) else await another_customer(database)
        async with database.transaction() as session:
            await announce(Unit(session, Access.everyone()), customer_id, quota=quota)
            assert await announce_alone(database, other, quota=quota) is None

    async def test_several_fit_together_or_not_at_all(
        self, database: Database, customer_id: UUID
    ) -> None:
        async with database.statements() as session:
            unit = Unit(session, Access.everyone())
            assert await announce(unit, customer_id, Volume(5, 50), 3) is None
            assert await announce(unit, customer_id, Volume(5, 50), 3) == Volume(3, 30)
            assert await unit.blobs.usage(customer_id) == Volume(3, 30)
            assert await announce(unit, customer_id, Volume(5, 50), 2) is None
            assert await unit.blobs.usage(customer_id) == Volume(5, 50)

    async def test_what_has_expired_counts_no_more(
        self, database: Database, customer_id: UUID
    ) -> None:
        async with database.statements() as session:
            unit = Unit(session, Access.everyone())
            intent = new_intent(customer_id, 10, "0" * 64)
            await unit.blobs.announce([intent], timedelta(seconds=-1))
            assert await unit.blobs.usage(customer_id) == Volume(0, 0)
            assert await announce(unit, customer_id) is None


@pytest.mark.req("R-106")
class TestErasure:
    """Announcing for a customer who is being erased or is no more."""

    async def test_nothing_is_announced_for_an_unknown_customer(self, database: Database) -> None:
        with pytest.raises(CustomerUnknown):
            await announce_alone(database, new_id())

    @pytest.mark.parametrize("quota", [ONE_FILE, Volume(0, 0)])
    async def test_whoever_announces_during_the_erasure_waits_and_is_refused(
        self, database: Database, customer_id: UUID, quota: Volume
    ) -> None:
        async with database.transaction() as session:
            await begin_erasure(Unit(session, Access.everyone()), customer_id)
            late = asyncio.create_task(announce_alone(database, customer_id, quota=quota))
            await wait_until_blocked(database, "transactionid")
            assert not late.done()
        with pytest.raises(CustomerBeingErased):
            await late
        async with database.statements() as session:
            assert await Unit(session, Access.everyone()).blobs.count_of_customer(customer_id) == 0

    async def test_an_erasure_waits_for_what_is_being_announced_and_counts_it(
        self, database: Database, customer_id: UUID
    ) -> None:
        async def erase() -> int:
            async with database.transaction() as session:
                unit = Unit(session, Access.everyone())
                await begin_erasure(unit, customer_id)
                return await unit.blobs.count_of_customer(customer_id)

        async with database.transaction() as session:
            await announce(Unit(session, Access.everyone()), customer_id)
            erasure = asyncio.create_task(erase())
            await wait_until_blocked(database, "transactionid")
            assert not erasure.done()
        assert await erasure == 1
