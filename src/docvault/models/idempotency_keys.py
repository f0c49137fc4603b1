"""Idempotency keys: claims on a request and the answers to repeat."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, LargeBinary
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from docvault.models.base import Base


class IdempotencyKey(Base):
    """A claimed key; `status` is null while the request runs.

    `id` is a hash over credential, method, path and key. `token` tells the owner of a claim
    from one that took it over after the lease ended.
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("ix_idempotency_keys_expires_at", "expires_at"),)

    id: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    token: Mapped[UUID]
    locked_until: Mapped[datetime]
    expires_at: Mapped[datetime]
    # Set when the request concerns a customer, so that the answer goes with the erasure.
    customer_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("customers.id", ondelete="CASCADE"), index=True, default=None
    )
    fingerprint: Mapped[bytes | None] = mapped_column(LargeBinary)
    status: Mapped[int | None]
    headers: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
