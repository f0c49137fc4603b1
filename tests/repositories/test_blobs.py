"""Reservations: within a quota, serialised per customer; never for an erased one."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from tests.factories.blobs import add_customer
from tests.factories.contexts import system_context

from docvault.db.engine import Database
from docvault.db.tables import new_id
from docvault.domain.erasures import NewErasure
from docvault.domain.quotas import StorageUsage, Usage
from docvault.errors import CustomerBeingErased, CustomerNotFound
from docvault.repositories.unit_of_work import UnitOfWork
from docvault.services.blobs import new_reservation

NOTHING = StorageUsage(0, 0)
ONE_FILE = StorageUsage(1, 0)


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
        return await add_customer(UnitOfWork(session, system_context()))


async def reserve(
    uow: UnitOfWork, customer_id: UUID, quota: StorageUsage = ONE_FILE, number: int = 1
) -> Usage | None:
    """Reserve files of ten bytes each."""
    reservations = [new_reservation(customer_id, 10, "0" * 64) for _ in range(number)]
    return await uow.blobs.reserve(reservations, quota=quota)


async def reserve_alone(database: Database, customer_id: UUID, **more: Any) -> Usage | None:
    async with database.autocommit() as session:
        return await reserve(UnitOfWork(session, system_context()), customer_id, **more)


async def wait_until_blocked(database: Database, lock: str) -> None:
    """Wait until a statement waits for a lock of this type; at most two seconds."""
    query = text("SELECT count(*) > 0 FROM pg_locks WHERE locktype = :lock AND NOT granted")
    for _ in range(200):
        async with database.autocommit() as session:
            if await session.orm.scalar(query, {"lock": lock}):
                return
        await asyncio.sleep(0.01)


async def begin_erasure(uow: UnitOfWork, customer_id: UUID) -> None:
    await uow.customers.lock(customer_id, exclusively=True)
    erasure = NewErasure(new_id(), customer_id, "pseudonym")
    await uow.erasures.add(erasure, documents=0, versions=0, blobs=0)


class TestReserve:
    """BlobRepository.reserve."""

    async def test_reservation_waits_for_concurrent_commit(
        self, database: Database, customer_id: UUID
    ) -> None:
        async with database.transaction() as session:
            assert await reserve(UnitOfWork(session, system_context()), customer_id) is None
            other = asyncio.create_task(reserve_alone(database, customer_id))
            await wait_until_blocked(database, "advisory")
            assert not other.done()
        assert await other == Usage(StorageUsage(1, 10), NOTHING)

    async def test_rolled_back_reservation_frees_quota(
        self, database: Database, customer_id: UUID
    ) -> None:
        async with database.transaction() as session:
            await reserve(UnitOfWork(session, system_context()), customer_id)
            await session.rollback()
        assert await reserve_alone(database, customer_id) is None

    @pytest.mark.parametrize("quota", [ONE_FILE, StorageUsage(0, 0)])
    async def test_other_customers_and_unlimited_quota_do_not_wait(
        self, database: Database, customer_id: UUID, quota: StorageUsage
    ) -> None:
        other = customer_id if quota == StorageUsage(0, 0) else await another_customer(database)
        async with database.transaction() as session:
            await reserve(UnitOfWork(session, system_context()), customer_id, quota=quota)
            assert await reserve_alone(database, other, quota=quota) is None

    async def test_several_reservations_are_all_or_nothing(
        self, database: Database, customer_id: UUID
    ) -> None:
        async with database.autocommit() as session:
            uow = UnitOfWork(session, system_context())
            assert await reserve(uow, customer_id, StorageUsage(5, 50), 3) is None
            assert await reserve(uow, customer_id, StorageUsage(5, 50), 3) == Usage(
                StorageUsage(3, 30), NOTHING
            )
            assert await uow.blobs.usage(customer_id) == Usage(StorageUsage(3, 30), NOTHING)
            assert await reserve(uow, customer_id, StorageUsage(5, 50), 2) is None
            assert await uow.blobs.usage(customer_id) == Usage(StorageUsage(5, 50), NOTHING)

    async def test_expired_reservations_do_not_count(
        self, database: Database, customer_id: UUID
    ) -> None:
        async with database.autocommit() as session:
            uow = UnitOfWork(session, system_context())
            reservation = new_reservation(customer_id, 10, "0" * 64)
            await uow.blobs.reserve([reservation], timedelta(seconds=-1))
            assert await uow.blobs.usage(customer_id) == Usage(NOTHING, NOTHING)
            assert await reserve(uow, customer_id) is None

    @pytest.mark.req("B-066")
    @pytest.mark.parametrize("quota", [StorageUsage(5, 0), StorageUsage(0, 50)])
    async def test_queued_deletions_count_against_twice_the_quota(
        self, database: Database, customer_id: UUID, quota: StorageUsage
    ) -> None:
        async with database.transaction() as session:
            uow = UnitOfWork(session, system_context())
            for _ in range(2):
                reservations = [new_reservation(customer_id, 10, "0" * 64) for _ in range(4)]
                await uow.blobs.reserve(reservations)
                wait = timedelta(hours=1)
                await uow.blobs.queue_deletion(
                    [reservation.id for reservation in reservations], wait=wait
                )
            assert await uow.blobs.usage(customer_id) == Usage(NOTHING, StorageUsage(8, 80))
            refused = Usage(NOTHING, StorageUsage(8, 80))
            assert await reserve(uow, customer_id, quota, 3) == refused
            assert await reserve(uow, customer_id, quota, 2) is None
            await uow.blobs.queue_deletion([reservation.id for reservation in reservations])
            assert await uow.blobs.usage(customer_id) == Usage(
                StorageUsage(2, 20), StorageUsage(4, 40)
            )


@pytest.mark.req("R-106")
class TestErasure:
    """Reservations for a customer that is being or has been erased."""

    async def test_unknown_customer_is_rejected(self, database: Database) -> None:
        with pytest.raises(CustomerNotFound):
            await reserve_alone(database, new_id())

    @pytest.mark.parametrize("quota", [ONE_FILE, StorageUsage(0, 0)])
    async def test_reservation_during_erasure_waits_and_is_rejected(
        self, database: Database, customer_id: UUID, quota: StorageUsage
    ) -> None:
        async with database.transaction() as session:
            await begin_erasure(UnitOfWork(session, system_context()), customer_id)
            late = asyncio.create_task(reserve_alone(database, customer_id, quota=quota))
            await wait_until_blocked(database, "transactionid")
            assert not late.done()
        with pytest.raises(CustomerBeingErased):
            await late
        async with database.autocommit() as session:
            assert (
                await UnitOfWork(session, system_context()).blobs.count_of_customer(customer_id)
                == 0
            )

    async def test_erasure_waits_for_reservation_and_counts_it(
        self, database: Database, customer_id: UUID
    ) -> None:
        async def erase() -> int:
            async with database.transaction() as session:
                uow = UnitOfWork(session, system_context())
                await begin_erasure(uow, customer_id)
                return await uow.blobs.count_of_customer(customer_id)

        async with database.transaction() as session:
            await reserve(UnitOfWork(session, system_context()), customer_id)
            erasure = asyncio.create_task(erase())
            await wait_until_blocked(database, "transactionid")
            assert not erasure.done()
        assert await erasure == 1
