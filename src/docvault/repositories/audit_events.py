"""SQL about the audit trail."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Subquery,
    Text,
    cast,
    delete,
    func,
    literal,
    or_,
    select,
    tuple_,
)

from docvault.db.prepared_statements import NoRow, json_rows, jsonb
from docvault.db.tables import AuditDetailRow, AuditEventRow, ErasureRow, new_id
from docvault.domain.audit import AuditEvent, NewAuditEvent
from docvault.repositories.base import Repository
from docvault.repositories.sql import load_statement

# Limit of the total size of the details on one page, as text.
MAX_PAGE_BYTES = 1024 * 1024

# Much longer than any transaction of a request.
_LATEST = timedelta(hours=1)

# Not `asdict`, which copies every value.
_MEMBERS = tuple(one.name for one in fields(NewAuditEvent))


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which events a list shows. `since` is included, `until` is not."""

    customer_pseudonyms: tuple[str, ...] = ()
    actors: tuple[str, ...] = ()
    action: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Events with their details, and whether older ones follow."""

    events: Sequence[AuditEvent]
    has_more: bool


_DETAIL_BYTES = sum(
    (
        func.coalesce(func.octet_length(cast(column, Text)), 0)
        for column in (AuditDetailRow.changes, AuditDetailRow.files)
    ),
    start=literal(0),
)
_ADD = load_statement("add_audit_event", NoRow)
_ADD_WITH_DETAILS = load_statement("add_audit_event_with_details", NoRow)
_ADD_PUBLISHED = load_statement("add_published_event", NoRow)
_ADD_MANY = load_statement("add_audit_events", NoRow)
_COUNT_UP = load_statement("count_audit_event", NoRow)


class AuditEventRepository(Repository):
    """Append-only except for the details, which an erasure deletes."""

    async def add(self, event: NewAuditEvent) -> None:
        """Record an event in the transaction of the change it is about, and publish it (D26)."""
        has_details = event.customer is not None or event.changes is not None
        statement = _ADD_WITH_DETAILS if has_details else _ADD
        if event.event_type is not None:
            statement = _ADD_PUBLISHED
        await self._rows(statement, _parameters(new_id(), event))

    async def add_many(self, events: Sequence[NewAuditEvent]) -> None:
        """Record events in this order, in one statement."""
        if events:
            rows = [{"event_id": new_id(), **_members(event)} for event in events]
            await self._rows(_ADD_MANY, {"events": json_rows(rows)})

    async def count_up(self, event_id: UUID, event: NewAuditEvent) -> None:
        """Record an event without details, or count one more occurrence of it."""
        await self._rows(_COUNT_UP, _parameters(event_id, event))

    async def list_page(
        self, filter_: AuditFilter, *, before: tuple[datetime, UUID] | None, limit: int
    ) -> AuditPage:
        """Return up to `limit` events with their details, newest first.

        Fewer if their details would exceed `MAX_PAGE_BYTES` in total, but at least one.
        """
        sizes = _page_sizes(filter_, before, limit + 1)
        query = (
            select(AuditEventRow, AuditDetailRow, sizes.c.available)
            .join(sizes, sizes.c.id == AuditEventRow.id)
            .outerjoin(AuditDetailRow, AuditDetailRow.event_id == AuditEventRow.id)
            .where(
                sizes.c.place <= limit, or_(sizes.c.place == 1, sizes.c.so_far <= MAX_PAGE_BYTES)
            )
            .order_by(sizes.c.place)
        )
        rows = (await self._session.execute(query)).all()
        events = [_to_event(event, detail) for event, detail, _ in rows]
        return AuditPage(events, has_more=bool(rows) and len(rows) < rows[0].available)

    async def count(self, filter_: AuditFilter) -> int:
        """Return how many events match the filter."""
        query = select(func.count()).select_from(AuditEventRow).where(*_conditions(filter_))
        return await self._session.scalar(query) or 0

    async def delete_details(self, customer_id: UUID) -> None:
        """Delete the details of all events about a customer."""
        await self._session.execute(
            delete(AuditDetailRow).where(AuditDetailRow.customer_id == customer_id)
        )

    async def delete_late_details(self) -> None:
        """Delete the details of events about recently erased customers.

        A download holds no lock, so that its transaction may have outlasted the erasure.
        """
        erased = select(ErasureRow.customer_id).where(
            ErasureRow.completed_at > func.now() - _LATEST
        )
        await self._session.execute(
            delete(AuditDetailRow)
            .where(AuditDetailRow.customer_id.in_(erased))
            .execution_options(synchronize_session=False)
        )


def _parameters(event_id: UUID, event: NewAuditEvent) -> dict[str, Any]:
    return {
        **_members(event),
        "event_id": event_id,
        "changes": jsonb(event.changes),
        "files": jsonb(event.files),
        "event_data": jsonb(event.event_data),
    }


def _members(event: NewAuditEvent) -> dict[str, Any]:
    return {name: getattr(event, name) for name in _MEMBERS}


def _to_event(row: AuditEventRow, detail: AuditDetailRow | None) -> AuditEvent:
    return AuditEvent(
        id=row.id,
        at=row.at,
        actor_kind=row.actor_kind,
        actor_id=row.actor_id,
        action=row.action,
        customer_pseudonym=row.customer_pseudonym,
        document_type=row.document_type,
        version=row.version,
        result=row.result,
        request_id=row.request_id,
        times=row.times,
        customer=detail.customer if detail else None,
        changes=detail.changes if detail else None,
        files=detail.files if detail else None,
    )


def _page_sizes(filter_: AuditFilter, before: tuple[datetime, UUID] | None, limit: int) -> Subquery:
    """Return the ids of the events before a cursor, each with the running size of the details.

    Sizes of the text, because stored values may be compressed a hundredfold.
    """
    found = (
        select(AuditEventRow.id, AuditEventRow.at, _DETAIL_BYTES.label("size"))
        .outerjoin(AuditDetailRow, AuditDetailRow.event_id == AuditEventRow.id)
        .where(*_conditions(filter_))
        .order_by(AuditEventRow.at.desc(), AuditEventRow.id.desc())
        .limit(limit)
    )
    if before is not None:
        found = found.where(tuple_(AuditEventRow.at, AuditEventRow.id) < tuple_(*before))
    page = found.subquery()
    order = (page.c.at.desc(), page.c.id.desc())
    return select(
        page.c.id,
        func.row_number().over(order_by=order).label("place"),
        func.sum(page.c.size).over(order_by=order).label("so_far"),
        func.count().over().label("available"),
    ).subquery()


def _conditions(filter_: AuditFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if filter_.customer_pseudonyms:
        is_customer = (
            AuditEventRow.customer_pseudonym == one for one in filter_.customer_pseudonyms
        )
        conditions.append(or_(*is_customer))
    if filter_.actors:
        conditions.append(or_(*(AuditEventRow.actor_id == actor for actor in filter_.actors)))
    if filter_.action is not None:
        conditions.append(AuditEventRow.action == filter_.action)
    if filter_.since is not None:
        conditions.append(AuditEventRow.at >= filter_.since)
    if filter_.until is not None:
        conditions.append(AuditEventRow.at < filter_.until)
    return conditions
