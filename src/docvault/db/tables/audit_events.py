"""The audit trail: events, which are kept, and details, which an erasure deletes."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from docvault.db.tables.base import Base, new_id, size_of_values


class AuditEventRow(Base):
    """Who did what to which document, and whether it was allowed (D26).

    Append-only except for `times`.
    """

    __tablename__ = "audit_events"
    __table_args__ = (
        Index("ix_audit_events_at_id", "at", "id"),
        Index("ix_audit_events_actor", "actor_id", "at"),
        Index("ix_audit_events_customer", "customer_pseudonym", "at"),
        Index("ix_audit_events_action", "action", "at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    actor_kind: Mapped[str]
    # A pseudonym if the actor is a customer, because the row outlives the customer.
    actor_id: Mapped[str]
    action: Mapped[str]
    customer_pseudonym: Mapped[str | None]
    document_type: Mapped[str | None]
    version: Mapped[int | None]
    result: Mapped[str]
    request_id: Mapped[UUID | None]
    # How many refusals the event represents, when there were too many to record each.
    times: Mapped[int] = mapped_column(server_default="1")


class AuditDetailRow(Base):
    """The personal data of an audit event; an erasure deletes it."""

    __tablename__ = "audit_details"
    __table_args__ = (
        Index(
            "ix_audit_details_customer_id",
            "customer_id",
            postgresql_where=text("customer_id IS NOT NULL"),
        ),
        Index(
            "ix_audit_details_value_bytes",
            "customer_id",
            postgresql_include=["value_bytes"],
            postgresql_where=text("value_bytes IS NOT NULL"),
        ),
    )

    event_id: Mapped[UUID] = mapped_column(
        ForeignKey("audit_events.id", ondelete="CASCADE"), primary_key=True
    )
    customer_id: Mapped[UUID | None]
    customer: Mapped[str | None]
    changes: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    # The files of the event; their names are personal data.
    files: Mapped[list[dict[str, Any]] | None] = mapped_column(JSONB(none_as_null=True))
    value_bytes: Mapped[int | None] = size_of_values("changes -> 'field_values'", nullable=True)
