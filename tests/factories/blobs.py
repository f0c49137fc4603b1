"""Blobs that were reserved and written but never attached, and the rows of all."""

from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text

from docvault.domain.customers import CustomerData
from docvault.repositories.unit_of_work import UnitOfWork
from docvault.services.blobs import LocalFile, store_bytes
from docvault.services.resources import Resources


async def add_customer(uow: UnitOfWork) -> UUID:
    """Register a customer and return its internal id."""
    customer = await uow.customers.insert(f"{uuid4()}", CustomerData(), None)
    assert customer is not None
    return customer.id


async def leave_bytes(
    resources: Resources, customer_id: UUID | None = None, number: int = 1
) -> list[UUID]:
    """Store one-byte files, for a new customer by default; return the ids of their blobs."""
    if customer_id is None:
        async with resources.transaction(resources.system_context()) as uow:
            customer_id = await add_customer(uow)
    sources = []
    for _ in range(number):
        spooled = resources.spool.create()
        await spooled.write(b"x")
        await spooled.finish()
        sources.append(LocalFile(spooled.path, spooled.size_bytes, spooled.sha256))
    return await store_bytes(resources, resources.system_context(), customer_id, sources)


async def run_sql(resources: Resources, statement: str) -> list[tuple[Any, ...]]:
    """Execute a statement in a transaction; return its rows, if it returns any."""
    async with resources.database.transaction() as session:
        result: Any = await session.execute(text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []


async def blob_states(resources: Resources) -> list[str]:
    """Return the states of all blobs, oldest first."""
    rows = await run_sql(resources, "SELECT state FROM blobs ORDER BY id")
    return [state for (state,) in rows]
