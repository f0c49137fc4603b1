"""Webhooks, and the deliveries of events to them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Index, LargeBinary, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import Text

from docvault.db.tables.base import Base, new_id


class WebhookRow(Base):
    """An address that gets events; its secrets are sealed with a key of the keyring."""

    __tablename__ = "webhooks"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str]
    url: Mapped[str]
    # Names of types, or only `*`.
    types: Mapped[list[str]] = mapped_column(ARRAY(Text))
    enabled: Mapped[bool]
    # Null unless docvault has disabled it.
    disabled_reason: Mapped[str | None]
    signing: Mapped[str]
    sealed_secret: Mapped[bytes] = mapped_column(LargeBinary)
    sealed_previous_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    previous_secret_until: Mapped[datetime | None]
    consecutive_failures: Mapped[int] = mapped_column(server_default=text("0"))
    failing_since: Mapped[datetime | None]
    last_success_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class WebhookDeliveryRow(Base):
    """One event for one webhook; `sequence_events` adds it with the position of the event.

    No foreign keys: the sequencer must not fail because a webhook is deleted meanwhile, and events
    may be deleted before their deliveries. What belongs to no webhook is pruned.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("webhook_id", "position"),
        Index(
            "ix_webhook_deliveries_due",
            "webhook_id",
            "due_at",
            postgresql_where=text("state = 'pending'"),
        ),
        Index("ix_webhook_deliveries_created_at", "created_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    webhook_id: Mapped[UUID]
    position: Mapped[int] = mapped_column(BigInteger)
    event_id: Mapped[UUID]
    type: Mapped[str]
    state: Mapped[str] = mapped_column(server_default=text("'pending'"))
    # Since it became pending; a retry by staff starts over.
    used_attempts: Mapped[int] = mapped_column(server_default=text("0"))
    # Null unless pending. While an attempt is made it is the end of its lease, by which the process
    # that makes it also knows whether the delivery is still its own.
    due_at: Mapped[datetime | None]
    attempts: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default=text("'[]'"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
