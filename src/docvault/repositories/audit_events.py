"""SQL about the audit trail."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, insert, or_, select, tuple_

from docvault.models import AuditDetail, AuditEvent, new_id
from docvault.repositories.base import Repository


@dataclass(frozen=True, slots=True)
class NewAuditEvent:
    """An event to record. The pseudonyms stay; `customer` and `changes` go with an erasure."""

    actor_kind: str
    actor_id: str
    action: str
    result: str
    request_id: UUID | None
    customer_pseudonym: str | None = None
    customer_id: UUID | None = None
    customer: str | None = None
    document_type: str | None = None
    version: int | None = None
    changes: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which events a list shows. `since` is included, `until` is not."""

    customer_pseudonym: str | None = None
    actors: tuple[str, ...] = ()
    action: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class AuditEventRepository(Repository):
    """Append-only but for the details, which erasure deletes."""

    async def add(self, event: NewAuditEvent) -> None:
        """Record an event in the transaction of the change it tells of (D26)."""
        event_id = new_id()
        await self._session.execute(
            insert(AuditEvent).values(
                id=event_id,
                actor_kind=event.actor_kind,
                actor_id=event.actor_id,
                action=event.action,
                customer_pseudonym=event.customer_pseudonym,
                document_type=event.document_type,
                version=event.version,
                result=event.result,
                request_id=event.request_id,
            )
        )
        if event.customer is None and event.changes is None:
            return
        await self._session.execute(
            insert(AuditDetail).values(
                event_id=event_id,
                customer_id=event.customer_id,
                customer=event.customer,
                changes=event.changes,
            )
        )

    async def list_page(
        self, filter_: AuditFilter, *, before: tuple[datetime, UUID] | None, limit: int
    ) -> Sequence[tuple[AuditEvent, AuditDetail | None]]:
        """Return up to `limit` events with their details, newest first."""
        query = (
            select(AuditEvent, AuditDetail)
            .outerjoin(AuditDetail, AuditDetail.event_id == AuditEvent.id)
            .where(*_conditions(filter_))
            .order_by(AuditEvent.at.desc(), AuditEvent.id.desc())
            .limit(limit)
        )
        if before is not None:
            query = query.where(tuple_(AuditEvent.at, AuditEvent.id) < tuple_(*before))
        return (await self._session.execute(query)).all()

    async def count(self, filter_: AuditFilter) -> int:
        """Return how many events the filter lets through."""
        query = select(func.count()).select_from(AuditEvent).where(*_conditions(filter_))
        return await self._session.scalar(query) or 0

    async def delete_details(self, customer_id: UUID) -> None:
        """Delete the personal part of all events about a customer (A-28)."""
        await self._session.execute(
            delete(AuditDetail).where(AuditDetail.customer_id == customer_id)
        )


def _conditions(filter_: AuditFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if filter_.customer_pseudonym is not None:
        conditions.append(AuditEvent.customer_pseudonym == filter_.customer_pseudonym)
    if filter_.actors:
        conditions.append(or_(*(AuditEvent.actor_id == actor for actor in filter_.actors)))
    if filter_.action is not None:
        conditions.append(AuditEvent.action == filter_.action)
    if filter_.since is not None:
        conditions.append(AuditEvent.at >= filter_.since)
    if filter_.until is not None:
        conditions.append(AuditEvent.at < filter_.until)
    return conditions
