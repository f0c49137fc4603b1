"""Statements of concurrent requests that go to the server together."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import psycopg
import pytest

from docvault.db.engine import Database
from docvault.db.prepared_statements import Lane, NoRow, PreparedStatement
from docvault.db.shared_transactions import PATIENCE_SECONDS
from docvault.errors import DatabaseUnavailable


@dataclass
class Result:
    n: int
    # Which transaction it was, by when it began.
    began: str


def statement(value: str) -> PreparedStatement[Result]:
    sql = f"SELECT ({value})::int AS n, transaction_timestamp()::text AS began"
    return PreparedStatement(sql, Result).in_lane(Lane.WRITES)


PLAIN = statement("%(n)s")
WRONG = statement("1 / %(n)s")
BREAKS = statement("pg_terminate_backend(pg_backend_pid())::int + %(n)s")
SLOW = statement("(SELECT %(n)s FROM pg_sleep(1))")
LOCKING = PreparedStatement(
    "UPDATE portal_settings SET gate_enabled = gate_enabled"
    " RETURNING %(n)s::int AS n, transaction_timestamp()::text AS began",
    Result,
).in_lane(Lane.WRITES)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.close()


async def send(database: Database, of: PreparedStatement[Result], number: int) -> Result:
    async with database.autocommit() as connection:
        (result,) = await connection.rows(of, {"n": number})
        return result


async def send_all(
    database: Database, *statements: PreparedStatement[Result]
) -> list[Result | BaseException]:
    """Send them at once: the first alone, the others together."""
    requests = [send(database, one, number) for number, one in enumerate(statements)]
    return await asyncio.gather(*requests, return_exceptions=True)


def numbers(results: list[Result | BaseException]) -> list[int]:
    return [result.n for result in results if isinstance(result, Result)]


@pytest.mark.req("B-133")
async def test_each_request_has_the_rows_of_its_own_statement(database: Database) -> None:
    results = await send_all(database, *[PLAIN] * 40)
    assert numbers(results) == list(range(40))


@pytest.mark.req("B-133")
async def test_statements_that_wait_share_a_transaction(database: Database) -> None:
    results = await send_all(database, *[PLAIN] * 9)
    first, *others = [result.began for result in results if isinstance(result, Result)]
    assert set(others) == {others[0]}
    assert others[0] != first


async def test_statement_without_rows_shares_too(database: Database) -> None:
    sql = "UPDATE portal_settings SET gate_enabled = gate_enabled WHERE %(n)s > 0"
    silent = PreparedStatement(sql, NoRow).in_lane(Lane.WRITES)

    async def change(number: int) -> list[NoRow]:
        async with database.autocommit() as connection:
            return await connection.rows(silent, {"n": number})

    assert await asyncio.gather(*map(change, range(4))) == [[]] * 4


async def test_statement_outside_a_lane_is_alone(database: Database) -> None:
    outside = PreparedStatement(PLAIN.sql, Result)
    results = await send_all(database, *[outside] * 5)
    assert len({result.began for result in results if isinstance(result, Result)}) == 5


@pytest.mark.req("B-133")
async def test_failing_statement_fails_alone(database: Database) -> None:
    # The one with number 0 is alone; of the others, the third divides by nothing but itself.
    zero = statement("1 / (%(n)s - %(n)s)")
    results = await send_all(database, PLAIN, PLAIN, WRONG, zero, PLAIN)
    assert numbers(results) == [0, 1, 0, 4]
    assert isinstance(results[3], psycopg.errors.DivisionByZero)


@pytest.mark.req("B-133")
async def test_statement_that_waits_for_a_lock_delays_no_other(
    database: Database, database_url: str
) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as other:
        await other.execute("UPDATE portal_settings SET gate_enabled = gate_enabled")
        locked = asyncio.create_task(send_all(database, LOCKING, LOCKING, PLAIN))
        await asyncio.sleep(0)
        results = await send_all(database, PLAIN, PLAIN)
        assert numbers(results) == [0, 1]
        assert not locked.done()
        await other.rollback()
    assert numbers(await locked) == [0, 1, 2]


@pytest.mark.req("B-133")
async def test_slow_statement_delays_no_other(database: Database) -> None:
    slow = asyncio.create_task(send(database, SLOW, 1))
    await asyncio.sleep(0)
    assert numbers(await send_all(database, PLAIN, PLAIN)) == [0, 1]
    assert not slow.done()
    assert (await slow).n == 1


@pytest.mark.req("B-133")
async def test_cancelled_request_takes_nothing_from_the_others(database: Database) -> None:
    tasks = [asyncio.create_task(send(database, PLAIN, number)) for number in range(4)]
    await asyncio.sleep(0)
    tasks[2].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert numbers(results) == [0, 1, 3]
    assert isinstance(results[2], asyncio.CancelledError)


async def test_lost_connection_is_unavailable_for_all_on_it(database: Database) -> None:
    results = await send_all(database, PLAIN, PLAIN, BREAKS, PLAIN)
    assert numbers(results) == [0]
    assert all(isinstance(result, DatabaseUnavailable) for result in results[1:])
    assert numbers(await send_all(database, PLAIN, PLAIN)) == [0, 1]


async def test_nothing_is_shared_while_no_connection_is_free(database_url: str) -> None:
    database = Database(database_url, pool_size=1)
    async with database.transaction() as session:
        await session.connection()
        tasks = [asyncio.create_task(send(database, PLAIN, number)) for number in range(3)]
        # Longer than any of them waits for the others.
        await asyncio.sleep(4 * PATIENCE_SECONDS)
    results = await asyncio.gather(*tasks)
    assert len({result.began for result in results}) == 3
    await database.close()


async def test_close_waits_for_what_is_under_way(database_url: str) -> None:
    database = Database(database_url)
    tasks = [asyncio.create_task(send(database, PLAIN, number)) for number in range(3)]
    await asyncio.sleep(0)
    for task in tasks[1:]:
        task.cancel()
    await tasks[0]
    await database.close()
    assert database.engine.pool.checkedin() == 0  # type: ignore[attr-defined] # of the pool's class
