"""Events: the changes that other systems can follow."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, Integer, func, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from docvault.db.tables.base import Base


class EventRow(Base):
    """The event of one change, written with it; it gets its position once it is committed.

    `id` is that of the audit event of the change, which has actor and request; events that
    triggers write have none. `n` is the order of writing and has gaps after rollbacks.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index(
            "uq_events_position",
            "position",
            unique=True,
            postgresql_where=text("position IS NOT NULL"),
        ),
        Index("ix_events_waiting", "n", postgresql_where=text("position IS NULL")),
        Index(
            "ix_events_customer_id",
            "customer_id",
            "position",
            postgresql_where=text("customer_id IS NOT NULL"),
        ),
    )

    n: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    id: Mapped[UUID] = mapped_column(primary_key=True)
    type: Mapped[str]
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    position: Mapped[int | None] = mapped_column(BigInteger)
    # Null after an erasure, like `data`; from then on the customer is known by pseudonym.
    customer_id: Mapped[UUID | None]
    data: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    pseudonym: Mapped[str | None]
    redacted_at: Mapped[datetime | None]


class EventLogRow(Base):
    """The single row of the log: its id, and the positions of its first and last event.

    A database that was restored from a backup begins a new log, because it would give new events
    positions that followers have already read.
    """

    __tablename__ = "event_log"
    __table_args__ = (CheckConstraint("id = 1", "single_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, default=1)
    log: Mapped[UUID]
    last: Mapped[int] = mapped_column(BigInteger)
    oldest: Mapped[int] = mapped_column(BigInteger)


class GateRequirementsRow(Base):
    """The single row of what an open gate requires; triggers on types and settings write it.

    The other columns are the progress of `compare_gates`, which publishes what a change of the
    requirements did to the gate of each customer.
    """

    __tablename__ = "gate_requirements"
    __table_args__ = (CheckConstraint("id = 1", "single_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, default=1)
    enforced: Mapped[bool]
    needed: Mapped[list[int]] = mapped_column(ARRAY(Integer))
    compared_until: Mapped[UUID | None]
    settled_at: Mapped[int | None] = mapped_column(BigInteger)
    is_last_pass: Mapped[bool] = mapped_column(server_default=text("false"))
