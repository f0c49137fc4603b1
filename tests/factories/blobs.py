"""Bytes that were announced and written, and that nobody attached."""

from uuid import UUID, uuid4

from docvault.auth.principals import Access
from docvault.repositories.unit import Unit
from docvault.rules.customers import CustomerData
from docvault.services.blobs import LocalBytes, store_bytes
from docvault.services.resources import Resources


async def add_customer(unit: Unit) -> UUID:
    """Make some customer known; return the internal id."""
    customer = await unit.customers.insert(f"{uuid4()}", CustomerData(), None)
    assert customer is not None
    return customer.id


async def leave_bytes(
    resources: Resources, customer_id: UUID | None = None, number: int = 1
) -> list[UUID]:
    """Store files of one byte, of a new customer unless told; return the ids of their blobs."""
    if customer_id is None:
        async with resources.unit(Access.everyone()) as unit:
            customer_id = await add_customer(unit)
    sources = []
    for _ in range(number):
        spooled = resources.spool.create()
        await spooled.write(b"x")
        await spooled.finish()
        sources.append(LocalBytes(spooled.path, spooled.size_bytes, spooled.sha256))
    return await store_bytes(resources, customer_id, sources)
