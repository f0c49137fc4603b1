"""Idempotency keys: claimed requests and their responses for replay."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, LargeBinary
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from docvault.db.tables.base import Base


class IdempotencyKeyRow(Base):
    """A claimed key; `status` is null while the request runs.

    `id` is a hash of credential, method, path and key. `token` identifies the claim, which
    another request can take over once its lease has expired.
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        Index("ix_idempotency_keys_expires_at", "expires_at"),
        Index("ix_idempotency_keys_caller", "caller", "expires_at"),
    )

    id: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    # A hash of the credential, for counting the keys of one caller.
    caller: Mapped[bytes] = mapped_column(LargeBinary)
    token: Mapped[UUID]
    locked_until: Mapped[datetime]
    expires_at: Mapped[datetime]
    # Set if the request is about one customer, whose erasure deletes the response.
    customer_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("customers.id", ondelete="CASCADE"), index=True, default=None
    )
    fingerprint: Mapped[bytes | None] = mapped_column(LargeBinary)
    status: Mapped[int | None]
    headers: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
