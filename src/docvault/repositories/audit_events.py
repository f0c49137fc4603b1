"""SQL about the audit trail."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Uuid,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    tuple_,
)

from docvault.models import AuditDetail, AuditEvent, Erasure, new_id
from docvault.models.base import Base
from docvault.prepared_statements import PreparedStatement
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


# Much longer than any transaction of a request.
_LATEST = timedelta(hours=1)

# Not `asdict`, which copies every value.
_FACTS = tuple(one.name for one in fields(NewAuditEvent))


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which events a list shows. `since` is included, `until` is not."""

    customer_pseudonym: str | None = None
    actors: tuple[str, ...] = ()
    action: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def _columns(model: type[Base], *names: str) -> dict[str, BindParameter[Any]]:
    columns = model.__table__.columns
    return {name: bindparam(name, type_=columns[name].type) for name in names}


_INSERT = insert(AuditEvent).values(
    id=bindparam("event_id", type_=Uuid()),
    **_columns(AuditEvent, "actor_kind", "actor_id", "action", "customer_pseudonym"),
    **_columns(AuditEvent, "document_type", "version", "result", "request_id"),
)
_ADD = PreparedStatement(_INSERT)
_ADD_WITH_DETAILS = PreparedStatement(
    insert(AuditDetail)
    .values(**_columns(AuditDetail, "event_id", "customer_id", "customer", "changes"))
    .add_cte(_INSERT.cte("event"))
)


class AuditEventRepository(Repository):
    """Append-only but for the details, which erasure deletes."""

    async def add(self, event: NewAuditEvent) -> None:
        """Record an event in the transaction of the change it tells of (D26)."""
        has_details = event.customer is not None or event.changes is not None
        statement = _ADD_WITH_DETAILS if has_details else _ADD
        facts = {name: getattr(event, name) for name in _FACTS}
        await self._rows(statement, {"event_id": new_id(), **facts})

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

    async def delete_late_details(self) -> None:
        """Delete the personal part of events about whoever was erased lately.

        A download locks nothing, and its transaction may have outlasted the whole erasure.
        """
        erased = select(Erasure.customer_id).where(Erasure.completed_at > func.now() - _LATEST)
        await self._session.execute(
            delete(AuditDetail)
            .where(AuditDetail.customer_id.in_(erased))
            .execution_options(synchronize_session=False)
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
