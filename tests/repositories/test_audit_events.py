"""Pages of the audit trail are bounded in bytes, and refusals can share an event."""

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from docvault.db.tables import new_id
from docvault.domain.audit import AuditAction, NewAuditEvent
from docvault.repositories.audit_events import MAX_PAGE_BYTES, AuditFilter, AuditPage
from docvault.repositories.unit_of_work import UnitOfWork


async def add(uow: UnitOfWork, *sizes: int) -> None:
    """Record an event for each size, with that many bytes of compressible details."""
    for number, size in enumerate(sizes):
        changes = {"field_values": {"old": {}, "new": {"f": "x" * size}}}
        event = NewAuditEvent("admin", str(number), "document.update", "ok", None, changes=changes)
        await uow.audit_events.add(event)


async def page(
    uow: UnitOfWork, limit: int, before: tuple[datetime, UUID] | None = None
) -> tuple[list[str], AuditPage]:
    """Return the actors of a page, and the page."""
    found = await uow.audit_events.list_page(AuditFilter(), before=before, limit=limit)
    return [event.actor_id for event in found.events], found


async def walk(uow: UnitOfWork, limit: int) -> list[list[str]]:
    """Return the actors of every page."""
    pages, before = [], None
    while True:
        actors, found = await page(uow, limit, before)
        pages.append(actors)
        if not found.has_more:
            return pages
        last = found.events[-1]
        before = (last.at, last.id)


@pytest.mark.req("B-031")
async def test_page_ends_at_detail_size_limit(uow: UnitOfWork) -> None:
    third = MAX_PAGE_BYTES // 3
    await add(uow, *[third] * 5)
    assert await walk(uow, limit=100) == [["4", "3"], ["2", "1"], ["0"]]


@pytest.mark.req("B-031")
async def test_oversized_event_has_own_page(uow: UnitOfWork) -> None:
    await add(uow, 10, 2 * MAX_PAGE_BYTES, 2 * MAX_PAGE_BYTES, 10)
    assert await walk(uow, limit=100) == [["3"], ["2"], ["1"], ["0"]]


async def test_small_events_fill_the_page(uow: UnitOfWork) -> None:
    await add(uow, *[10] * 5)
    assert await walk(uow, limit=2) == [["4", "3"], ["2", "1"], ["0"]]
    assert await walk(uow, limit=5) == [["4", "3", "2", "1", "0"]]


async def test_filenames_count_towards_page_size(uow: UnitOfWork) -> None:
    for number in range(2):
        files = [{"filename": "x" * MAX_PAGE_BYTES}]
        event = NewAuditEvent(
            "admin", str(number), "document.download", "ok", None, customer="c-1", files=files
        )
        await uow.audit_events.add(event)
    assert await walk(uow, limit=10) == [["1"], ["0"]]


async def test_empty_trail_has_one_empty_page(uow: UnitOfWork) -> None:
    assert await walk(uow, limit=10) == [[]]


async def test_events_added_together_equal_events_added_one_by_one(uow: UnitOfWork) -> None:
    plain = NewAuditEvent("admin", "staff-1", AuditAction.CUSTOMER_LIST, "denied", None)
    about: dict[str, Any] = {
        "customer_pseudonym": "anon-1",
        "customer_id": new_id(),
        "customer": "c-1",
    }
    added = [
        plain,
        replace(plain, request_id=new_id(), customer_pseudonym="anon-2"),
        replace(plain, **about, document_type="t", version=2, files=[{"filename": "ä\"'\\"}]),
        replace(plain, **about, changes={"name": {"old": None, "new": "\u2028{}"}}),
        replace(plain, changes={"tags": {"old": [], "new": ["x"]}}),
    ]
    for event in added:
        await uow.audit_events.add(event)
    await uow.audit_events.add_many(added)
    await uow.audit_events.add_many([])
    _, found = await page(uow, 20)
    stored = [replace(event, id=about["customer_id"], at=datetime.min) for event in found.events]
    assert len(stored) == 2 * len(added)
    assert stored[: len(added)] == stored[len(added) :]
    details = text("SELECT customer_id, customer, changes, files FROM audit_details")
    rows = [tuple(row) for row in await uow._connection.orm.execute(details)]
    assert len(rows) == 6
    assert rows[:3] == rows[3:]


async def test_shared_events_are_counted(uow: UnitOfWork) -> None:
    shared = new_id()
    for _ in range(3):
        event = NewAuditEvent("token", "anon-1", "customer.list", "denied", None)
        await uow.audit_events.count_up(shared, event)
    _, found = await page(uow, 10)
    (stored,) = found.events
    assert (stored.id, stored.times, stored.changes) == (shared, 3, None)
